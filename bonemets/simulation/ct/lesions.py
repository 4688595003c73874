"""Metastases and worn joints in a CT slice, at the places and in the shapes that the patient's bone scan has.

A lesion of the scan is a set of points of the skeleton with weights from 0 to 1. Here the weights are interpolated to
the pixels, roughened, and turned into attenuation:

* **blastic**: dense bone, 620 ± 140 HU between lesions (untreated blastic metastases in prostate and breast cancer:
  mean 654 ± 176 HU; Ulano, AJR 2016, 10.2214/AJR.15.15559 - bone islands are denser, above 885 HU);
* **lytic**: soft tissue of 30 to 75 HU that replaces trabecular bone, breaks through the cortex and reaches up to 3 mm
  beyond it; one in five has a sclerotic rim;
* **mixed**: patches of both. One in four lytic and one in five blastic lesions of the scan become mixed; photopenic
  ones are lytic.

Benign spots (worn joints, fractures) become mild sclerosis that is no lesion in the label: hard negatives.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.ndimage import gaussian_filter, label
from scipy.spatial import cKDTree

from bonemets.simulation.ct.bones import BoneSlice
from bonemets.simulation.ct.plane import SIZE, Plane
from bonemets.simulation.ct.subject import CTSubject
from bonemets.simulation.patient.spots import Spot

_REACH_MM = 3.0
SMALLEST_PX = 4
"""Smaller islands of a lesion's mask in a slice are dropped: nobody would draw them."""


@dataclass(frozen=True)
class Deposit:
    """A lesion as CT shows it.

    Attributes:
        id: its number, the same as in the scan's instance maps.
        kind: ``"blastic"``, ``"lytic"``, ``"mixed"`` or ``"benign"``.
        hu: attenuation of its blastic and of its lytic part.
        rim: whether a lytic lesion has a sclerotic rim.
        points: (n, 3) skeleton points around it in mm; ``weight`` (n,) how much of each is lesion.
        low, high: its extent along z in mm.
    """

    id: int
    kind: str
    hu: tuple[float, float]
    rim: bool
    points: np.ndarray
    weight: np.ndarray
    tree: cKDTree
    low: float
    high: float

    def record(self) -> dict[str, Any]:
        """For the patient's record."""
        record = {"id": self.id, "kind": self.kind}
        if self.kind != "lytic":
            record["blastic_hu"] = round(self.hu[0], 1)
        if self.kind in ("lytic", "mixed"):
            record["lytic_hu"] = round(self.hu[1], 1)
        return record


def draw_deposits(subject: CTSubject, spots: list[Spot], benign: bool, rng: np.random.Generator) -> list[Deposit]:
    """Decide how each spot looks on CT.

    Args:
        subject: the patient.
        spots: lesions or benign spots of the scan.
        benign: whether they are benign.
        rng: random generator.

    Returns:
        One deposit per spot.
    """
    deposits = []
    for spot in spots:
        draws = rng.uniform(size=3)
        dense, soft = float(np.clip(rng.normal(620, 140), 330, 1000)), float(rng.uniform(30, 75))
        kind = {"photopenic": "lytic"}.get(str(spot.parameters["kind"]), str(spot.parameters["kind"]))
        if draws[0] < {"lytic": 0.25, "blastic": 0.20}.get(kind, 0.0) and spot.parameters["kind"] != "photopenic":
            kind = "mixed"
        weight = np.abs(spot.excess) / subject.skeleton.volume[spot.index]
        weight = weight / max(float(weight.max()), 1e-9)
        here = subject.points[spot.index]
        low, high = here.min(axis=0) - 4, here.max(axis=0) + 4
        around = np.flatnonzero(((subject.points > low) & (subject.points < high)).all(axis=1))
        full = np.zeros(len(around), np.float32)
        full[np.searchsorted(around, spot.index)] = weight
        core = here[weight > 0.5]
        deposits.append(
            Deposit(
                id=spot.id,
                kind="benign" if benign else kind,
                hu=(float(320 + 160 * draws[2]) if benign else dense, soft),
                rim=bool(draws[1] < 0.2),
                points=subject.points[around],
                weight=full,
                tree=cKDTree(subject.points[around]),
                low=float(core[:, 2].min()),
                high=float(core[:, 2].max()),
            )
        )
    return deposits


