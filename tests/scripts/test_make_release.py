"""What a release carries."""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path

import yaml

import make_release

BUNDLES = Path(__file__).resolve().parents[2] / "bundles"


def test_zips_hold_whole_bundles_and_large_files_the_hash_of_the_weights(tmp_path: Path) -> None:
    written = make_release.release(BUNDLES, tmp_path, "https://example.org/v1/")
    zips = [path for path in written if path.suffix == ".zip"]
    assert len(zips) == 5 and len(written) == 15
    name = "spect_msa_net_segmentation"
    [path] = [path for path in zips if path.name.startswith(name)]
    zipfile.ZipFile(path).extractall(tmp_path / "there")
    unpacked = tmp_path / "there" / name
    assert (unpacked / "models" / "model.pt").read_bytes() == (BUNDLES / name / "models" / "model.pt").read_bytes()
    assert (unpacked / "configs" / "train.yaml").is_file() and (unpacked / "LICENSE").is_file()
    [entry] = yaml.safe_load((tmp_path / name / "large_files.yml").read_text())["large_files"]
    assert entry["url"] == f"https://example.org/v1/{name}.pt"
    assert entry["hash_val"] == hashlib.sha256((tmp_path / f"{name}.pt").read_bytes()).hexdigest()
    assert path.read_bytes() == make_release.zipped(BUNDLES / name)
