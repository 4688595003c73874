"""What lies in a file, a folder or an archive: DICOM objects, files of other formats, and what is skipped and why.

Folders are searched through links, each folder once; zip and tar archives in them, and archives in those, are unpacked.
A DICOMDIR stands for the files that it names.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO

from bonemets.data.files import is_link
from bonemets.data.planar.formats import IMAGE_SUFFIXES, NIFTI_SUFFIXES, NRRD_SUFFIXES
from bonemets.data.planar.nuclear import UnsuitableError
from bonemets.errors import InputError

DICOM_SUFFIXES = (".dcm", ".dicom", ".ima")
OTHER_SUFFIXES = (*NIFTI_SUFFIXES, *NRRD_SUFFIXES, *IMAGE_SUFFIXES)
ARCHIVE_SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")
# Kinds of archives that cannot be unpacked here.
UNREAD_ARCHIVES = (".7z", ".rar", ".gz", ".bz2", ".xz", ".zst")
MAX_ARCHIVE_BYTES = 4 * 1024**3
MAX_DEPTH = 5
_LONGEST_NAME = 200
_DICOMDIR_CLASS = "1.2.840.10008.1.3.10"


class SkippedError(UnsuitableError):
    """Something in a folder or archive that is not read; `reason` is the same for all of its kind."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"{name}: {reason}")
        self.name = name
        self.reason = reason


Report = Callable[[InputError], None]


class Skipped:
    """Collects what is skipped, as ``report``; what cannot be read is raised.

    Args:
        reasons: the names of the files, by reason.
    """

    def __init__(self) -> None:
        self.reasons: dict[str, list[str]] = {}

    def __call__(self, error: InputError) -> None:
        """Note an error that `open_source` or a reader reports."""
        if not isinstance(error, UnsuitableError):
            raise error
        name, reason = (error.name, error.reason) if isinstance(error, SkippedError) else ("", str(error))
        self.reasons.setdefault(reason, []).append(name)

    def lines(self) -> list[str]:
        """One line per reason, with the number of files and the first of them; empty where nothing was skipped."""
        if not self.reasons:
            return []
        total = sum(map(len, self.reasons.values()))
        lines = [f"{total} {'thing was' if total == 1 else 'things were'} skipped:"]
        for reason, names in sorted(self.reasons.items(), key=lambda each: -len(each[1])):
            more = f" and {len(names) - 1} more" if len(names) > 1 else ""
            lines.append(f"  {len(names)} x {reason}: {names[0]}{more}")
        return lines


@dataclass
class Found:
    """The files of a source.

    Args:
        dicom: DICOM files.
        others: files of other formats.
        shown: what to call temporary folders in messages.
        outer: the archive, as the user knows it, that each temporary folder comes from.
        report: called with a `SkippedError` for all that is skipped.
    """

    dicom: list[Path] = field(default_factory=list)
    others: list[Path] = field(default_factory=list)
    shown: dict[str, str] = field(default_factory=dict)
    outer: dict[str, Path] = field(default_factory=dict)
    report: Report = lambda error: None

    def name(self, path: Path | str) -> str:
        """A path, or a message with paths, as the user knows them."""
        text = str(path)
        for folder in sorted(self.shown, key=len, reverse=True):
            text = text.replace(folder, self.shown[folder])
        return text

    def renamed(self, error: InputError) -> InputError:
        """An error whose message names no temporary folder."""
        if not self.shown or isinstance(error, SkippedError):
            return error
        return (UnsuitableError if isinstance(error, UnsuitableError) else InputError)(self.name(str(error)))

    def skip(self, path: Path | str, reason: str) -> None:
        """Report that something is skipped."""
        self.report(SkippedError(self.name(path), reason))

    def archive_of(self, path: Path) -> Path:
        """The outermost archive that a file or folder was unpacked from, else the path."""
        return next((self.outer[folder] for folder in self.outer if path.is_relative_to(folder)), path)


