"""One planar scan, whatever file it came from."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from bonemets.data.planar.geometry import Layout, SourceGrid, planar_affine

if TYPE_CHECKING:
    from pydicom import Dataset


@dataclass(frozen=True, eq=False)
class SourceFrame:
    """The DICOM frame that one view was read from.

    Args:
        dataset: the DICOM object.
        number: number of the frame in it, from 1.
        layout: how the frame is stored; the scan holds it as displayed.
    """

    dataset: Dataset
    number: int = 1
    layout: Layout = Layout()


@dataclass(eq=False)
class PlanarScan:
    """A planar scan as displayed: rows head to feet, the views side by side on the last axis.

    Args:
        pixels: (H, W, V) float32, V = 1 or 2 views; counts where the file holds counts.
        views: one name per view, ``("anterior", "posterior")``, one of them, or ``("unknown",)``.
        spacing: row and column spacing in mm; (1, 1) where the file does not say.
        path: the file, or the folder or archive, that it came from.
        format: kind of that file.
        dataset: the DICOM object, with its pixel data; None for other formats.
        frames: per view the DICOM frame; empty for other formats. Two single-view objects give two data sets.
        grid: the file's own grid for NIfTI and NRRD, None for other formats.
        affine: (4, 4), (row, column, depth) to RAS mm; by default `planar_affine` of the first view.
        colors: (H, W, 3) uint8 of a picture with 8 bits a channel; None for other formats.
    """

    pixels: np.ndarray
    views: tuple[str, ...]
    spacing: tuple[float, float]
    path: Path
    format: Literal["dicom", "nifti", "image", "nrrd", "array"]
    dataset: Dataset | None = None
    frames: tuple[SourceFrame, ...] = ()
    grid: SourceGrid | None = None
    affine: np.ndarray = field(default=None)  # type: ignore[arg-type]
    colors: np.ndarray | None = None

    def __post_init__(self) -> None:
        if self.pixels.ndim != 3 or self.pixels.shape[2] != len(self.views):
            raise ValueError(
                f"pixels must be (H, W, {len(self.views)}) for views {self.views}, got {self.pixels.shape}"
            )
        if self.affine is None:
            self.affine = planar_affine(self.pixels.shape, self.spacing, self.views[0])

    @property
    def shape(self) -> tuple[int, int, int]:
        """Rows, columns and views."""
        height, width, views = self.pixels.shape
        return height, width, views

    def view(self, name: str) -> np.ndarray:
        """The pixels of one view, (H, W).

        Raises:
            KeyError: if the scan does not have that view.
        """
        if name not in self.views:
            raise KeyError(f"the scan has the views {self.views}, not {name!r}")
        return self.pixels[..., self.views.index(name)]


def merge_views(anterior: PlanarScan, posterior: PlanarScan) -> PlanarScan:
    """One scan of two views from two single-view scans of the same study and the same size."""
    return PlanarScan(
        pixels=np.concatenate([anterior.pixels, posterior.pixels], axis=2),
        views=("anterior", "posterior"),
        spacing=anterior.spacing,
        path=anterior.path.parent,
        format=anterior.format,
        dataset=anterior.dataset,
        frames=anterior.frames + posterior.frames,
        affine=anterior.affine,
    )
