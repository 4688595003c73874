"""What a simulated cohort knows about its lesions beyond the label map: which they are, their bones and clusters.

Beside a label ``V_label.nii.gz`` the simulator leaves ``V_lesions.nii.gz`` (number of the lesion at each pixel),
``V_bones.nii.gz`` (bone at each pixel) and ``patient.json``. Real data have none of them; then there is no breakdown.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bonemets.errors import InputError
from bonemets.metrics.evaluation.predictions import read_array

LABEL_ENDING = "_label.nii.gz"


@dataclass(frozen=True)
class LesionFacts:
    """What is known about one lesion.

    Args:
        bone: its bone, such as "L3"; empty where it is not known.
        region: region of the skeleton, such as "lumbar_spine"; likewise.
        clustered: whether it belongs to a cluster; None where that is not known.
    """

    bone: str = ""
    region: str = ""
    clustered: bool | None = None


@dataclass(frozen=True)
class SimulatedView:
    """What the simulator left beside one label map.

    Args:
        instances: (H, W) number of the lesion at each pixel.
        bones: (H, W) bone label at each pixel; None where it is missing.
        facts: number of the lesion → what is known about it.
    """

    instances: NDArray[np.integer]
    bones: NDArray[np.integer] | None
    facts: dict[int, LesionFacts]

    def region_at(self, mask: NDArray[np.bool_]) -> str:
        """The region that most of the mask lies on; empty where it lies on no bone."""
        from bonemets.simulation.skeleton.anatomy import BONES, REGIONS

        if self.bones is None:
            return ""
        labels = self.bones[mask]
        labels = labels[labels > 0]
        if not len(labels):
            return ""
        return REGIONS.get(BONES.get(int(np.bincount(labels).argmax()), ""), "")


def read_simulated(label: Path, shape: tuple[int, ...]) -> SimulatedView | None:
    """What lies beside a label map; None where there is no instance map.

    Args:
        label: file of the label map.
        shape: its shape.

    Raises:
        InputError: a file is there but does not fit the label map.
    """
    if not label.name.endswith(LABEL_ENDING):
        return None
    view = label.name[: -len(LABEL_ENDING)]
    instances = _read_map(label.with_name(f"{view}_lesions.nii.gz"), shape)
    if instances is None:
        return None
    bones = _read_map(label.with_name(f"{view}_bones.nii.gz"), shape)
    return SimulatedView(instances, bones, _read_facts(label.with_name("patient.json")))


def _read_map(path: Path, shape: tuple[int, ...]) -> NDArray[np.integer] | None:
    if not path.is_file():
        return None
    array = np.squeeze(read_array(path)[0])
    if array.shape != shape:
        raise InputError(f"{path} has the shape {array.shape} and its label map {shape}; simulate the cohort again")
    return array.astype(np.int64)


@lru_cache(maxsize=4)
def _read_facts(path: Path) -> dict[int, LesionFacts]:
    if not path.is_file():
        return {}
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        lesions: list[dict[str, Any]] = document.get("lesions") or document.get("parameters", {}).get("lesions") or []
        clusters = Counter(lesion.get("cluster") for lesion in lesions)
        return {
            int(lesion["id"]): LesionFacts(
                str(lesion.get("bone") or ""),
                str(lesion.get("region") or ""),
                # A cluster of one is none.
                lesion["cluster"] is not None and clusters[lesion["cluster"]] > 1 if "cluster" in lesion else None,
            )
            for lesion in lesions
        }
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path} cannot be read as a simulated patient; simulate the cohort again") from error
