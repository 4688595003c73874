"""Which bundles may run their code: those that are installed, and those that the user trusts. Imports no torch."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from bonemets.bundle.folders import file_sha256, list_bundles
from bonemets.data.files import files_below, write_bytes
from bonemets.errors import InputError

# Weights hold no code, and the outputs of runs are no part of the bundle.
NOT_CODE = ("models", "eval")


def check_trust(bundle: Path, given: bool = False) -> str | None:
    """Refuse a bundle that is not installed and was never trusted.

    MONAI evaluates the expressions and imports of a bundle's configuration: to use a bundle is to run its code. Those
    of `bonemets.bundle.folders.bundle_folders` are installed. For any other the user is asked once: its content is
    remembered in ``trusted_bundles`` in the user's folder of configurations, so that a change asks again.

    Args:
        bundle: the bundle's folder.
        given: whether the user says that it may run.

    Returns:
        A line for the user when trust is given; None for a bundle that is installed or was trusted before.

    Raises:
        InputError: it is not installed, was never trusted as it is now, and `given` is False.
    """
    if bundle.resolve() in {folder.resolve() for folder in list_bundles().values()}:
        return None
    digest, known = content_sha256(bundle), trusted()
    if digest in known:
        return None
    if not given:
        raise InputError(
            f"{bundle} is not an installed bundle, and its configuration can run any code; if you trust where it is "
            "from, give --trust once"
        )
    try:
        write_bytes(record_file(), "".join(f"{one}\n" for one in (*known, digest)).encode())
    except (InputError, RuntimeError):
        return f"note: {bundle} runs its own code; that you trust it cannot be remembered, for want of a folder"
    return f"note: {bundle} runs its own code, now and later, until its files change ({record_file()})"


def content_sha256(bundle: Path) -> str:
    """A fingerprint of a bundle's files, weights and outputs left out, wherever it lies."""
    digest = hashlib.sha256()
    for path in files_below(bundle):
        name = path.relative_to(bundle)
        if name.parts[0] not in NOT_CODE and "__pycache__" not in name.parts:
            digest.update(f"{name.as_posix()}\0{file_sha256(path)}\0".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def record_file() -> Path:
    """The list of trusted contents: in ``$XDG_CONFIG_HOME``, by default ``~/.config``.

    Raises:
        RuntimeError: there is no home folder.
    """
    place = os.environ.get("XDG_CONFIG_HOME")
    return (Path(place) if place else Path.home() / ".config") / "bonemets" / "trusted_bundles"


def trusted() -> list[str]:
    """The contents that the user trusts; none where the list cannot be read."""
    try:
        return record_file().read_text("utf-8").split()
    except (OSError, UnicodeDecodeError, RuntimeError):
        return []
