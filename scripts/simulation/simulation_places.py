"""Places of the body where simulated scans are compared with the real one; used by compare_simulation.py."""

from __future__ import annotations

from typing import Any

import numpy as np

from bonemets.simulation import BONES

IDS = {name: label for label, name in BONES.items()}

# Rectangles (first row, last row, first column, last column) drawn by eye on the real scan.
REAL_BOXES: dict[str, list[tuple[int, int, int, int]]] = {
    "abdomen": [(322, 350, 95, 119), (322, 350, 171, 190)],
    "lumbar spine": [(308, 345, 142, 151)],
    "sternum": [(250, 290, 131, 139)],
    "chest with ribs": [(236, 285, 84, 118)],
    "face": [(143, 168, 123, 152)],
    "skull vault": [(108, 130, 115, 158)],
    "shoulder": [(204, 230, 57, 82), (192, 215, 193, 217)],
    "femur shaft": [(537, 587, 79, 88), (520, 560, 172, 183)],
    "thigh, soft tissue": [(537, 587, 100, 114), (520, 560, 150, 163)],
    "knee": [(602, 642, 68, 106), (602, 642, 152, 186)],
    "tibia": [(690, 735, 83, 96), (690, 735, 155, 166)],
    "foot": [(785, 830, 83, 108), (785, 830, 132, 158)],
}


def real_scan() -> np.ndarray:
    """The NEMA scan as counts (1024, 256)."""
    import pydicom
    from pydicom.data import get_testdata_file

    path = get_testdata_file("JPEG-LL.dcm")
    if path is None:
        raise SystemExit("the real scan is missing: pip install pydicom-data")
    return pydicom.dcmread(path).pixel_array.astype(np.float64)


def means_of_boxes(image: np.ndarray) -> dict[str, float]:
    """Mean of the real scan in each of the `REAL_BOXES`."""
    return {
        name: float(np.mean([image[a:b, c:d].mean() for a, b, c, d in boxes])) for name, boxes in REAL_BOXES.items()
    }


def rows_of(bones: np.ndarray, *names: str) -> tuple[int, int]:
    """First and last row of the named bones."""
    rows = np.flatnonzero(np.isin(bones, [IDS[name] for name in names]).any(axis=1))
    return int(rows[0]), int(rows[-1])


def columns_of(bones: np.ndarray, rows: slice, *names: str) -> tuple[int, int]:
    """First and last column of the named bones in some rows."""
    columns = np.flatnonzero(np.isin(bones[rows], [IDS[name] for name in names]).any(axis=0))
    return int(columns[0]), int(columns[-1])


def simulated_masks(bones: np.ndarray) -> dict[str, np.ndarray]:
    """The same places as :data:`REAL_BOXES`, found through the simulation's own map of the bones."""
    masks = {name: np.zeros(bones.shape, bool) for name in REAL_BOXES}

    def share(low: int, high: int, a: float, b: float) -> slice:
        return slice(int(low + a * (high - low)), int(low + b * (high - low)) + 1)

    top, bottom = rows_of(bones, "L2", "L3", "L4")
    rows = share(top, bottom, 0.25, 0.95)
    left, right = columns_of(bones, rows, "L2", "L3", "L4")
    middle = (left + right) // 2
    masks["lumbar spine"][share(top, bottom, 0.0, 0.9), middle - 4 : middle + 5] = True
    masks["abdomen"][rows, middle - 42 : middle - 24] = True
    masks["abdomen"][rows, middle + 25 : middle + 43] = True
    top, bottom = rows_of(bones, "sternum")
    rows = share(top, bottom, 0.35, 0.8)
    left, right = columns_of(bones, rows, "sternum")
    masks["sternum"][rows, (left + right) // 2 - 3 : (left + right) // 2 + 5] = True
    left, right = columns_of(bones, rows, *(f"rib_right_{i}" for i in range(4, 9)))
    masks["chest with ribs"][share(top, bottom, 0.3, 1.0), left + 5 : right - 4] = True
    top, bottom = rows_of(bones, "skull")
    left, right = columns_of(bones, slice(top, bottom), "skull")
    center = (left + right) // 2
    masks["face"][share(top, bottom, 0.66, 0.98), center - 14 : center + 15] = True
    masks["skull vault"][share(top, bottom, 0.14, 0.42), center - 20 : center + 21] = True
    for side in ("right", "left"):
        _limb_masks(bones, side, masks, share)
    return masks


def _limb_masks(bones: np.ndarray, side: str, masks: dict[str, np.ndarray], share: Any) -> None:
    top, bottom = rows_of(bones, f"humerus_{side}")
    rows = share(top, bottom, 0.0, 0.16)
    left, right = columns_of(bones, rows, f"humerus_{side}")
    masks["shoulder"][rows, left : right + 1] = True
    inward = 1 if side == "right" else -1
    top, bottom = rows_of(bones, f"femur_{side}")
    for row in range(int(top + 0.5 * (bottom - top)), int(top + 0.66 * (bottom - top))):
        columns = np.flatnonzero(bones[row] == IDS[f"femur_{side}"])
        center = (columns[0] + columns[-1]) // 2
        masks["femur shaft"][row, center - 4 : center + 5] = True
        soft = center + inward * 20
        masks["thigh, soft tissue"][row, soft - 6 : soft + 7] = True
    left, right = columns_of(bones, share(top, bottom, 0.9, 1.0), f"femur_{side}")
    masks["knee"][int(bottom - 22) : bottom + 19, left : right + 1] = True
    top, bottom = rows_of(bones, f"tibia_{side}")
    for row in range(int(top + 0.35 * (bottom - top)), int(top + 0.62 * (bottom - top))):
        columns = np.flatnonzero(bones[row] == IDS[f"tibia_{side}"])
        if len(columns):
            masks["tibia"][row, columns[0] - 1 : columns[-1] + 2] = True
    feet = [name for name in IDS if name.endswith(f"_{side}") and name.startswith(("metatarsal", "cun", "tal", "cub"))]
    top, bottom = rows_of(bones, *feet)
    left, right = columns_of(bones, slice(top, bottom), *feet)
    masks["foot"][share(top, bottom, 0.0, 0.9), left : right + 1] = np.isin(
        bones[share(top, bottom, 0.0, 0.9), left : right + 1], [IDS[name] for name in feet]
    )
