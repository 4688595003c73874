import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from bonemets.dicom.nm import NMHeader


@pytest.fixture
def counts() -> np.ndarray:
    rng = np.random.default_rng(0)
    return rng.poisson(5, (64, 24, 2)).astype(np.uint16)


@pytest.fixture
def header() -> NMHeader:
    return NMHeader("patient_0001", sex="F", age_years=61, height_m=1.66, weight_kg=70.5, tracer="HDP")


@pytest.fixture
def validate():
    """David Clunie's validator and dcmtk's parser: what they complain about."""

    def run(path: Path) -> list[str]:
        for program in ("dciodvfy", "dcmdump"):
            if shutil.which(program) is None:
                pytest.skip(f"{program} is not installed (Debian: dicom3tools, dcmtk)")
        report = subprocess.run(["dciodvfy", "-new", str(path)], capture_output=True, text=True, check=False)
        dump = subprocess.run(["dcmdump", "-q", str(path)], capture_output=True, text=True, check=False)
        assert dump.returncode == 0
        lines = (report.stdout + report.stderr + dump.stderr).splitlines()
        # The validator prints the name of the IOD that it recognized.
        return [line for line in lines if line not in ("NMImage", "Segmentation", "ComprehensiveSR")]

    return run