@contextmanager
def open_source(source: Path, report: Report | None = None) -> Iterator[Found]:
    """The files of a file, folder or archive, for as long as the block lasts.

    Args:
        source: what the user points at.
        report: called with a `SkippedError` for each thing that is skipped.

    Raises:
        InputError: if the archive that `source` is cannot be unpacked, or all archives hold more than
            `MAX_ARCHIVE_BYTES`.
    """
    with ExitStack() as stack:
        found = Found(report=report or (lambda error: None))
        search = _Search(found, stack)
        if source.is_dir():
            search.folder(source)
        elif is_archive(source):
            search.archive(source, str(source), 0, top=True)
        elif is_dicomdir(source):
            search.directory(source)
        else:
            (found.others if source.name.lower().endswith(OTHER_SUFFIXES) else found.dicom).append(source)
        for files in (found.dicom, found.others):
            files.sort()
        yield found


def is_archive(path: Path) -> bool:
    """Whether a file is a zip or tar archive: by its suffix or, without a suffix that says otherwise, its content."""
    name = path.name.lower()
    if name.endswith(ARCHIVE_SUFFIXES):
        return True
    if path.suffix and not path.suffix[1:].isdigit():
        return False
    return path.is_file() and zipfile.is_zipfile(path)


def is_dicomdir(path: Path) -> bool:
    """Whether a file is the directory of a DICOM medium, by its name or what it says."""
    if path.name.upper() == "DICOMDIR":
        return True
    with path.open("rb") as file:
        head = file.read(1024)
    return head[128:132] == b"DICM" and _DICOMDIR_CLASS.encode() in head


def looks_like_dicom(path: Path) -> bool:
    """Whether the name or the first bytes say that a file is DICOM, with preamble or, as of old cameras, without."""
    if path.suffix.lower() in DICOM_SUFFIXES:
        return True
    try:
        with path.open("rb") as file:
            head = file.read(132)
    except PermissionError:
        # Told where it is read.
        return True
    return head[128:] == b"DICM" or head[:4] in (b"\x08\x00\x00\x00", b"\x08\x00\x01\x00", b"\x08\x00\x05\x00")


def is_hidden(path: Path) -> bool:
    """Whether a path has a hidden part, or one that macOS adds to archives."""
    return any(part.startswith((".", "__MACOSX")) for part in path.parts)


