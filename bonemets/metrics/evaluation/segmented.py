"""Results of ``bonemets segment`` as predictions: which items of a data list each of them is of."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from bonemets.errors import InputError

# The item's place in the list, and which view or slice of the mask is its own.
Places = list[tuple[int, int | None]]


@dataclass(frozen=True)
class Result:
    """A result and the items that it is of.

    Args:
        folder: where its ``mask.nii.gz`` is.
        places: index of each item, and the view or slice of the mask that belongs to it; None: the whole mask.
        of_ct: whether it is a CT's.
    """

    folder: Path
    places: Places
    of_ct: bool


def match_results(folders: Sequence[Path], items: Sequence[Mapping[str, Any]]) -> Iterator[Result]:
    """Recognize the scans, and the slices of CT, that were segmented by the fingerprints of their pixels.

    Args:
        folders: results of ``bonemets segment``.
        items: items of a data list with absolute paths; of CT one item per slice.

    Raises:
        InputError: a ``result.json`` is none of ours, or an item cannot be read.
    """
    studies = [(folder, _study(folder / "result.json")) for folder in folders]
    planar = [study for study in studies if "slices_sha256" not in study[1]]
    if planar:
        scans = _planar_places(items)
        waiting = Counter(study["pixels_sha256"] for _, study in planar)
        for folder, study in planar:
            yield Result(folder, _planar_result(scans.get(study["pixels_sha256"], []), waiting, study), of_ct=False)
    if len(planar) == len(studies):
        return
    slices = _slice_items(items)
    for folder, study in studies:
        if "slices_sha256" in study:
            yield Result(folder, _slice_places(study["slices_sha256"], slices), of_ct=True)


def _study(path: Path) -> dict[str, Any]:
    try:
        study = dict(json.loads(path.read_text("utf-8"))["study"])
        study["pixels_sha256"] = str(study["pixels_sha256"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} is not a result of bonemets segment; segment again") from error
    return study


def _planar_places(items: Sequence[Mapping[str, Any]]) -> dict[str, list[Places]]:
    """By fingerprint: each item alone, and each two views of a patient as one scan."""
    from bonemets.data.fingerprints import scan_sha256
    from bonemets.data.planar.scan import merge_views
    from bonemets.data.planar.study import read_planar

    places: dict[str, list[Places]] = defaultdict(list)
    by_patient: dict[str, dict[tuple[str, ...], list[tuple[int, Any]]]] = defaultdict(lambda: defaultdict(list))
    for index, item in enumerate(items):
        scan = read_planar(Path(item["image"]))
        places[scan_sha256(scan)].append([(index, None)])
        by_patient[str(item["patient"])][scan.views].append((index, scan))
    for views in by_patient.values():
        # A patient with several studies: only the pixels tell which two views were segmented together.
        for (first, anterior), (second, posterior) in product(views["anterior",], views["posterior",]):
            if anterior.shape == posterior.shape:
                places[scan_sha256(merge_views(anterior, posterior))].append([(first, 0), (second, 1)])
    return places


def _planar_result(same: list[Places], waiting: Counter[str], study: Mapping[str, Any]) -> Places:
    """The items of a result. Of items with the same pixels each result takes one; a single result is of all."""
    if waiting[study["pixels_sha256"]] == 1:
        return [place for places in same for place in places]
    return same.pop(0) if same else []


def _slice_items(items: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, list[int]]]:
    """By patient and fingerprint, the items of slices."""
    from bonemets.data.ct.scan import read_ct
    from bonemets.data.fingerprints import slices_sha256

    found: dict[str, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    for index, item in enumerate(items):
        (fingerprint, *others) = slices_sha256(read_ct(Path(item["image"])))
        if not others:
            found[str(item["patient"])][fingerprint].append(index)
    return found


def _slice_places(fingerprints: Sequence[str], patients: Mapping[str, Mapping[str, list[int]]]) -> Places:
    """The items of the patient with the most slices in common; slices with the same pixels, one after the other."""
    places: Places = []
    shared = {name: sum(bool(items.get(each)) for each in fingerprints) for name, items in patients.items()}
    if not any(shared.values()):
        return places
    items = patients[max(shared, key=lambda name: shared[name])]
    for channel, fingerprint in enumerate(fingerprints):
        waiting = items.get(str(fingerprint), [])
        if waiting:
            places.append((waiting.pop(0), channel))
    return places
