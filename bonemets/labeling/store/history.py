"""Every version of every label, who saved it and when; nothing in it is ever changed or removed."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path

from bonemets.data.files import write_bytes
from bonemets.labeling.store.workspace import now


@dataclass(frozen=True)
class Version:
    """One line of the log.

    Args:
        image: the item.
        tag: MONAI Label's tag, mostly ``final``.
        version: counts from 1 for each image and tag.
        action: ``"saved"`` by an annotator, ``"found"`` on disk or in the archive, or ``"removed"``.
        user: who: the signed-in user, else the name that the client gave itself.
        client: the client's own name.
        replaces: the version that was current before; 0 for none.
        base: the version that the annotator had started from; None if the client did not say.
        sha256: of the label's file; empty when it was removed.
        file: the kept copy, relative to the history's folder; empty when it was removed.
        lesion_pixels: number of pixels with label 1.
        time: when, UTC.
    """

    image: str
    tag: str
    version: int
    action: str
    user: str
    client: str = ""
    replaces: int = 0
    base: int | None = None
    sha256: str = ""
    file: str = ""
    lesion_pixels: int = 0
    time: str = ""

    def summary(self) -> dict[str, str | int]:
        """What another annotator may want to know of it."""
        return {"version": self.version, "user": self.user, "time": self.time}


class LabelHistory:
    """The log ``labels.jsonl`` and the kept files, ``IMAGE/TAG_0001.nii.gz`` and so on.

    A version is kept before the label that annotators see is replaced, so whatever stops the server in between, the
    newest label is here (`bonemets.labeling.store.datastore` puts it in place at the next start). Callers hold a lock.

    Args:
        folder: where it lies.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)
        self.log = self.folder / "labels.jsonl"

    def versions(self) -> list[Version]:
        """All lines, oldest first. A last line that was cut off by a kill is left out."""
        if not self.log.is_file():
            return []
        versions = []
        for line in self.log.read_bytes().splitlines():
            try:
                versions.append(Version(**json.loads(line)))
            except (ValueError, TypeError):
                continue
        return versions

    def newest(self) -> dict[tuple[str, str], Version]:
        """(image, tag) → its newest version."""
        return {(version.image, version.tag): version for version in self.versions()}

    def replaced_sha256(self) -> dict[tuple[str, str], str]:
        """(image, tag) → fingerprint of the version before the newest; empty for none."""
        newest: dict[tuple[str, str], str] = {}
        replaced: dict[tuple[str, str], str] = {}
        for version in self.versions():
            key = version.image, version.tag
            replaced[key] = newest.get(key, "")
            newest[key] = version.sha256
        return replaced

    def add(
        self, image: str, tag: str, action: str, content: bytes = b"", *, user: str = "", client: str = "",
        base: int | None = None, lesion_pixels: int = 0,
    ) -> Version:  # fmt: skip
        """Keep a version: first the file, then the line that speaks of it.

        Args:
            image: the item.
            tag: the label's tag.
            action: see `Version`.
            content: the label's file; empty for a removal.
            user: who.
            client: the client's name.
            base: the version that the annotator started from.
            lesion_pixels: number of pixels with label 1.

        Returns:
            The new version.
        """
        before = self.newest().get((image, tag))
        number = before.version + 1 if before else 1
        file = f"{image}/{tag}_{number:04d}.nii.gz" if content else ""
        if file:
            write_bytes(self.folder / file, content)
        replaces = before.version if before and before.action != "removed" else 0
        sha256 = hashlib.sha256(content).hexdigest() if content else ""
        version = Version(
            image, tag, number, action, user, client, replaces, base, sha256, file, lesion_pixels, now()
        )  # fmt: skip
        self._append(json.dumps(asdict(version)))
        return version

    def content(self, version: Version) -> bytes:
        """The label's file as it was saved."""
        return (self.folder / version.file).read_bytes()

    def restore(self, version: Version, target: Path) -> None:
        """Put a kept version in place, whole or not at all."""
        temporary = target.with_name(f".{target.name}.part")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(self.folder / version.file, temporary)
        temporary.replace(target)

    def _append(self, line: str) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab+") as file:
            file.seek(0, os.SEEK_END)
            if file.tell():
                file.seek(-1, os.SEEK_END)
                # The end of a line that was cut off; without it this line would be lost with that one.
                if file.read(1) != b"\n":
                    file.write(b"\n")
            file.write(line.encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
