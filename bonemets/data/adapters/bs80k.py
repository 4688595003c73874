"""BS-80K: whole-body bone scans as pictures with boxes around hot spots, for scoring detections.

Huang et al., "BS-80K: The first large open-access dataset of bone scan images", Computers in Biology and Medicine
151:106221 (2022).

Layout, as the archive unpacks (the folders of body regions, ``chestLANT`` and so on, are not used)::

    SOURCE/
      wholeBodyANT/NUMBER.jpg           wholeBodyPOST/NUMBER.jpg         the number is the patient
      wholeBodyANT/ant/NUMBER.xml       wholeBodyPOST/post/NUMBER.xml    boxes, Pascal VOC
      wholeBodyANT/wholeBodyANT.txt     …                                optional: "NUMBER.jpg 0 or 1", 1 = abnormal

Items have ``boxes`` and ``box_names`` in place of a label map. Pascal VOC counts pixels from 1 with the maximum
included; ours count from 0 with the maximum excluded, so x_min - 1, y_min - 1, x_max, y_max. In BS-80K the name
``Abnormal`` marks suspected metastases and ``Normal`` benign or physiological hot spots. An image without boxes is
used, with none, if the text file calls it normal; without that it is not known to be healthy and is left out.
"""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

from bonemets.data.adapters.base import (
    IMAGE_SUFFIXES,
    Adapter,
    Case,
    Collection,
    Options,
    Problem,
    find_folder,
    list_files,
    relative,
    stem_of,
)
from bonemets.data.lists.patients import PatientRule
from bonemets.errors import InputError

FOLDERS = {"anterior": ("wholeBodyANT", "ant"), "posterior": ("wholeBodyPOST", "post")}
ABNORMAL = "abnormal"

Box = tuple[float, float, float, float]


def collect(source: Path, options: Options) -> Collection:
    """Find the whole-body images and their boxes."""
    folders = [source / folder for folder, _ in FOLDERS.values()]
    patients = PatientRule(source, options, stem_of, "the image's number", roots=folders)
    result = Collection()
    if not any((source / folder).is_dir() for folder, _ in FOLDERS.values()):
        find_folder(source, [folder for folder, _ in FOLDERS.values()], "whole-body images")
    for view, (folder_name, box_folder) in FOLDERS.items():
        folder = source / folder_name
        if folder.is_dir():
            _collect_view(source, folder, folder / box_folder, view, patients, result)
    result.problems += patients.problems
    result.patient_rule = patients.rule
    return result


def read_boxes(path: Path) -> tuple[list[Box], list[str]]:
    """Boxes and names of a Pascal VOC file, pixels from 0, maximum excluded.

    Raises:
        InputError: if it is not one.
    """
    try:
        root = ElementTree.parse(path).getroot()
        boxes, names = [], []
        for element in root.iter("object"):
            x_min, y_min, x_max, y_max = (
                float(element.findtext(f"bndbox/{key}") or "nan") for key in ("xmin", "ymin", "xmax", "ymax")
            )
            if not (x_min < x_max and y_min < y_max):
                raise ValueError("a box without extent")
            # Some files count from 0 all the same: a box cannot start before the image.
            boxes.append((max(x_min - 1, 0.0), max(y_min - 1, 0.0), x_max, y_max))
            names.append((element.findtext("name") or "").strip() or "unnamed")
    except (OSError, ValueError, ElementTree.ParseError) as error:
        raise InputError(f"{path}: is not a Pascal VOC file ({error}); export it again") from error
    return boxes, names


def _collect_view(
    source: Path, folder: Path, box_folder: Path, view: str, patients: PatientRule, result: Collection
) -> None:
    images = {stem_of(path): path for path in list_files(folder, IMAGE_SUFFIXES, deep=False)}
    files = {stem_of(path): path for path in list_files(box_folder, (".xml",))} if box_folder.is_dir() else {}
    diagnoses = _diagnoses(folder / f"{folder.name}.txt", source, result.problems)
    unknown = 0
    patients.see(list(images.values()))
    for stem, image in images.items():
        boxes: list[Box] = []
        names: list[str] = []
        if stem in files:
            try:
                boxes, names = read_boxes(files[stem])
            except InputError as error:
                text = str(error).removeprefix(f"{files[stem]}: ")
                result.problems.append(Problem("unreadable", relative(files[stem], source), text))
                continue
        elif diagnoses.get(stem) is not False:
            unknown += 1
            continue
        abnormal = diagnoses.get(stem, any(name.lower() == ABNORMAL for name in names))
        result.cases.append(
            Case(
                image,
                patients(image),
                view=view,
                boxes=tuple(boxes),
                box_names=tuple(names),
                details={"abnormal": abnormal},
            )
        )
    result.problems += [
        Problem(
            "pair", relative(path, source), f"has boxes of an image {stem} that is missing; add the image or remove it"
        )
        for stem, path in files.items()
        if stem not in images
    ]
    if unknown:
        result.notes.append(
            f"{unknown} of {len(images)} images in {folder.name} have no boxes and are not called normal; left out"
        )


def _diagnoses(path: Path, source: Path, problems: list[Problem]) -> dict[str, bool]:
    """Which images are abnormal."""
    if not path.is_file():
        return {}
    found = {}
    for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), start=1):
        words = line.split()
        if len(words) == 2 and words[1] in ("0", "1"):
            found[stem_of(Path(words[0]))] = words[1] == "1"
        elif words:
            text = f"line {number} is not an image's name and 0 or 1; fix it"
            problems.append(Problem("unreadable", relative(path, source), text))
    return found


ADAPTER = Adapter(
    name="bs80k",
    title="BS-80K",
    modality="NM",
    collect=collect,
    reference="Huang et al., Computers in Biology and Medicine 151:106221 (2022), doi:10.1016/j.compbiomed.2022.106221",
    labels=(),
)
