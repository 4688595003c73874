"""Harmless messages at start-up are left out, by their exact text; every other warning is shown."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

from bonemets.bundle.folders import list_bundles
from bonemets.bundle.notices import HARMLESS, NVIMGCODEC_LOGGER, is_harmless

TRUST = (
    'parsing config_file {}: any `"_target_"` value in it is resolved to an importable callable and invoked with no '
    "allow list"
)
CONFIG = """
imports:
- $import warnings
- $import logging
- $import bonemets.bundle.short_errors
- $from monai.transforms import LoadImage
network: $LoadImage()
run:
- $print(@network is None)
- $warnings.warn('a real warning')
- $logging.getLogger('monai.data.nvimgcodec_pydicom_plugin').warning('the decoder failed')
"""


def run(module: str, *arguments: str, folder: Path, **environment: str) -> str:
    """What a command of MONAI's prints, by a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments], cwd=folder, capture_output=True, text=True, timeout=300,
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


@pytest.mark.slow
def test_a_real_warning_is_shown_and_harmless_ones_are_not(tmp_path: Path) -> None:
    (tmp_path / "inference.yaml").write_text(CONFIG)
    (tmp_path / "metadata.json").write_text("{}")
    printed = run("monai.bundle", "run", "--config_file", "inference.yaml", folder=tmp_path)
    assert "a real warning" in printed
    assert "the decoder failed" in printed
    assert not any(text in printed for text in HARMLESS), printed
    # Whoever runs a configuration that is not one of ours is told what that means.
    assert "Only proceed if this config is from a source you trust" in printed

    # The same with a bundle that ships; BONEMETS_BUNDLES names folders of such.
    bundle = tmp_path / "bundles" / "mine_segmentation" / "configs"
    bundle.mkdir(parents=True)
    for name in ("inference.yaml", "metadata.json"):
        (tmp_path / name).rename(bundle / name)
    words = ["run", "--config_file", "configs/inference.yaml"]
    shipped = run("bonemets.bundle", *words, folder=bundle.parent, BONEMETS_BUNDLES=str(tmp_path / "bundles"))
    assert "a real warning" in shipped
    assert "source you trust" not in shipped
    assert "source you trust" in run("bonemets.bundle", *words, folder=bundle.parent)


def test_advice_to_trust_is_left_out_for_our_configurations_only(tmp_path: Path) -> None:
    ours = [str(path / "configs" / "train.yaml") for path in list_bundles().values()]
    assert is_harmless(TRUST.format(ours[0]))
    assert is_harmless(TRUST.format(ours))
    (tmp_path / "train.yaml").write_text("")
    for files in (str(tmp_path / "train.yaml"), [ours[0], str(tmp_path / "train.yaml")], "/nowhere, at all.yaml"):
        assert not is_harmless(TRUST.format(files)), files


def test_exact_texts() -> None:
    """Those that the installed MONAI and PyTorch use."""
    import monai.data.image_reader
    import monai.data.nvimgcodec_pydicom_plugin as plugin
    import torch.export.pt2_archive._package_weights as weights

    assert plugin._logger.name == NVIMGCODEC_LOGGER
    sources = (plugin, monai.data.image_reader, weights)
    for text, module in zip(HARMLESS, sources, strict=True):
        source = Path(module.__file__).read_text().replace('"\n                "', "").replace('"\n        "', "")
        assert json.dumps(text) in source, text
    for text in (*HARMLESS, TRUST.format("configs/train.yaml")):
        assert not is_harmless(text + " And more.") or "config_file" in text
    assert not is_harmless("nvImageCodec failed")
    assert logging.getLogger(NVIMGCODEC_LOGGER).filters == []
