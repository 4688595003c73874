"""Which prediction belongs to which item of a data list.

A prediction is a NIfTI file (``.nii`` or ``.nii.gz``) per item, a mask or a probability; of pictures a mask may be a
PNG. Its path below the folder is, for an item of patient P, view V and image ``a/b.nii.gz``, one of

- ``P_V``: ``patient_0001_anterior.nii.gz``;
- the image's own path: ``a/b.nii.gz``;
- the image's own name, ``b.nii.gz``, if no other item's image has that name.

An ending that says what the file is (``_seg``, ``_trans``, ``_prob``, see `ENDINGS`) and a folder of the file's own
name, as MONAI's `SaveImage` makes them, may be there; any other ending is part of a name, so ``lesion_1_2`` is not
``lesion_1``. A file that fits several items is refused. The results of ``bonemets segment`` are recognized by the
fingerprints of the scan, or of the CT's slices, in their ``result.json``.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bonemets.errors import InputError
from bonemets.metrics.evaluation.segmented import match_results

SUFFIXES = (".nii.gz", ".nii")
PICTURE = ".png"
ENDINGS = re.compile(
    r"labels?|masks?|out|output|preds?|predicted|predictions?|probs?|probabilit(?:y|ies)|result|segm?|segmentation|"
    r"sigmoid|softmax|trans",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Case:
    """An item of a data list and its prediction.

    Args:
        name: the item's image, as the data list names it.
        patient: the patient.
        view: the view; empty where the data list has none.
        label: file of the label map.
        prediction: file of the mask or probability.
        channel: which view of the prediction it is, where the file holds two; which slice of a CT's mask.
        of_ct: whether the prediction is a CT's mask, whose slices count from feet to head.
    """

    name: str
    patient: str
    view: str
    label: Path
    prediction: Path
    channel: int | None = None
    of_ct: bool = False


@dataclass
class Matches:
    """The predictions of a folder.

    Args:
        folder: the folder.
        names: name of each item.
        found: by the item's place in the list, its predictions: file, channel, and whether it is of a CT.
        extra: predictions that belong to no item.
        unclear: predictions whose name fits several items.
    """

    folder: Path
    names: list[str]
    found: dict[int, list[tuple[Path, int | None, bool]]] = field(default_factory=lambda: defaultdict(list))
    extra: list[str] = field(default_factory=list)
    unclear: list[str] = field(default_factory=list)

    def cover(self, wanted: Iterable[int]) -> bool:
        """Whether all of the items have a prediction."""
        return all(index in self.found for index in wanted)

    def cases(self, items: Sequence[Mapping[str, Any]], wanted: Iterable[int] | None = None) -> list[Case]:
        """One case per item.

        Args:
            items: the items that were matched.
            wanted: places of those that are evaluated; by default all. Predictions of the others are left out.

        Raises:
            InputError: an item has no prediction or several, or a file belongs to no item or to several; all of them
                are named.
        """
        chosen = list(range(len(items)) if wanted is None else wanted)
        self._complain(chosen)
        boxes = [self.names[index] for index in chosen if "label" not in items[index]]
        if boxes:
            raise InputError(f"{self.folder}: {boxes[0]} has boxes and no label map; a list of label maps is evaluated")
        return [
            Case(
                self.names[index],
                str(items[index]["patient"]),
                str(items[index].get("view", "")),
                Path(items[index]["label"]),
                *self.found[index][0],
            )
            for index in chosen
        ]

    def _complain(self, wanted: Sequence[int]) -> None:
        problems = []
        missing = [self.names[index] for index in wanted if index not in self.found]
        several = [self.names[index] for index in wanted if len(self.found.get(index, ())) > 1]
        if missing:
            problems.append(f"{len(missing)} of {len(wanted)} items have no prediction: {', '.join(missing)}")
        if several:
            problems.append(f"{len(several)} have more than one: {', '.join(several)}")
        if self.extra:
            problems.append(f"{len(self.extra)} predictions belong to no item: {', '.join(self.extra)}")
        if self.unclear:
            problems.append(f"{len(self.unclear)} predictions fit several items: {', '.join(self.unclear)}")
        if problems:
            advice = "name predictions PATIENT_VIEW.nii.gz or as the images, and choose --section and --fold to match"
            raise InputError(f"{self.folder}: {'; '.join(problems)}. {advice}")


def find_predictions(folder: Path, items: Sequence[Mapping[str, Any]], root: Path) -> list[Case]:
    """Find the prediction of every item; see `match_predictions`.

    Returns:
        One case per item, in the items' order.
    """
    return match_predictions(folder, items, root).cases(items)


def match_predictions(folder: Path, items: Sequence[Mapping[str, Any]], root: Path) -> Matches:
    """Find out which predictions of a folder belong to which items.

    Args:
        folder: where the predictions are.
        items: items of a data list with absolute paths, as `bonemets.data.load_datalist` returns them.
        root: the data list's folder.

    Raises:
        InputError: the folder is none.
    """
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder; give the folder that holds the predictions")
    matches = Matches(folder, item_names(items, root))
    owners = _owners(items, matches.names)
    files = sorted(path for path in folder.rglob("*") if path.name.endswith((*SUFFIXES, PICTURE)) and path.is_file())
    segmented = [
        path.parent for path in files if path.name == "mask.nii.gz" and (path.parent / "result.json").is_file()
    ]
    for result in match_results(segmented, items):
        if not result.places:
            matches.extra.append(result.folder.relative_to(folder).as_posix())
        for index, channel in result.places:
            matches.found[index].append((result.folder / "mask.nii.gz", channel, result.of_ct))
    for path in files:
        if path.parent in segmented:
            continue
        owned = next((owners[key] for key in _keys_of(_relative(path, folder)) if key in owners), set())
        if len(owned) == 1:
            matches.found[min(owned)].append((path, None, False))
        elif owned:
            matches.unclear.append(path.relative_to(folder).as_posix())
        elif not path.name.endswith(PICTURE):  # a figure, for instance of an MLflow store in the same folder
            matches.extra.append(path.relative_to(folder).as_posix())
    return matches


def item_names(items: Sequence[Mapping[str, Any]], root: Path) -> list[str]:
    """Paths of the images below the data list's folder; if any lies elsewhere, below the folder that has them all."""
    paths = [Path(item["image"]) for item in items]
    if not all(path.is_relative_to(root) for path in paths):
        try:
            root = Path(os.path.commonpath([path.parent for path in paths]))
        except ValueError:  # on two drives of Windows
            return [_relative(path, path.parent) for path in paths]
    return [_relative(path, root) for path in paths]


