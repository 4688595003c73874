"""Reading planar scans and axial CT, writing masks, data lists and patient-level folds.

`PlanarReader`, `PictureReader` and `CTReader` are imported on first use, since they need MONAI and therefore torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bonemets.data.ct.scan import CTScan, read_ct, write_ct_mask
from bonemets.data.ct.study import read_ct_study
from bonemets.data.files import write_bytes, write_mask_like, write_nifti
from bonemets.data.lists.datalist import datalist_hash, load_datalist, write_datalist
from bonemets.data.lists.folds import assign_folds, split_test
from bonemets.data.lists.leakage import check_leakage
from bonemets.data.planar.geometry import VIEWS, planar_affine
from bonemets.data.planar.scan import PlanarScan, SourceFrame
from bonemets.data.planar.study import read_planar, read_study

if TYPE_CHECKING:
    from bonemets.data.ct.reader import CTReader
    from bonemets.data.pictures import PictureReader
    from bonemets.data.planar.reader import PlanarReader

__all__ = [
    "VIEWS",
    "CTReader",
    "CTScan",
    "PictureReader",
    "PlanarReader",
    "PlanarScan",
    "SourceFrame",
    "assign_folds",
    "check_leakage",
    "datalist_hash",
    "load_datalist",
    "planar_affine",
    "read_ct",
    "read_ct_study",
    "read_planar",
    "read_study",
    "split_test",
    "write_bytes",
    "write_ct_mask",
    "write_datalist",
    "write_mask_like",
    "write_nifti",
]


def __getattr__(name: str) -> Any:
    if name == "PlanarReader":
        from bonemets.data.planar.reader import PlanarReader

        return PlanarReader
    if name == "PictureReader":
        from bonemets.data.pictures import PictureReader

        return PictureReader
    if name == "CTReader":
        from bonemets.data.ct.reader import CTReader

        return CTReader
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
