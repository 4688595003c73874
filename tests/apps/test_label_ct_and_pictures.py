"""The loop for CT and color pictures, with the real server and MONAI Label's own client, in one project with scans."""

from __future__ import annotations

import json
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from label_server import Server, StartServer, add_weights, body_ct, make_study, skin_picture
from PIL import Image

from bonemets.bundle.folders import find_bundle
from bonemets.data import load_datalist, read_planar, write_nifti
from bonemets.data.ct.scan import read_ct
from bonemets.engines import BundlePredictor

pytestmark = pytest.mark.slow

CT_BUNDLE, SKIN_BUNDLE = "ct_mfp_deeplabv3plus_segmentation", "skin_sc_unext_segmentation"
SCAN_BUNDLE = "spect_dual_pooling_segmentation"
LPS = np.array([[-2.0, 0, 0, 90], [0, -2, 0, 60], [0, 0, 3, -30], [0, 0, 0, 1]])


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundles as somebody may ship them: with small weights that are trained on from."""
    folder = tmp_path_factory.mktemp("shipped")
    for name in (CT_BUNDLE, SKIN_BUNDLE):
        shutil.copytree(find_bundle(name), folder / name, ignore=shutil.ignore_patterns("models", "eval"))
    # Another network than train.yaml has (a row of the paper's tables), an overlay, and sizes that the test can afford:
    # with all that, training has to go on.
    settings = {"image_size": [64, 64], "val_interval": 5, "overlays": ["compact"], "crop_size": [32, 32],
                "crops_per_slice": 1}  # fmt: skip
    plain = {"context": "aspp", "attention": None, "skips": "single", "upsample": "bilinear"}
    add_weights(folder / CT_BUNDLE, settings, **plain)
    features = [4, 4, 8, 8, 8]
    add_weights(folder / SKIN_BUNDLE, {"image_size": 32, "features": features}, features=features)
    return folder


@pytest.fixture(scope="module")
def server(start_server: StartServer, bundles: Path, tmp_path_factory: pytest.TempPathFactory) -> Server:
    studies = tmp_path_factory.mktemp("studies")
    make_study(studies / "nm", 1)
    for number in (1, 2, 3):
        write_nifti(studies / f"ct{number}.nii.gz", body_ct(number)[0].swapaxes(0, 1), LPS)
        Image.fromarray(skin_picture(number)[0]).save(studies / f"mole{number}.png")
    return start_server(studies, tmp_path_factory.mktemp("project") / "work", BONEMETS_BUNDLES=str(bundles))


@pytest.fixture(scope="module")
def client(server: Server, label_packages: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    from monailabel.client import MONAILabelClient

    return MONAILabelClient(server.url, tmpdir=str(tmp_path_factory.mktemp("client")), client_id="anna")


def test_what_is_served(client: Any, server: Server) -> None:
    info = client.info()
    assert {name: model["modality"] for name, model in info["models"].items() if "spect" not in name} == {
        CT_BUNDLE: "CT", SKIN_BUNDLE: "dermoscopy",
    }  # fmt: skip
    assert info["models"][CT_BUNDLE]["labels"] == info["models"][SKIN_BUNDLE]["labels"] == {"lesion": 1}
    # Those without weights can be trained.
    assert {CT_BUNDLE, SKIN_BUNDLE, SCAN_BUNDLE} <= set(info["trainers"])
    assert info["modalities"] == {
        "NM": {"total": 1, "labeled": 0}, "CT": {"total": 3, "labeled": 0}, "dermoscopy": {"total": 3, "labeled": 0},
    }  # fmt: skip
    told = server.log.read_text()
    assert f"3 CT; models: {CT_BUNDLE}\n" in told
    assert f"3 color pictures; models: {SKIN_BUNDLE}\n" in told
    items = {item["id"]: item for item in server.request("GET", "/bonemets/worklist").json()}
    assert (items["ct1"]["modality"], items["mole1"]["modality"]) == ("CT", "dermoscopy")
    assert items["nm_scan"]["views"] == ["anterior", "posterior"]


def test_an_item_of_another_modality_is_refused_in_a_line(server: Server) -> None:
    for model, item, line in (
        (CT_BUNDLE, "nm_scan", f"nm_scan is a bone scan, {CT_BUNDLE} is for CT"),
        (SKIN_BUNDLE, "ct1", f"ct1 is a CT, {SKIN_BUNDLE} is for color pictures"),
    ):
        answer = server.request("POST", f"/infer/{model}", params={"image": item})
        assert (answer.status_code, answer.json()["detail"]) == (400, line)


@pytest.mark.parametrize(
    ("bundle", "modality", "item", "shape"),
    [(CT_BUNDLE, "CT", "ct", (80, 64, 2)), (SKIN_BUNDLE, "dermoscopy", "mole", (64, 48, 1))],
    ids=["CT", "picture"],
)
def test_the_loop(
    client: Any, server: Server, bundles: Path, tmp_path: Path, bundle: str, modality: str, item: str,
    shape: tuple[int, ...],
) -> None:  # fmt: skip
    is_ct = modality == "CT"
    models = server.work / "bundles" / bundle / "models"
    first = f"{item}1"
    # A proposal lies on the image's own grid and is what the bundle says.
    file, params = client.infer(bundle, first, {"device": "cpu", "threshold": 0.5})
    proposal, image = nib.load(file), server.work / "datastore" / f"{first}{'.nii.gz' if is_ct else '.png'}"
    assert (proposal.shape, proposal.get_data_dtype()) == (shape, np.uint8)
    scan = read_ct(image) if is_ct else read_planar(image)
    expected = BundlePredictor(server.work / "bundles" / bundle).predict(scan)
    shown = read_ct(file) if is_ct else read_planar(file)
    np.testing.assert_array_equal(shown.pixels, expected.mask)
    if is_ct:
        np.testing.assert_allclose(proposal.affine, LPS)
    assert sum(lesion["size_px"] for lesion in params["lesions"]) == expected.mask.sum()

    # Everything of this modality and nothing else is proposed for, scored and asked for.
    assert server.request("POST", f"/batch/infer/{bundle}?run_sync=true", json={"device": "cpu"}).ok
    proposed = {path.name for path in (server.work / "datastore" / "labels" / "original").iterdir()}
    assert {name for name in proposed if name.startswith(item)} == {f"{item}{number}.nii.gz" for number in (1, 2, 3)}
    assert server.request("POST", "/scoring/mean_entropy?run_sync=true", json={"model": bundle}).ok
    for strategy in ("first", "random", "mean_entropy"):
        assert client.next_sample(strategy, {"model": bundle})["id"].startswith(item)

    # Labels come back as they were saved, whatever order the client's axes have.
    for number in (1, 2):
        truth = body_ct(number)[1] if is_ct else skin_picture(number)[1]
        truth[0, 0] = 2
        path = tmp_path / ("label.nii.gz" if is_ct else "label.png")
        if is_ct:
            write_nifti(path, truth.swapaxes(0, 1), LPS)
        else:
            Image.fromarray(truth).save(path)
        client.save_label(f"{item}{number}", str(path))
        kept = client.download_label(f"{item}{number}", "final")
        assert (nib.load(kept).shape, nib.load(kept).get_data_dtype()) == (shape, np.uint8)
        pixels = (read_ct(kept) if is_ct else read_planar(kept)).pixels
        np.testing.assert_array_equal(np.squeeze(pixels), np.squeeze(truth))
    assert server.request("POST", "/scoring/dice?run_sync=true", json={}).ok
    dice = {each["id"]: each["dice"] for each in server.request("GET", "/bonemets/worklist").json()}
    assert all(0 <= dice[f"{item}{number}"] <= 1 for number in (1, 2))
    assert client.info()["modalities"][modality] == {"total": 3, "labeled": 2}

    # Training goes on from the shipped weights with their settings; what was shipped stays as it is.
    shipped = {path.name: path.read_bytes() for path in (bundles / bundle / "models").iterdir()}
    assert (models / "model.pt").read_bytes() == shipped["model.pt"]
    settings = {"max_epochs": 1, "device": "cpu", "batch_size": 2, "learning_rate": 1e-12}
    if is_ct:
        # In the server itself: a process of its own would take 15 s more to load everything.
        assert server.request("POST", f"/train/{bundle}?run_sync=true", json=settings, timeout=600).ok
    else:
        client.train_start(bundle, settings)
        server.wait_for("/train/", 600)
    assert {path.name: path.read_bytes() for path in (bundles / bundle / "models").iterdir()} == shipped
    assert (models / "model.pt").read_bytes() != shipped["model.pt"]
    before, after = near(bundles / bundle / "models" / "model.pt"), near(models / "model.pt")
    assert all(np.allclose(before[name], after[name], atol=1e-6) for name in before)
    record, told = json.loads((models / "model.json").read_text()), json.loads(shipped["model.json"])
    assert record["network_def"] == told["network_def"]
    assert record["settings"]["image_size"] == told["settings"]["image_size"]
    assert record["settings"]["overlays"] == told["settings"].get("overlays", [])

    # The items are what train.yaml reads, by patient; the run is in the project's store.
    datalist = next(server.work.glob(f"training/{bundle}/*/datalist.json"))
    items = load_datalist(datalist, None)
    assert len(items) == (4 if is_ct else 2)
    assert len({entry["patient"] for entry in items}) == 2
    with sqlite3.connect(server.work / "mlflow" / "mlruns.db") as store:
        query = "select status from runs join experiments using (experiment_id) where experiments.name = ?"
        assert store.execute(query, [bundle]).fetchall() == [("FINISHED",)]

    # The next item is unlabeled; the next proposal is of the new weights.
    assert client.next_sample("mean_entropy", {"model": bundle})["id"] == f"{item}3"
    _, params = client.infer(bundle, f"{item}3", {"device": "cpu"})
    assert params["weights_sha256"] == record["sha256"]


def near(weights: Path) -> dict[str, np.ndarray]:
    """The parameters of a weights file; not the running means of normalization, which follow the data."""
    import torch

    state = torch.load(weights, weights_only=True)
    return {name: value.numpy() for name, value in state.items() if "running" not in name and "num_" not in name}
