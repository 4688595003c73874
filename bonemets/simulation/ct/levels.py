"""Which slices to cut: through the lesions, and lesion-free ones, so that networks see both."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from bonemets.simulation.ct.landmarks import Landmarks
from bonemets.simulation.ct.lesions import Deposit
from bonemets.simulation.ct.subject import CTSubject
from bonemets.simulation.skeleton.anatomy import BONES

LESION_SHARE = 2 / 3
"""At most this share of the slices goes through lesions."""
_LEAST_AREA = 15.0
"""Area in mm² from which a lesion counts as met."""


def choose_levels(
    subject: CTSubject,
    lesions: list[Deposit],
    marks: Landmarks,
    count: int,
    spacing: float,
    thickness: float,
    hidden: Callable[[float], set[str]],
) -> list[float]:
    """Choose heights (mm, ascending) on a grid of ``spacing``.

    Up to two thirds of the slices go through lesions: in turns, every lesion gets its largest section, then its second
    largest and so on. The others are spread evenly over the lesion-free levels from the thoracic inlet (T1) to below
    the lesser trochanters, the range of an ordinary CT of chest, abdomen and pelvis; lesions are met wherever they are.
    Where there are fewer lesion-free levels than wanted, the slices through lesions make up for it, and the reverse.

    Args:
        subject: the patient.
        lesions: the patient's metastases.
        marks: landmarks.
        count: number of slices.
        spacing: distance between neighboring levels in mm.
        thickness: of a slice in mm.
        hidden: bones that are not in the slice at a height (raised arms); lesions of them cannot be met there.

    Returns:
        ``count`` heights, or as many as there are.
    """
    grid = np.arange(np.floor(subject.points[:, 2].min() / spacing), np.ceil(subject.points[:, 2].max() / spacing) + 1)
    ranked: list[list[float]] = []
    touched = np.zeros(len(grid), bool)
    for deposit, spot in zip(lesions, subject.lesions, strict=True):
        touched |= (grid * spacing > deposit.low - 6) & (grid * spacing < deposit.high + 6)
        bone = BONES[int(subject.skeleton.bone[spot.index[0]])]
        volume = subject.skeleton.volume[spot.index]
        weight = np.abs(spot.excess) / volume
        inside = weight > 0.5 * weight.max()
        z, volume = subject.points[spot.index, 2][inside], volume[inside]
        area = [float(volume[np.abs(z - g * spacing) <= thickness / 2].sum() * 1000 / thickness) for g in grid]
        order = np.argsort(area)[::-1]
        ranked.append(
            [float(grid[i]) for i in order if area[i] >= _LEAST_AREA and bone not in hidden(grid[i] * spacing)]
        )
    through: list[float] = []
    for turn in range(max((len(levels) for levels in ranked), default=0)):
        for levels in ranked:
            if turn < len(levels) and levels[turn] not in through:
                through.append(levels[turn])
    low, high = marks.femoral_head["left"][2] - 75, marks.level["T1"] + 5
    free = grid[~touched & (grid * spacing > low) & (grid * spacing < high)]
    wanted = max(count - round(LESION_SHARE * count), count - len(through))
    picked = free[np.unique(np.round(np.linspace(0, len(free) - 1, min(wanted, len(free)))).astype(int))]
    chosen = [*through[: count - len(picked)], *picked.tolist()]
    return [float(g * spacing) for g in sorted(chosen)]
