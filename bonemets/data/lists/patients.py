"""Whose image is it? Rules that give a patient to every image, and pseudonyms."""

from __future__ import annotations

import hashlib
import hmac
import os
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from bonemets.data.adapters.base import Options, Problem, relative, stem_of
from bonemets.data.lists.patient_table import PatientTable, Place
from bonemets.data.lists.spellings import tidy_name
from bonemets.data.planar.geometry import without_view
from bonemets.errors import InputError

# Folders that sort images by what they are, not by whose they are.
_KIND_OF_FOLDER = re.compile(
    r"(?:images?(?:Tr|Ts)?|imgs?|pictures?|photos?|scans?|slices?|data|dataset|annotations?|labelme|json|png|jpe?g|nifti|raw|"
    r"train(?:ing)?|val(?:id(?:ation)?)?|test(?:ing)?|(?:fold|split|batch|cent(?:er|re)|site|hospital)[_\-. ]*\d*|"
    r"ant(?:erior)?|post(?:erior)?|lesions?|normal|abnormal|healthy|positive|negative|benign|malignant|metasta[a-z]+)",
    re.IGNORECASE,
)
# What often counts the images of one patient: p01_2, p01-slice3, p01_t2.
_NUMBER = re.compile(
    r"[_\-. ]+(?:slices?|img|image|scan|series|study|visit|view|time|t|v|s|no)?[_\-. ]*\d+$", re.IGNORECASE
)

PatientOf = Callable[[Path], str]


def pseudonym(identifier: str, salt: str) -> str:
    """A short name for a patient from which the identifier cannot be read: keyed SHA-256 (HMAC), 48 bits.

    Equal identifiers and salts give equal names. Without a secret salt, an identifier from a small set (hospital
    numbers) can be found by trying all of them.
    """
    digest = hmac.new(salt.encode() or b"bonemets", identifier.strip().encode(), hashlib.sha256).hexdigest()
    return f"patient_{digest[:12]}"


def patient_from_stem(path: Path) -> str:
    """The file's name without suffix and view words, so that both views of a scan belong to one patient."""
    stem = stem_of(path)
    plain = without_view(stem)
    if plain == stem.lower():
        return stem
    return re.sub(r"[_\-. ]+", "_", plain).strip("_") or stem


def patient_from_place(inside: Path) -> str:
    """The first folder that an image lies in, else its name; see `PatientRule`.

    Folders that sort images by kind (``train``, ``anterior``, ``malignant``, ``site_2``) are skipped.

    Args:
        inside: the image's path below the folder of the images.
    """
    folder = _folder_of_patient(inside)
    return patient_from_stem(inside) if folder is None else folder


def _folder_of_patient(inside: Path) -> str | None:
    return next(filter(_is_place, inside.parts[:-1]), None)


def _is_place(folder: str) -> bool:
    return _KIND_OF_FOLDER.fullmatch(folder) is None


