"""A tiny cohort in the layout of `bonemets simulate`, drawn from ellipses: only its files matter here."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from bonemets.data import planar_affine, write_datalist, write_nifti

SHAPE = (384, 160)


def phantom(seed: int, lesions: int) -> tuple[np.ndarray, np.ndarray]:
    """Counts and label map of a body of ellipses: head, trunk, legs, spine; `lesions` hot discs, one spot to ignore."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[: SHAPE[0], : SHAPE[1]]

    def ellipse(row: float, column: float, height: float, width: float) -> np.ndarray:
        return ((rows - row) / height) ** 2 + ((columns - column) / width) ** 2 < 1

    counts = np.full(SHAPE, 0.3)
    body = ellipse(45, 80, 32, 20) | ellipse(170, 80, 95, 55) | ellipse(300, 60, 75, 18) | ellipse(300, 100, 75, 18)
    counts[body] = 8
    counts[ellipse(165, 80, 85, 6) | ellipse(45, 80, 28, 16)] = 25
    label = np.zeros(SHAPE, dtype=np.uint8)
    for _ in range(lesions):
        spot = ellipse(rng.uniform(110, 230), rng.uniform(55, 105), rng.uniform(5, 9), rng.uniform(5, 9))
        counts[spot] = 90
        label[spot] = 1
    unsure = ellipse(rng.uniform(280, 330), 60, 5, 5)
    counts[unsure] = 30
    label[unsure] = 2
    return rng.poisson(counts).astype(np.uint16), label


@pytest.fixture(scope="session")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a cohort: four patients for training in two folds, one for testing; two views each."""
    folder = tmp_path_factory.mktemp("cohort")
    parts: dict[str, list[dict]] = {"training": [], "testing": []}
    for number in range(1, 6):
        patient = f"patient_{number:04d}"
        (folder / patient).mkdir()
        for index, view in enumerate(("anterior", "posterior")):
            counts, label = phantom(10 * number + index, lesions=number % 3)
            affine = planar_affine(SHAPE, (2.26, 2.26), view)
            write_nifti(folder / patient / f"{view}.nii.gz", counts, affine)
            write_nifti(folder / patient / f"{view}_label.nii.gz", label, affine)
            item = {"image": f"{patient}/{view}.nii.gz", "label": f"{patient}/{view}_label.nii.gz"}
            item |= {"patient": patient, "view": view}
            if number < 5:
                parts["training"].append({**item, "fold": number % 2})
            else:
                parts["testing"].append(item)
    labels = {"0": "background", "1": "lesion", "2": "ignore"}
    write_datalist(folder / "datalist.json", {"name": "phantoms", "numFolds": 2, "labels": labels, **parts})
    return folder


@pytest.fixture(autouse=True)
def one_thread():
    """One thread: these networks are too small for more, and the machine may be shared."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
