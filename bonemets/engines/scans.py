"""Which files an inference configuration reads."""

from __future__ import annotations

from pathlib import Path

from bonemets.errors import InputError


def find_scans(folder: str | Path, pattern: str) -> list[dict[str, str]]:
    """The files in a folder that match a pattern, as items for a MONAI dataset.

    Args:
        folder: folder to search.
        pattern: glob pattern relative to it; ``**`` stands for any number of folders.

    Returns:
        One ``{"image": path}`` per file, sorted.

    Raises:
        InputError: if the folder does not exist or nothing matches.
    """
    if not Path(folder).is_dir():
        raise InputError(f"{folder}: there is no such folder; set dataset_dir to the folder of the scans")
    paths = sorted(path for path in Path(folder).glob(pattern) if path.is_file())
    if not paths:
        raise InputError(f"{folder}: no file matches {pattern!r}; set pattern to one that fits, such as '**/*.nii.gz'")
    return [{"image": str(path)} for path in paths]
