"""From real data sets to data lists: one adapter per format, each with its folder layout in its docstring."""

from __future__ import annotations

from bonemets.data.adapters import (
    bm_seg,
    bs80k,
    cxr_lung,
    isic2018,
    labelme,
    monailabel,
    nm_itksnap,
    nnunet,
    pairs,
)  # fmt: skip
from bonemets.data.adapters.base import Adapter, Case, Collection, Options, Problem, ProblemsError
from bonemets.data.adapters.nnunet_export import export_nnunet
from bonemets.data.lists.build import build_datalist
from bonemets.errors import InputError

ADAPTERS: dict[str, Adapter] = {
    module.ADAPTER.name: module.ADAPTER
    for module in (bm_seg, isic2018, cxr_lung, nm_itksnap, labelme, bs80k, monailabel, nnunet, pairs)
} | {adapter.name: adapter for adapter in monailabel.ADAPTER_FOR.values()}

__all__ = [
    "ADAPTERS",
    "Adapter",
    "Case",
    "Collection",
    "Options",
    "Problem",
    "ProblemsError",
    "build_datalist",
    "export_nnunet",
    "get_adapter",
]


def get_adapter(name: str) -> Adapter:
    """The adapter of a format.

    Raises:
        InputError: if there is none of that name.
    """
    if name not in ADAPTERS:
        raise InputError(f"--format {name}: is not known; choose one of {', '.join(ADAPTERS)}")
    return ADAPTERS[name]
