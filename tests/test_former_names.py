"""Configurations and weights of older versions name modules and classes that have other places today."""

from __future__ import annotations

import importlib
import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest
from monai.bundle import ConfigParser

from bonemets.moved import MODULES

# Every name that a released configuration or weights record has used, and the one that it is today.
USED = {
    "bonemets.data.sampling.balance_lesions": "bonemets.engines.sampling.balance_lesions",
    "bonemets.engines.provenance.trained_setting": "bonemets.bundle.provenance.trained_setting",
    "bonemets.engines.scans.find_scans": "bonemets.bundle.scans.find_scans",
    "bonemets.engines.loading.start_from": "bonemets.bundle.loading.start_from",
    "bonemets.engines.starting_weights.start_from": "bonemets.bundle.loading.start_from",
    "bonemets.engines.bundles.find_bundle": "bonemets.bundle.folders.find_bundle",
    "bonemets.handlers.LeftoverGradients": "bonemets.handlers.PartialAccumulation",
    "bonemets.handlers.leftover_gradients.LeftoverGradients": "bonemets.handlers.PartialAccumulation",
    "bonemets.data.ct.CTScan": "bonemets.data.CTScan",
    "bonemets.data.planar.PlanarScan": "bonemets.data.PlanarScan",
    "bonemets.networks.nets.unet.UNet": "bonemets.networks.nets.UNet",
}


def located(name: str) -> object:
    module, _, attribute = name.rpartition(".")
    return getattr(importlib.import_module(module), attribute)


@pytest.mark.parametrize("former", USED)
def test_a_former_name_is_what_it_is_today(former: str) -> None:
    assert located(former) is located(USED[former])


def test_a_target_of_an_older_configuration_is_built() -> None:
    parser = ConfigParser({"handler": {"_target_": "bonemets.handlers.LeftoverGradients"}})
    assert type(parser.get_parsed_content("handler")).__name__ == "PartialAccumulation"


def test_every_module_named_as_moved_is_there() -> None:
    assert [new for new in MODULES.values() if importlib.util.find_spec(f"bonemets.{new}") is None] == []


def test_a_name_that_never_was_is_still_an_error() -> None:
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("bonemets.engines.nothing")
    with pytest.raises(AttributeError):
        located("bonemets.data.ct.nothing")


def test_short_errors_are_imported_by_their_former_name_in_a_fresh_process(tmp_path: Path) -> None:
    code = "import bonemets.engines.short_errors as s; print(s.__name__)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout.strip() == "bonemets.bundle.short_errors"
