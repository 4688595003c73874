"""DICOM CT series with known content."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from bonemets.dicom.ct import CTHeader, ct_bytes

SHAPE = (56, 48)
STEP = 4.0


def write_series(folder: Path, hu: np.ndarray, study: str = "S", heights: list[float] | None = None) -> Path:
    """Slices as files whose names run from head to feet."""
    folder.mkdir(parents=True)
    for index in range(hu.shape[2]):
        height = STEP * index if heights is None else heights[index]
        content = ct_bytes(hu[..., index], (-40.0, -50.0, height), 1.5, index + 1, CTHeader("SECRET"), study=study)
        (folder / f"{hu.shape[2] - index:02d}.dcm").write_bytes(content)
    return folder