class DepositSlice:
    """The deposits of one slice: how much of each pixel they fill, and their masks."""

    def __init__(
        self, deposits: list[Deposit], plane: Plane, thickness: float, bones: BoneSlice, rough: tuple[np.ndarray, ...]
    ) -> None:
        self._plane, self._bones, self._rough = plane, bones, rough
        self._fields: list[tuple[Deposit, tuple[slice, slice], np.ndarray]] = []
        self.instances = np.zeros((SIZE, SIZE), np.uint16)
        strongest = np.zeros((SIZE, SIZE), np.float32)
        for deposit in deposits:
            if plane.z + thickness / 2 + _REACH_MM < deposit.low or plane.z - thickness / 2 - _REACH_MM > deposit.high:
                continue
            found = self._field(deposit, thickness)
            if found is None:
                continue
            window, field = found
            self._fields.append((deposit, window, field))
            if deposit.kind == "benign":
                continue
            mask = _without_crumbs(field > 0.5)
            wins = mask & (field > strongest[window])
            strongest[window][wins] = field[wins]
            self.instances[window][wins] = deposit.id

    def _field(self, deposit: Deposit, thickness: float) -> tuple[tuple[slice, slice], np.ndarray] | None:
        """Window and share (0 to 1) of the lesion in each of its pixels, averaged over the slice's thickness."""
        core = deposit.points[deposit.weight > 0]
        window = self._plane.window(core[:, :2].min(axis=0), core[:, :2].max(axis=0), 5.0)
        if window is None:
            return None
        x, y = np.broadcast_arrays(self._plane.x[:, window[1]], self._plane.y[window[0]])
        inside = self._bones.distance[window]
        # lytic tissue grows a little beyond the bone, the others do not
        beyond = 2.2 if deposit.kind in ("lytic", "mixed") else 0.7
        near = inside > -_REACH_MM
        share = np.zeros(x.shape, np.float32)
        if not near.any():
            return None
        rough = 0.16 * self._rough[1][window] + 0.09 * self._rough[0][window]
        outside = np.clip(-inside - 0.3, 0, None) / beyond
        for shift in (-thickness / 3, 0.0, thickness / 3):
            pixels = np.stack([x[near], y[near], np.full(int(near.sum()), self._plane.z + shift)], axis=1)
            distance, index = deposit.tree.query(pixels, k=6)
            weight = np.exp(-((distance / 1.6) ** 2)) + 1e-6
            value: np.ndarray = np.zeros(x.shape, np.float32)
            value[near] = (deposit.weight[index] * weight).sum(axis=1) / weight.sum(axis=1)
            value[near] *= np.exp(-((np.clip(distance[:, 0] - 2.0, 0, None) / 1.5) ** 2))
            value = value * (value > 0.05) + rough * (value > 0.05) - outside
            share += np.clip((value - 0.5) / 0.30 + 0.5, 0, 1) / 3
        return (window, share) if share.max() > 0.3 else None

    def harden(self) -> None:
        """Add blastic bone and benign sclerosis to the attenuation of the bones."""
        for deposit, window, share in self._fields:
            if deposit.kind == "lytic":
                continue
            hu = self._bones.hu[window]
            target = deposit.hu[0] + 70 * self._rough[0][window] + 60 * self._rough[1][window]
            if deposit.kind == "mixed":
                share = share * np.clip(self._rough[2][window] * 1.5 + 0.6, 0, 1)
            hu += share * np.maximum(target - hu, 0)

    def dissolve(self, image: np.ndarray) -> None:
        """Replace bone by lytic tissue in the finished slice."""
        for deposit, window, share in self._fields:
            if deposit.kind not in ("lytic", "mixed"):
                continue
            part = image[window]
            inside = self._bones.distance[window]
            if deposit.kind == "mixed":
                share = share * np.clip(0.4 - self._rough[2][window] * 1.5, 0, 1)
            cortex = (inside < 1.4) & (inside > -0.6)
            remains = cortex * np.clip(self._rough[1][window] * 0.9 + 0.15, 0, 0.85)  # pieces of cortex still stand
            if deposit.rim:
                rim = np.clip(gaussian_filter(share, 2.0) * 1.6 - share, 0, 0.6) * (inside > 0)
                part += rim * np.maximum(520 - part, 0)
            soft = deposit.hu[1] + 8 * self._rough[2][window]
            part += share * (1 - remains) * (soft - part)


def _without_crumbs(mask: np.ndarray) -> np.ndarray:
    islands, _ = label(mask)
    size = np.bincount(islands.ravel())
    size[0] = 0
    return np.asarray((size >= SMALLEST_PX)[islands])
