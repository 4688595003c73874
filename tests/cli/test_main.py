from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time

import pytest
import typer

from bonemets import __version__
from bonemets.bundle.folders import file_sha256
from bonemets.cli import main as cli
from bonemets.cli.doctor import Check, check_bundles, check_packages
from bonemets.cli.main import main


def test_help_is_quick_and_imports_nothing_heavy():
    code = (
        "import sys; from bonemets.cli.main import main; assert main(['--help']) == 0; "
        "heavy = {'torch', 'monai', 'mlflow', 'mujoco', 'pydicom', 'matplotlib', 'scipy'} & set(sys.modules); "
        "assert not heavy, heavy"
    )
    start = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert time.perf_counter() - start < 3  # 0.2 s measured; the room is for a busy machine
    for command in ("simulate", "segment", "info", "doctor"):
        assert command in done.stdout


def test_no_arguments_show_the_help(capsys):
    assert main([]) == 0
    assert "segment" in capsys.readouterr().out


def test_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"bonemets {__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nope"], "nope"),
        (["--nope"], "--nope"),
        (["segment"], "bonemets segment --help"),
        (["segment", "x"], "--output"),
        (["segment", "x", "-o", "y", "--threshold", "2"], "--threshold"),
        (["segment", "x", "-o", "y", "--bundle", "spect_dual_poling_segmentation"], "did you mean"),
        (["info", "surplus"], "surplus"),
    ],
)
def test_bad_usage_is_one_line_and_exit_2(arguments, message, capsys):
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("bonemets: ")
    assert captured.err.count("\n") == 1
    assert message in captured.err
    assert captured.out == ""


def test_ctrl_c_exits_130(monkeypatch):
    app = typer.Typer()

    @app.callback(invoke_without_command=True)
    def interrupted() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "app", app)
    assert main([]) == 130


def test_defects_are_not_hidden(monkeypatch):
    app = typer.Typer()

    @app.callback(invoke_without_command=True)
    def broken() -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(cli, "app", app)
    with pytest.raises(ZeroDivisionError):
        main([])


def test_info_json(bundle, monkeypatch, capsys):
    monkeypatch.setenv("BONEMETS_BUNDLES", str(bundle.parent))
    assert main(["info", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["bonemets"] == __version__
    assert facts["packages"]["torch"].startswith("2.")
    ours = next(item for item in facts["bundles"] if item["name"] == bundle.name)
    assert ours["version"] == "1.2.3"
    assert len(ours["weights"]["sha256"]) == 64
    assert main(["info"]) == 0
    assert bundle.name in capsys.readouterr().out


def test_doctor_says_what_fixes_it(bundle, tmp_path, monkeypatch, capsys):
    bare = tmp_path / "bare_segmentation"
    (bare / "configs").mkdir(parents=True)
    (bare / "configs" / "inference.yaml").write_text("{}")
    monkeypatch.setenv("BONEMETS_BUNDLES", f"{bundle.parent}:{tmp_path}")
    assert main(["doctor"]) == 0
    lines = capsys.readouterr().out.splitlines()
    told = f"sha256 {file_sha256(bundle / 'models' / 'model.pt')[:12]}, trained on nothing, made for a test"
    assert f"ok       bundle hot_spot_segmentation, weights {told}" in lines
    at = lines.index("optional bundle bare_segmentation: no weights")
    assert "docs/README.md" in lines[at + 1]


def test_doctor_and_info_know_the_weights(bundle, tmp_path, monkeypatch, capsys):
    """What the weights were trained on, and that they are those of the record beside them."""
    copy = tmp_path / "hot_spot_segmentation"
    shutil.copytree(bundle, copy)
    sha256 = file_sha256(copy / "models" / "model.pt")
    record = {"sha256": sha256, "datalist": {"name": "S", "simulated": True, "cohort": "bone_scan_200"}}
    (copy / "models" / "model.json").write_text(json.dumps({**record, "epoch": 8, "settings": {"epochs": 9}}))
    monkeypatch.setattr("bonemets.bundle.folders.bundle_folders", lambda: [tmp_path])
    told = f"sha256 {sha256[:12]}, trained on simulated patients only (bone_scan_200), epoch 8 of 9"
    assert main(["doctor"]) == 0
    assert f"ok       bundle hot_spot_segmentation, weights {told}\n" in capsys.readouterr().out
    assert main(["info"]) == 0
    assert f"    weights: {told}\n" in capsys.readouterr().out
    assert main(["info", "--json"]) == 0
    weights = json.loads(capsys.readouterr().out)["bundles"][0]["weights"]
    assert (weights["simulated_patients_only"], weights["sha256"]) == (True, sha256)
    (copy / "models" / "model.json").write_text(json.dumps({**record, "sha256": "0" * 64}))
    assert main(["doctor"]) == 0
    assert "missing  bundle hot_spot_segmentation: model.json describes other weights" in capsys.readouterr().out


def test_doctor_compares_with_the_packages_own_requirements(monkeypatch):
    monkeypatch.setattr(
        "bonemets.cli.doctor.requires",
        lambda _: ["numpy>=2", "pydicom>=99", "no-such-thing[fast]>=1; extra == 'sim'", "numpy>=1; extra == 'sim'"],
    )
    core, sim, *others = check_packages()
    assert (core.problem, core.optional) == ("pydicom>=99", False)
    assert core.fix.endswith("-m pip install 'pydicom>=99'")
    assert (sim.problem, sim.optional) == ("no-such-thing[fast]>=1", True)
    assert not any(check.problem for check in others)


def test_doctor_without_bundles(monkeypatch):
    monkeypatch.setattr("bonemets.cli.doctor.list_bundles", dict)
    assert check_bundles() == [Check("bundles", "none found", check_bundles()[0].fix)]
