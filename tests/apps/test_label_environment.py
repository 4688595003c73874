"""MONAI Label's environment: fixes, pins, and what a user is told where it is missing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from bonemets.cli.main import main
from bonemets.errors import InputError
from bonemets.labeling.server.environment import check, pins
from bonemets.labeling.server.launch import check_port, default_work


def run(python: Path | str, code: str, **environment: str) -> str:
    variables = {**os.environ, **environment}
    done = subprocess.run([str(python), "-c", code], capture_output=True, text=True, env=variables, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


class TestEnvironment:
    def test_fixes_reach_every_process_there_and_no_other(self, label_python: Path) -> None:
        ours = "[type(finder).__name__ for finder in sys.meta_path if 'bonemets.labeling' in repr(finder)]"
        code = f"import sys; print({ours}, 'torch' in sys.modules)"
        names = "['TorchvisionOperators', 'PydicomStorageClasses', 'GirderClient'] False"
        assert run(label_python, code) == names
        again = f"import subprocess, sys; print(subprocess.check_output([sys.executable, '-c', {code!r}], text=True))"
        assert run(label_python, again) == names
        assert run(sys.executable, code) == "[] False"
        assert run(sys.executable, "import importlib.util as u; print(u.find_spec('monailabel'))") == "None"

    def test_real_modules_win(self, label_python: Path, tmp_path: Path) -> None:
        (tmp_path / "girder_client.py").write_text("GirderClient = HttpError = 'real'")
        code = "import girder_client as g, pydicom._storage_sopclass_uids as s, pydicom.uid as u; print(g.GirderClient, s.CTImageStorage == u.CTImageStorage)"  # noqa: E501
        assert run(label_python, code, PYTHONPATH=str(tmp_path)) == "real True"
        code = "import girder_client as g\ntry: g.GirderClient()\nexcept ImportError as error: print(error)"
        assert "not installed" in run(label_python, code)

    def test_operators_are_defined_only_where_they_are_missing(self, label_python: Path) -> None:
        code = """
import torch
from bonemets.labeling.server.compat import TorchvisionOperators
real = torch.library.Library("torchvision", "FRAGMENT")
real.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
print(TorchvisionOperators().define(), TorchvisionOperators().define())
"""
        assert run(label_python, code) == "['qnms'] []"

    def test_missing_environment_is_one_line(self, tmp_path: Path) -> None:
        command = [sys.executable, "-m", "bonemets.cli.main", "label", "--studies", str(tmp_path)]
        missing = tmp_path / "missing"
        variables = {**os.environ, "BONEMETS_LABEL_VENV": str(missing)}
        done = subprocess.run(command, capture_output=True, text=True, env=variables, timeout=60)
        assert done.returncode == 2
        assert done.stderr.count("\n") == 1
        assert done.stderr.endswith(
            f"make it with: {sys.executable} -m bonemets.labeling.server.environment {missing}\n"
        )

    def test_a_python_that_cannot_import_it_is_one_line(self) -> None:
        with pytest.raises(InputError) as caught:
            check(Path(sys.executable))
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        assert "\n" not in str(caught.value)
        assert f"with this Python, {version} (ModuleNotFoundError: No module named 'monailabel')" in str(caught.value)
        assert str(caught.value).endswith("(rm -r .venv && make label PYTHON=python3.11)")

    def test_pins_have_one_version_for_every_python(self) -> None:
        requirements = [Requirement(line) for line in pins().read_text().splitlines() if line and line[0] != "#"]
        wanted = {requirement.name for requirement in requirements} - {"legacy-cgi"}
        for version in ("3.11", "3.12", "3.13", "3.14"):
            environment = {"python_version": version}
            chosen = [r.name for r in requirements if r.marker is None or r.marker.evaluate(environment)]
            assert sorted(set(chosen) - {"legacy-cgi"}) == sorted(wanted)
            assert len(chosen) == len(set(chosen))
            assert ("legacy-cgi" in chosen) == (version in ("3.13", "3.14"))

    def test_missing_studies_are_one_line(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["label", "--studies", str(tmp_path / "nowhere")]) == 2
        assert capsys.readouterr().err.startswith(f"bonemets: {tmp_path / 'nowhere'}: no such folder")

    def test_where_things_lie(self, tmp_path: Path) -> None:
        assert default_work(str(tmp_path / "scans")) == tmp_path / "scans-labels"
        assert default_work("http://archive/dicom-web") == Path("bonemets-label")
        with pytest.raises(InputError, match="choose another --port or --host"):
            check_port("203.0.113.1", 8000)