class PatientRule:
    """Give every image its patient: by the user's pattern or table, else by the format's own rule.

    Without any of them, a folder below that of the images is a patient; images that lie in none are patients by their
    names, without ``ant`` and ``post``.

    Args:
        source: the data set's folder.
        options: the user's options.
        default: the format's own rule; takes the image's path.
        default_rule: that rule in a few words.
        table: a table of the data set itself, used where the user gives none.
        roots: folders of the images; by default the data set's.

    Raises:
        InputError: if the pattern is no regular expression or the table cannot be read.
    """

    def __init__(
        self,
        source: Path,
        options: Options,
        default: PatientOf | None = None,
        default_rule: str = "",
        table: Path | None = None,
        roots: Iterable[Path] = (),
    ) -> None:
        self.source = source
        self.default = default
        self.problems: list[Problem] = []
        self.pattern = _compile(options.patient_pattern)
        table = options.patient_table or (table if self.pattern is None else None)
        self.table = None if table is None else PatientTable(table)
        self.uses_default = self.pattern is None and self.table is None
        self._default_rule = default_rule
        self._roots = sorted((*roots, source), key=lambda root: -len(root.parts))
        self._seen: list[Path] = []

    def see(self, images: Sequence[Path]) -> None:
        """Look at all images of a folder before the first of them is asked for.

        Args:
            images: their files.
        """
        self._seen += images
        if self.table is None:
            return
        places = {self._place(image): image for image in images}
        self.table.use_for(list(places))
        for several in self.table.shared_rows(places):
            files = {tuple(filter(_is_place, place.inside)): relative(places[place], self.source) for place in several}
            if len(files) > 1:
                first, *others = files.values()
                text = (
                    f"{self.table.path.name} names it without its folder, and so {', '.join(others)}; give paths there"
                )
                self.problems.append(Problem("patient", first, text))

    def __call__(self, image: Path) -> str:
        """The patient of an image; where none can be told, a problem is noted and the image's name returned."""
        if self.pattern is not None:
            place = image.relative_to(self.source) if image.is_relative_to(self.source) else image
            text = (place.parent / stem_of(image)).as_posix()
            match = self.pattern.search(text)
            if match is None:
                return self._unknown(image, f"the pattern {self.pattern.pattern} does not match {text}")
            named = match.groupdict().get("patient")
            return tidy_name(named or (match.group(1) if match.groups() else match.group(0)) or "") or stem_of(image)
        if self.table is not None:
            try:
                patient = self.table.patient_of(self._place(image))
            except InputError as error:
                return self._unknown(image, str(error))
            if patient is None:
                return self._unknown(image, f"{self.table.path} has no row with a patient for it")
            return patient
        return tidy_name(self.default(image) if self.default else patient_from_place(self._inside(image)))

    @property
    def rule(self) -> str:
        """How patients were told, in a few words."""
        if self.pattern is not None:
            return f"by --patient-pattern {self.pattern.pattern}"
        if self.table is not None:
            return f"by column {self.table.column} of {self.table.path.name}"
        if self.default is not None:
            return f"by {self._default_rule}{self._doubt()}"
        in_folders = sum(_folder_of_patient(self._inside(image)) is not None for image in self._seen)
        by_name = f"by the file's name without ant/post{self._doubt()}"
        if in_folders == len(self._seen):
            return "by the folder that the images lie in (--patient-pattern or --patient-table say otherwise)"
        return f"by the folder for {in_folders} images, others {by_name}" if in_folders else by_name

    def _doubt(self) -> str:
        """What to do where names may count several images of one patient."""
        groups: dict[str, list[str]] = defaultdict(list)
        for image in self._seen:
            if _folder_of_patient(self._inside(image)) is None:
                stem = patient_from_stem(Path(re.sub(r"_0000$", "", stem_of(image))))
                groups[_NUMBER.sub("", stem)].append(stem)
        alike = next((sorted(set(names)) for names in groups.values() if len(set(names)) > 1), None)
        if alike is None or (len(groups) == 1 and not any(map(str.isdigit, "".join(groups)))):
            return ""
        return f"; if {alike[0]} and {alike[1]} are one patient, say so with --patient-pattern or --patient-table"

    def _place(self, image: Path) -> Place:
        return Place.of(Path(os.path.normpath(image.absolute())).parent / stem_of(image), self._inside(image))

    def _inside(self, image: Path) -> Path:
        image = Path(os.path.normpath(image))
        roots = [Path(os.path.normpath(root)) for root in self._roots]
        root = next((root for root in roots if image.is_relative_to(root)), image.parent)
        return image.relative_to(root)

    def _unknown(self, image: Path, reason: str) -> str:
        self.problems.append(
            Problem("patient", relative(image, self.source), f"{reason}; fix it, or leave the image out")
        )
        return stem_of(image)


def _compile(pattern: str | None) -> re.Pattern[str] | None:
    try:
        return None if pattern is None else re.compile(pattern)
    except re.error as error:
        raise InputError(f"--patient-pattern {pattern}: is no regular expression ({error}); fix it") from error
