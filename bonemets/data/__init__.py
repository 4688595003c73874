"""Reading planar scans, writing masks, data lists and patient-level folds.

`PlanarReader` is imported on first use, since it needs MONAI and therefore torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bonemets.data.datalist import datalist_hash, load_datalist, write_datalist
from bonemets.data.files import write_bytes, write_mask_like, write_nifti
from bonemets.data.folds import assign_folds, split_test
from bonemets.data.geometry import VIEWS, planar_affine
from bonemets.data.leakage import check_leakage
from bonemets.data.planar import PlanarScan, SourceFrame
from bonemets.data.study import read_planar, read_study

if TYPE_CHECKING:
    from bonemets.data.reader import PlanarReader

__all__ = [
    "VIEWS",
    "PlanarReader",
    "PlanarScan",
    "SourceFrame",
    "assign_folds",
    "check_leakage",
    "datalist_hash",
    "load_datalist",
    "planar_affine",
    "read_planar",
    "read_study",
    "split_test",
    "write_bytes",
    "write_datalist",
    "write_mask_like",
    "write_nifti",
]


def __getattr__(name: str) -> Any:
    if name == "PlanarReader":
        from bonemets.data.reader import PlanarReader

        return PlanarReader
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
