"""Reading planar scans and axial CT, writing masks, data lists and patient-level folds.

Everything is imported on first use: readers need MONAI and therefore torch, other parts scipy and pydicom.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bonemets.data.ct.reader import CTReader
    from bonemets.data.ct.scan import CTScan, read_ct, write_ct_mask
    from bonemets.data.ct.study import read_ct_study
    from bonemets.data.files import write_bytes, write_mask_like, write_nifti
    from bonemets.data.lists.datalist import datalist_hash, load_datalist, with_bones, write_datalist
    from bonemets.data.lists.folds import assign_folds, split_test
    from bonemets.data.lists.leakage import check_leakage
    from bonemets.data.pictures import PictureReader
    from bonemets.data.planar.geometry import VIEWS, planar_affine
    from bonemets.data.planar.reader import PlanarReader
    from bonemets.data.planar.scan import PlanarScan, SourceFrame
    from bonemets.data.planar.study import read_planar, read_study

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
    "with_bones",
    "write_bytes",
    "write_ct_mask",
    "write_datalist",
    "write_mask_like",
    "write_nifti",
]

_MODULES = {
    "CTReader": "ct.reader",
    "CTScan": "ct.scan",
    "PictureReader": "pictures",
    "PlanarReader": "planar.reader",
    "PlanarScan": "planar.scan",
    "SourceFrame": "planar.scan",
    "VIEWS": "planar.geometry",
    "assign_folds": "lists.folds",
    "check_leakage": "lists.leakage",
    "datalist_hash": "lists.datalist",
    "with_bones": "lists.datalist",
    "load_datalist": "lists.datalist",
    "planar_affine": "planar.geometry",
    "read_ct": "ct.scan",
    "read_ct_study": "ct.study",
    "read_planar": "planar.study",
    "read_study": "planar.study",
    "split_test": "lists.folds",
    "write_bytes": "files",
    "write_ct_mask": "ct.scan",
    "write_datalist": "lists.datalist",
    "write_mask_like": "files",
    "write_nifti": "files",
}


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(importlib.import_module(f"bonemets.data.{_MODULES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
