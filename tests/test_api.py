"""The Python API: `import bonemets` is fast, and each function does what its command does."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
import yaml
from PIL import Image

import bonemets
from bonemets.data import write_datalist
from bonemets.data.modalities import CT, NM, PICTURE
from bonemets.data.planar.nuclear import UnsuitableError
from bonemets.errors import InputError

# A one-by-one convolution in place of a network: lesion from 100 counts on.
INFERENCE = {
    "imports": ["$import torch"],
    "device": "cpu",
    "network_def": {"_target_": "torch.nn.Conv2d", "in_channels": 1, "out_channels": 1, "kernel_size": 1},
    "network": "@network_def",
    "inferer": {"_target_": "SliceInferer", "roi_size": [32, 32], "spatial_dim": 2},
    "preprocessing": {
        "_target_": "Compose",
        "transforms": [
            {"_target_": "LoadImaged", "keys": "image", "reader": {"_target_": "bonemets.data.PlanarReader"}},
            {"_target_": "EnsureChannelFirstd", "keys": "image", "channel_dim": "no_channel"},
        ],
    },
    "postprocessing": {
        "_target_": "Compose",
        "transforms": [
            {"_target_": "Activationsd", "keys": "pred", "sigmoid": True},
            {"_target_": "AsDiscreted", "keys": "pred", "threshold": 0.5},
        ],
    },
}


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    folder = tmp_path / "hot_spot_segmentation"
    (folder / "configs").mkdir(parents=True)
    (folder / "models").mkdir()
    (folder / "configs" / "inference.yaml").write_text(yaml.safe_dump(INFERENCE))
    (folder / "configs" / "metadata.json").write_text("{}")
    state = {"weight": torch.ones(1, 1, 1, 1), "bias": torch.tensor([-99.5])}
    torch.save(state, folder / "models" / "model.pt")
    return folder


@pytest.fixture
def counts() -> np.ndarray:
    counts = np.random.default_rng(0).poisson(10, (60, 40, 2)).astype(np.float32)
    counts[20:24, 10:15, 0] = 150
    return counts


def test_import_is_lazy() -> None:
    code = (
        "import sys, bonemets; print('torch' in sys.modules, 'numpy' in sys.modules);"
        "bonemets.segment; bonemets.evaluate; bonemets.simulate; print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False", "False"]


def test_what_is_exported_is_there_and_told() -> None:
    for name in bonemets.__all__:
        assert name in dir(bonemets)
        assert name == "__version__" or getattr(bonemets, name).__doc__
    with pytest.raises(AttributeError):
        bonemets.nothing  # noqa: B018


def test_segment_an_array(bundle: Path, counts: np.ndarray) -> None:
    (result,) = bonemets.segment(counts, bundle=bundle, device="cpu", spacing=(5.0, 4.0))
    np.testing.assert_array_equal(result.mask, counts >= 100)
    (finding,) = result.findings
    assert (finding.row, finding.column, finding.area_px, finding.view) == (21.5, 12.0, 20, "anterior")
    assert finding.area_cm2 == pytest.approx(20 * 0.5 * 0.4)
    assert (result.folder, result.modality) == (None, NM)
    assert result.summary() == "1 finding (anterior 1, posterior 0)"
    (one,) = bonemets.segment(counts[..., 0], bundle=bundle, device="cpu", threshold=0.0)
    assert one.mask.shape == (60, 40, 1)
    assert one.mask.all()


def test_segment_files_to_a_folder(bundle: Path, counts: np.ndarray, tmp_path: Path) -> None:
    nib.save(nib.Nifti1Image(counts[..., :1].astype(np.int16), np.eye(4)), tmp_path / "scan.nii.gz")
    lines: list[str] = []
    (result,) = bonemets.segment(
        tmp_path / "scan.nii.gz", tmp_path / "out", bundle=bundle, device="cpu", message=lines.append
    )
    assert result.folder == tmp_path / "out" / "scan"
    assert json.loads((result.folder / "result.json").read_text()) == result.record
    assert lines[1].startswith("scan: 1 finding")
    with pytest.raises(ValueError, match="mask was written"):
        result.mask  # noqa: B018


def test_one_bad_file_ends_it_or_is_reported(bundle: Path, counts: np.ndarray, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for name in ("a", "c"):
        nib.save(nib.Nifti1Image(counts[..., :1].astype(np.int16), np.eye(4)), folder / f"{name}.nii.gz")
    (folder / "b.nii.gz").write_bytes(b"no NIfTI")
    with pytest.raises(InputError, match=r"b\.nii\.gz"):
        bonemets.segment(folder, bundle=bundle, device="cpu")
    problems: list[InputError] = []
    results = bonemets.segment(folder, bundle=bundle, device="cpu", report=problems.append)
    assert [result.name for result in results] == ["a", "c"]
    assert ["b.nii.gz" in str(problem) for problem in problems] == [True]
    assert not isinstance(problems[0], UnsuitableError)


@pytest.mark.parametrize(
    ("shape", "given", "word"),
    [((4,), {}, "shape"), ((8, 8, 3), {}, "one or two views"), ((8, 8), {"spacing": (1,)}, "spacing")],
)
def test_an_array_that_does_not_fit(bundle: Path, shape: tuple[int, ...], given: dict, word: str) -> None:
    with pytest.raises(ValueError, match=word):
        bonemets.segment(np.ones(shape), bundle=bundle, device="cpu", **given)


def test_what_an_array_is(counts: np.ndarray) -> None:
    from bonemets.engines.segmentation import image_of_array

    colors = np.zeros((8, 9, 3), np.uint8)
    colors[..., 0] = 200
    hu = np.full((8, 9, 4), -1000.0)
    hu[2:6, 3:5, 1] = 700
    assert image_of_array(counts, None)[0] == NM
    kind, picture = image_of_array(colors, None)
    assert (kind, picture.pixels.shape) == (PICTURE, (8, 9, 1))
    kind, scan = image_of_array(hu, None, (1.5, 2.0, 3.0))
    assert (kind, scan.spacing) == (CT, (1.5, 2.0))
    np.testing.assert_array_equal(scan.heights, [0, 3, 6, 9])
    with pytest.raises(ValueError, match="slice spacing"):
        image_of_array(hu, None)


def test_load_predictor(bundle: Path, counts: np.ndarray, tmp_path: Path) -> None:
    predictor = bonemets.load_predictor(bundle, device="cpu")
    Image.fromarray(counts[..., 0].astype(np.uint8)).save(tmp_path / "scan.png")
    prediction = predictor.predict(predictor.read(tmp_path / "scan.png"))
    np.testing.assert_array_equal(prediction.mask[..., 0], counts[..., 0] >= 100)
    with pytest.raises(InputError, match="no bundle"):
        bonemets.load_predictor("nothing of that name")


def test_evaluate(tmp_path: Path) -> None:
    label = np.zeros((20, 10, 1), np.uint8)
    label[5:9, 2:6] = 1
    found = np.zeros_like(label)
    found[5:9, 4:8] = 1
    (tmp_path / "predictions").mkdir()
    for name, array in (("image", label * 0), ("label", label), ("predictions/image", found)):
        nib.save(nib.Nifti1Image(array, np.diag([2.0, 2.0, 1.0, 1.0])), tmp_path / f"{name}.nii.gz")
    item = {"image": "image.nii.gz", "label": "label.nii.gz", "patient": "p", "view": "anterior"}
    write_datalist(tmp_path / "datalist.json", {"training": [], "testing": [item]})
    tables = bonemets.evaluate(tmp_path / "predictions", tmp_path / "datalist.json", tmp_path / "out", bootstrap=0)
    (image,) = tables.images
    # 8 of 16 and 16 pixels in common.
    assert image["dice"] == pytest.approx(2 * 8 / 32)
    assert (len(tables.patients), tables.summary["images"]) == (1, 1)
    assert json.loads((tmp_path / "out" / "summary.json").read_text()) == tables.summary


def test_simulate(tmp_path: Path) -> None:
    cohort = bonemets.simulate(tmp_path / "cohort", 2, 3, modality="skin", folds=2, test_share=0.0)
    assert cohort["patients"] == 2
    assert (tmp_path / "cohort" / "datalist.json").is_file()
    with pytest.raises(ValueError, match="modality"):
        bonemets.simulate(tmp_path / "other", modality="mri")  # type: ignore[arg-type]


def test_create_network() -> None:
    network = bonemets.create_network("unet", in_channels=1, out_channels=2).eval()
    with torch.inference_mode():
        assert network(torch.zeros(1, 1, 32, 32)).shape == (1, 2, 32, 32)
