from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bonemets.bundle import folders as bundles
from bonemets.bundle.folders import (
    DEFAULT_BUNDLE,
    bundle_metadata,
    bundle_of,
    file_sha256,
    find_bundle,
    list_bundles,
)
from bonemets.errors import InputError


def make(folder: Path) -> Path:
    (folder / "configs").mkdir(parents=True)
    (folder / "configs" / "inference.yaml").write_text("{}")
    return folder


def test_folder_name_and_variable(tmp_path, monkeypatch):
    first, second = make(tmp_path / "a" / "one_segmentation"), make(tmp_path / "b" / "two_segmentation")
    make(tmp_path / "b" / "one_segmentation")
    (tmp_path / "b" / "no_bundle").mkdir()
    monkeypatch.setenv("BONEMETS_BUNDLES", f"{tmp_path / 'a'}:{tmp_path / 'b'}:{tmp_path / 'missing'}")
    assert find_bundle(second) == second
    assert find_bundle("one_segmentation") == first
    assert {"one_segmentation", "two_segmentation"} <= set(list_bundles())
    assert "no_bundle" not in list_bundles()


def test_checkout_wins_over_installed(tmp_path, monkeypatch):
    monkeypatch.delenv("BONEMETS_BUNDLES", raising=False)
    package = tmp_path / "bonemets"
    inside = make(package / "bundles" / "x_segmentation")
    monkeypatch.setattr(bundles, "__file__", str(package / "engines" / "bundles.py"))
    assert find_bundle("x_segmentation") == inside
    beside = make(tmp_path / "bundles" / "x_segmentation")
    assert find_bundle("x_segmentation") == beside


def test_a_folder_beside_the_users_files_is_no_installed_bundle(tmp_path, monkeypatch):
    here = make(tmp_path / "work" / DEFAULT_BUNDLE)
    make(tmp_path / "work" / "mine_segmentation")
    monkeypatch.chdir(here.parent)
    assert find_bundle(DEFAULT_BUNDLE).resolve() == list_bundles()[DEFAULT_BUNDLE].resolve() != here
    assert find_bundle(f"./{DEFAULT_BUNDLE}").resolve() == here
    with pytest.raises(InputError, match=r"give \./mine_segmentation"):
        find_bundle("mine_segmentation")


def test_unknown_name_is_told_the_nearest(tmp_path, monkeypatch):
    make(tmp_path / "spect_dual_pooling_segmentation")
    monkeypatch.setenv("BONEMETS_BUNDLES", str(tmp_path))
    with pytest.raises(InputError, match="did you mean spect_dual_pooling_segmentation"):
        find_bundle("spect_dual_poling_segmentation")
    with pytest.raises(InputError, match="known: .*spect_dual"):
        find_bundle("zzz")
    with pytest.raises(InputError, match="is not a bundle"):
        find_bundle(tmp_path)


def test_broken_metadata(tmp_path):
    bundle = make(tmp_path / "x")
    assert bundle_metadata(bundle) == {}
    (bundle / "configs" / "metadata.json").write_text("{")
    with pytest.raises(InputError, match="metadata.json"):
        bundle_metadata(bundle)


def test_fingerprint(tmp_path):
    (tmp_path / "abc").write_bytes(b"abc")
    assert file_sha256(tmp_path / "abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_no_torch_is_imported():
    code = (
        "import sys, bonemets.engines, bonemets.data; assert 'torch' not in sys.modules and 'monai' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_weights_tell_their_bundle(tmp_path):
    weights = tmp_path / "model.pt"
    assert bundle_of(weights) == DEFAULT_BUNDLE
    for network, name in (("DualPoolingUNet", "spect_dual_pooling"), ("MFPDeepLabV3Plus", "ct_mfp_deeplabv3plus")):
        record = {"network_def": {"_target_": f"bonemets.networks.nets.{network}"}}
        weights.with_suffix(".json").write_text(json.dumps(record))
        assert bundle_of(weights) == f"{name}_segmentation"
    weights.with_suffix(".json").write_text(json.dumps({"network_def": {"_target_": "elsewhere.Net"}}))
    assert bundle_of(weights) == DEFAULT_BUNDLE