class _Search:
    """Goes through folders and archives and fills `Found`."""

    def __init__(self, found: Found, stack: ExitStack) -> None:
        self.found = found
        self.stack = stack
        self.bytes = 0
        self.seen: set[tuple[int, int]] = set()

    def folder(self, folder: Path, depth: int = 0) -> None:
        for place, folders, files in os.walk(folder, followlinks=True, onerror=self._unreadable):
            inside = Path(place)
            identity = inside.stat()
            if (identity.st_dev, identity.st_ino) in self.seen:
                self.found.skip(inside, "a link to a folder that is searched already")
                folders.clear()
                continue
            self.seen.add((identity.st_dev, identity.st_ino))
            for hidden in [name for name in folders if is_hidden(Path(name))]:
                self.found.skip(inside / hidden, "a hidden folder")
                folders.remove(hidden)
            # What a link points to is read under its own name where it is in the folder itself.
            folders.sort()
            folders.sort(key=partial(is_link, inside))
            for name in sorted(files):
                self._file(inside / name, depth)

    def _file(self, path: Path, depth: int) -> None:
        try:
            if is_hidden(Path(path.name)):
                self.found.skip(path, "a hidden file")
            elif path.is_symlink() and not path.exists():
                self.found.skip(path, "a link to a file that is not there")
            elif not path.is_file():
                self.found.skip(path, "no regular file")
            elif path.name.lower().endswith(OTHER_SUFFIXES):
                self.found.others.append(path)
            elif is_archive(path):
                self.archive(path, self.found.name(path), depth)
            elif is_dicomdir(path):
                self.found.skip(path, "a DICOMDIR, whose folder is searched")
            elif looks_like_dicom(path):
                self.found.dicom.append(path)
            elif path.name.lower().endswith(UNREAD_ARCHIVES):
                self.found.skip(path, "an archive of a kind that is not unpacked here; unpack it")
            else:
                self.found.skip(path, "no image")
        except PermissionError:
            self.found.skip(path, "cannot be opened; check its permissions")

    def archive(self, path: Path, shown: str, depth: int, top: bool = False) -> None:
        folder = self.stack.enter_context(tempfile.TemporaryDirectory())
        self.found.outer[folder] = self.found.archive_of(path)
        self.found.shown[folder] = shown
        try:
            if depth >= MAX_DEPTH:
                raise InputError(f"{shown}: lies in {depth} other archives; unpack it")
            self._unpack(path, Path(folder), shown)
        except InputError as error:
            if top or self.bytes > MAX_ARCHIVE_BYTES:
                raise
            self.found.report(error)
            return
        self.folder(Path(folder), depth + 1)

    def _unpack(self, path: Path, folder: Path, shown: str) -> None:
        try:
            if zipfile.is_zipfile(path) or path.suffix.lower() == ".zip":
                with zipfile.ZipFile(path) as archive:
                    self._count(sum(member.file_size for member in archive.infolist()), shown)
                    for member in archive.infolist():
                        # Python reads a link's target as its content.
                        link = stat.S_ISLNK(member.external_attr >> 16)
                        self._member(folder, member.filename, member.is_dir(), link, partial(archive.open, member))
                return
            with tarfile.open(path) as archive:
                for entry in archive:
                    self._count(entry.size, shown)
                    other = not (entry.isfile() or entry.isdir())
                    self._member(folder, entry.name, entry.isdir(), other, partial(archive.extractfile, entry))
        except InputError:
            raise
        except (
            zipfile.BadZipFile, tarfile.TarError, NotImplementedError, RuntimeError, EOFError, OSError, zlib.error,
        ) as error:  # fmt: skip
            raise InputError(f"{shown}: cannot be unpacked (damaged, or with a password)") from error

    def _count(self, size: int, shown: str) -> None:
        self.bytes += size
        if self.bytes > MAX_ARCHIVE_BYTES:
            limit = MAX_ARCHIVE_BYTES // 1024**3
            raise InputError(f"{shown}: unpacks to more than {limit} GB; unpack it and give a folder")

    def _member(
        self, folder: Path, name: str, is_folder: bool, is_link: bool, content: Callable[[], IO[bytes] | None]
    ) -> None:
        """Write a member below the folder, whatever its name: with back-slashes, absolute, too long, or there twice."""
        parts = [part for part in PurePosixPath(name.replace("\\", "/")).parts if part not in ("/", ".", "..")]
        if is_folder or not parts or name.endswith("\\"):
            return
        if is_link:
            self.found.skip(folder / "/".join(parts), "a link in an archive")
            return
        target = folder.joinpath(*map(_short, parts))
        number = 1
        while target.exists() or any((folder / parent).is_file() for parent in target.relative_to(folder).parents):
            number += 1
            target = folder.joinpath(f"copy_{number}", *map(_short, parts))
        target.parent.mkdir(parents=True, exist_ok=True)
        source = content()
        if source is not None:
            with source, target.open("wb") as file:
                shutil.copyfileobj(source, file)

    def directory(self, path: Path) -> None:
        """The files that a DICOMDIR names; media differ from it in case and in the version that ISO 9660 appends."""
        import pydicom

        try:
            records = pydicom.dcmread(path, force=True).get("DirectoryRecordSequence") or []
            named = [record.ReferencedFileID for record in records if record.get("ReferencedFileID")]
        except (OSError, ValueError, AttributeError, KeyError, EOFError) as error:
            raise InputError(f"{path}: cannot be read as DICOMDIR; give its folder") from error
        if not named:
            raise InputError(f"{path}: is a DICOMDIR that names no files; give the folder of the images")
        for identifier in named:
            parts = [identifier] if isinstance(identifier, str) else list(identifier)
            file = _in_folder(path.parent, [str(part) for part in parts])
            if file is None:
                self.found.skip(path.parent.joinpath(*map(str, parts)), "named by the DICOMDIR, but not there")
            elif looks_like_dicom(file):
                self.found.dicom.append(file)
            else:
                self.found.skip(file, "no image")

    def _unreadable(self, error: OSError) -> None:
        self.found.skip(error.filename or "a folder", "cannot be opened; check its permissions")


def _in_folder(folder: Path, parts: list[str]) -> Path | None:
    for part in parts:
        if not folder.is_dir():
            return None
        names = {path.name.upper().split(";")[0].rstrip("."): path for path in folder.iterdir()}
        if part.upper() not in names:
            return None
        folder = names[part.upper()]
    return folder if folder.is_file() else None


def _short(name: str) -> str:
    """A member's name, cut where file systems would refuse it; its suffix stays."""
    if len(name.encode()) <= _LONGEST_NAME:
        return name
    suffix = Path(name).suffix[:16]
    return f"{name[:40]}_{hashlib.sha256(name.encode()).hexdigest()[:16]}{suffix}"
