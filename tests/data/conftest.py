from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pydicom.data
import pytest

from bonemets.dicom.nm import NMHeader, nm_dataset


@pytest.fixture(scope="session")
def nema_scan() -> Path:
    """The one public whole-body bone scan, losslessly compressed (pydicom-data)."""
    path = pydicom.data.get_testdata_file("JPEG-LL.dcm", download=False)
    if path is None:
        pytest.skip("pydicom-data is not installed")
    return Path(path)


@pytest.fixture
def counts() -> np.ndarray:
    """Two small views that differ and have no symmetry."""
    rng = np.random.default_rng(0)
    return (rng.poisson(5, (48, 16, 2)) + np.arange(48)[:, None, None]).astype(np.uint16)


@pytest.fixture
def save_nm(tmp_path: Path) -> Callable[..., Path]:
    """Write an NM object whose header was changed by a function; its identifiers follow from its name."""

    def save(
        name: str, counts: np.ndarray, change: Callable[[pydicom.Dataset], None] | None = None, views=None, study="s"
    ) -> Path:
        views = views or ("anterior", "posterior")[: counts.shape[2]]
        dataset = nm_dataset(counts, NMHeader("p"), views=views, study=study)
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = pydicom.uid.generate_uid()
        if change:
            change(dataset)
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        dataset.save_as(path, enforce_file_format=True)
        return path

    return save