def _owners(items: Sequence[Mapping[str, Any]], names: Sequence[str]) -> dict[str, set[int]]:
    """The items that a prediction of a name may be of."""
    stems = Counter(Path(name).name for name in names)
    owners: dict[str, set[int]] = defaultdict(set)
    for index, (item, name) in enumerate(zip(items, names, strict=True)):
        owners[_plain(name)].add(index)
        if item.get("view"):
            owners[_plain(f"{item['patient']}_{item['view']}")].add(index)
        if stems[Path(name).name] == 1:
            owners[_plain(Path(name).name)].add(index)
    return owners


def _relative(path: Path, root: Path) -> str:
    """The path below `root` without its ending, with forward slashes."""
    inside = path.relative_to(root) if path.is_relative_to(root) else Path(path.name)
    name = inside.name
    stem = next((name[: -len(suffix)] for suffix in SUFFIXES if name.endswith(suffix)), inside.stem)
    return inside.with_name(stem).as_posix()


def _keys_of(name: str) -> Iterator[str]:
    """The names under which a file is looked up: its own, without its ending, without a folder of the same name."""
    *folders, last = _plain(name).split("/")
    stem, _, ending = last.rpartition("_")
    for each in (last, stem) if stem and ENDINGS.fullmatch(ending) else (last,):
        yield "/".join([*folders, each])
        if folders and folders[-1] == each:
            yield "/".join(folders)


def _plain(name: str) -> str:
    """A name in composed Unicode; some systems take names of files apart."""
    return unicodedata.normalize("NFC", name)
