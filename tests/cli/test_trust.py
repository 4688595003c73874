"""Bundles that are not installed: asked for once, remembered by their content."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bonemets.bundle.trust import check_trust, content_sha256
from bonemets.cli.main import main
from bonemets.errors import InputError


@pytest.fixture
def stranger(bundle, tmp_path, monkeypatch) -> Path:
    """A bundle from elsewhere whose configuration leaves a mark when it is evaluated; nothing is trusted yet."""
    folder = tmp_path / "from_elsewhere" / "stranger_segmentation"
    shutil.copytree(bundle, folder)
    config = folder / "configs" / "inference.yaml"
    config.write_text(f"{config.read_text()}\nimports: [\"$open({str(tmp_path / 'ran')!r}, 'w').close()\"]\n")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "configuration"))
    return folder


def test_asked_once_and_again_when_it_changes(stranger, study, tmp_path, capsys):
    command = ["segment", str(study), "-o", str(tmp_path / "out"), "--bundle", str(stranger)]
    assert main(command) == 2
    told = capsys.readouterr()
    assert told.err.count("\n") == 1
    assert "can run any code" in told.err
    assert "--trust" in told.err
    assert not (tmp_path / "ran").exists()
    assert main([*command, "--trust"]) == 0
    assert "runs its own code" in capsys.readouterr().out
    assert (tmp_path / "ran").exists()
    assert main(command) == 0
    assert "runs its own code" not in capsys.readouterr().out
    with (stranger / "configs" / "inference.yaml").open("a") as file:
        file.write("# changed\n")
    assert main(command) == 2


def test_the_hash_is_of_everything_but_weights_and_outputs(stranger, tmp_path):
    before = content_sha256(stranger)
    (stranger / "models" / "model.pt").write_bytes(b"others")
    (stranger / "eval").mkdir()
    (stranger / "eval" / "log.txt").write_text("a run")
    assert content_sha256(stranger) == before
    assert content_sha256(shutil.copytree(stranger, tmp_path / "copy")) == before
    (stranger / "scripts").mkdir()
    (stranger / "scripts" / "net.py").write_text("print()")
    assert content_sha256(stranger) != before


def test_trust_without_a_place_to_remember_it(stranger, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "file"))
    assert "cannot be remembered" in str(check_trust(stranger, given=True))
    with pytest.raises(InputError, match="give --trust once"):
        check_trust(stranger)


def test_installed_bundles_need_no_word(stranger, monkeypatch):
    monkeypatch.setenv("BONEMETS_BUNDLES", str(stranger.parent))
    assert check_trust(stranger) is None


def test_a_folder_named_like_a_bundle_beside_the_files_is_not_run(stranger, study, tmp_path):
    here = tmp_path / "here"
    shutil.copytree(stranger, here / "mine_segmentation")
    command = [sys.executable, "-m", "bonemets", "segment", str(study), "-o", "out", "--bundle", "mine_segmentation"]
    done = subprocess.run([*command, "--trust"], cwd=here, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "give ./mine_segmentation" in done.stderr
    assert not (tmp_path / "ran").exists()
