"""The annotator's loop, with the real server and MONAI Label's own client."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import requests
from label_server import BUNDLE, SHAPE, Server, StartServer, make_study
from pydicom import dcmread

from bonemets.data import read_planar, write_nifti
from bonemets.dicom import read_seg
from bonemets.engines import BundlePredictor
from bonemets.labeling.tasks.scores import SCORES

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def studies(tmp_path_factory: pytest.TempPathFactory) -> dict[str, np.ndarray]:
    """Name of the item → its truth, (H, W, 2)."""
    folder = tmp_path_factory.mktemp("studies")
    return {
        "folder": folder,
        **{f"p{number}_scan": make_study(folder / f"p{number}", number) for number in range(1, 6)},
    }


@pytest.fixture(scope="module")
def server(start_server: StartServer, studies: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Server:
    return start_server(studies["folder"], tmp_path_factory.mktemp("project") / "work")


@pytest.fixture(scope="module")
def client(server: Server, label_packages: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    from monailabel.client import MONAILabelClient

    return MONAILabelClient(server.url, tmpdir=str(tmp_path_factory.mktemp("client")), client_id="anna")


def save(client: Any, server: Server, item: str, truth: np.ndarray, folder: Path, **params: Any) -> dict[str, Any]:
    image = nib.load(server.work / "datastore" / f"{item}.nii.gz")
    write_nifti(folder / "label.nii.gz", truth, image.affine)
    return client.save_label(item, str(folder / "label.nii.gz"), params=params)


def test_what_is_served(client: Any, studies: dict[str, Any]) -> None:
    info = client.info()
    assert BUNDLE in info["models"]  # and whichever bundles ship weights
    assert info["models"][BUNDLE]["labels"] == {"lesion": 1}
    assert info["models"][BUNDLE]["type"] == "segmentation"
    # Bundles without weights can be trained here; those for CT and pictures are not offered.
    assert {BUNDLE, "spect_msa_net_segmentation"} <= set(info["trainers"])
    assert not any(name.startswith(("ct_", "skin_")) for name in info["trainers"])
    assert set(info["strategies"]) == {"random", "first", "diversity", "uncertain_and_diverse", *SCORES}
    assert set(info["scoring"]) == {"dice", "features", *SCORES}
    assert info["datastore"]["total"] == 5


def test_studies_are_untouched_and_both_views_are_one_item(server: Server, studies: dict[str, Any]) -> None:
    assert sorted(path.name for path in studies["folder"].rglob("*.*")) == ["scan.dcm"] * 5
    scan = read_planar(server.work / "datastore" / "p1_scan.nii.gz")
    source = read_planar(studies["folder"] / "p1" / "scan.dcm")
    assert scan.views == source.views == ("anterior", "posterior")
    np.testing.assert_array_equal(scan.pixels, source.pixels)
    link = next(row for row in json.loads((server.work / "links.json").read_text()) if row["id"] == "p1_scan")
    assert link["source"] == "p1/scan.dcm"
    assert link["study"] == source.dataset.StudyInstanceUID
    assert "patient_0001" not in json.dumps(link)


def test_proposal_is_what_the_bundle_says(client: Any, server: Server) -> None:
    file, params = client.infer(BUNDLE, "p1_scan", {"device": "cpu"})
    proposal, image = nib.load(file), nib.load(server.work / "datastore" / "p1_scan.nii.gz")
    assert proposal.get_data_dtype() == np.uint8
    assert proposal.shape == image.shape == (*SHAPE, 2)
    np.testing.assert_array_equal(proposal.affine, image.affine)
    scan = read_planar(server.work / "datastore" / "p1_scan.nii.gz")
    expected = BundlePredictor(server.work / "bundles" / BUNDLE).predict(scan)
    np.testing.assert_array_equal(np.asarray(proposal.dataobj), expected.mask)
    assert params["label_names"] == {"lesion": 1}
    assert len(params["weights_sha256"]) == 64
    assert all(0 <= lesion["probability_max"] <= 1 for lesion in params["lesions"])
    lower, _ = client.infer(BUNDLE, "p1_scan", {"device": "cpu", "threshold": 0.0})
    assert np.asarray(nib.load(lower).dataobj).all()
    # The same for a file that is not in the work list.
    file, _ = client.infer(BUNDLE, "", {"device": "cpu"}, file=str(server.work / "datastore" / "p1_scan.nii.gz"))
    np.testing.assert_array_equal(np.asarray(nib.load(file).dataobj), expected.mask)


def test_the_loop(client: Any, server: Server, studies: dict[str, Any], tmp_path: Path) -> None:
    # Propose for all, score all, ask for the least certain scan.
    server.request("POST", f"/batch/infer/{BUNDLE}", json={"device": "cpu"})
    server.wait_for("/batch/infer")
    assert len(list((server.work / "datastore" / "labels" / "original").glob("*.nii.gz"))) == 5
    assert server.request("POST", "/scoring/mean_entropy?run_sync=true", json={}).ok
    scores = {item["id"]: item["scores"]["mean_entropy"] for item in server.request("GET", "/bonemets/worklist").json()}
    assert len(scores) == 5
    assert all(0 < score <= 1 for score in scores.values())
    first = client.next_sample("mean_entropy", {})
    assert first["id"] == max(scores, key=scores.get)
    assert Path(first["path"]).is_file()

    # Another annotator gets another scan.
    other = server.request("POST", "/activelearning/mean_entropy", json={"client_id": "ben"}).json()
    assert other["id"] != first["id"]

    # Correct three scans; the first has a spot that cannot be judged.
    truth = studies[first["id"]].copy()
    truth[:4, :4, 0] = 2
    answer = save(client, server, first["id"], truth, tmp_path)
    assert (answer["version"], answer["replaces"]) == (1, 0)
    for item in sorted(set(scores) - {first["id"]})[:2]:
        save(client, server, item, studies[item], tmp_path)
    stored = nib.load(server.work / "datastore" / "labels" / "final" / f"{first['id']}.nii.gz")
    image = nib.load(server.work / "datastore" / f"{first['id']}.nii.gz")
    assert stored.get_data_dtype() == np.uint8
    np.testing.assert_array_equal(np.asarray(stored.dataobj), truth)
    np.testing.assert_array_equal(stored.affine, image.affine)

    # The label as DICOM SEG lies on the frames of the source.
    source = read_planar(studies["folder"] / first["id"].split("_")[0] / "scan.dcm")
    assert answer["segmentation"] == f"{first['id']}.dcm"
    segmentation = dcmread(server.work / "segmentations" / f"{first['id']}.dcm")
    assert segmentation.SegmentSequence[0].SegmentAlgorithmType == "SEMIAUTOMATIC"
    np.testing.assert_array_equal(read_seg(server.work / "segmentations" / f"{first['id']}.dcm", source), truth == 1)

    # Proposals and corrections are compared, without the pixels to ignore.
    assert server.request("POST", "/scoring/dice?run_sync=true", json={}).ok
    dice = {item["id"]: item["dice"] for item in server.request("GET", "/bonemets/worklist").json()}
    assert sum(value is not None for value in dice.values()) == 3
    proposal = np.asarray(nib.load(server.work / "datastore" / "labels" / "original" / f"{first['id']}.nii.gz").dataobj)
    counted = truth != 2
    both = ((proposal == 1) & (truth == 1) & counted).sum()
    sizes = ((proposal == 1) & counted).sum() + ((truth == 1) & counted).sum()
    assert dice[first["id"]] == pytest.approx(2 * both / sizes)

    # Train for one epoch; the next proposals are of the new weights.
    before = (server.work / "bundles" / BUNDLE / "models" / "model.pt").read_bytes()
    client.train_start(BUNDLE, {"max_epochs": 1, "device": "cpu", "batch_size": 2, "learning_rate": 0.001})
    server.wait_for("/train/")
    assert (server.work / "bundles" / BUNDLE / "models" / "model.pt").read_bytes() != before
    assert [
        path.read_bytes() == before for path in server.work.glob(f"bundles/{BUNDLE}/models/previous/*/model.pt")
    ] == [True]
    _, params = client.infer(BUNDLE, "p1_scan", {"device": "cpu"})
    record = json.loads((server.work / "bundles" / BUNDLE / "models" / "model.json").read_text())
    assert params["weights_sha256"] == record["sha256"]
    assert record["network_def"]["features"] == record["settings"]["features"] == [4, 4, 8, 8, 8]

    # Folds are by patient; both views of each labeled scan were trained on, with their labels.
    datalist = json.loads(next(server.work.glob(f"training/{BUNDLE}/*/datalist.json")).read_text())
    assert len(datalist["training"]) == 6
    folds: dict[str, set[int]] = {}
    for entry in datalist["training"]:
        folds.setdefault(entry["patient"], set()).add(entry["fold"])
    assert len(folds) == 3
    assert all(len(fold) == 1 for fold in folds.values())

    # The run is in the project's MLflow store and nowhere else.
    with sqlite3.connect(server.work / "mlflow" / "mlruns.db") as store:
        runs = store.execute("select status from runs").fetchall()
    assert runs == [("FINISHED",)]
    assert not list(server.work.glob("app/mlruns*"))

    # The unlabeled scans have scores of the new weights, and the next scan is one of them.
    info = json.loads((server.work / "datastore" / "datastore_v2.json").read_text())["objects"]
    unlabeled = [item for item in scores if "final" not in info[item]["labels"]]
    assert {info[item]["image"]["info"]["mean_entropy"]["weights"] for item in unlabeled} == {record["sha256"]}
    assert client.next_sample("mean_entropy", {})["id"] in unlabeled
    assert client.next_sample("first", {})["id"] == min(unlabeled)
    assert client.next_sample("random", {})["id"] in unlabeled


def test_conflicting_annotators(client: Any, server: Server, studies: dict[str, Any], tmp_path: Path) -> None:
    item, truth = "p5_scan", studies["p5_scan"]
    first = save(client, server, item, truth, tmp_path, base_version=0)
    assert first["version"] == 1
    with pytest.raises(Exception, match=r"409.*version 1 \(saved by anna"):
        save(client, server, item, truth * 0, tmp_path, base_version=0)
    np.testing.assert_array_equal(read_planar(server.work / f"datastore/labels/final/{item}.nii.gz").pixels, truth)
    # A client that does not say what it began from is told what it has replaced; both are kept.
    second = save(client, server, item, truth * 0, tmp_path)
    assert (second["version"], second["replaces"]) == (2, 1)
    versions = server.request("GET", f"/bonemets/history?image={item}").json()
    assert [(v["version"], v["user"], v["lesion_pixels"]) for v in versions] == [
        (1, "anna", int(truth.sum())),
        (2, "anna", 0),
    ]
    kept = read_planar(server.work / "history" / item / "final_0001.nii.gz").pixels
    np.testing.assert_array_equal(kept, truth)


@pytest.mark.parametrize(
    ("change", "message"),
    [(lambda truth: truth[:-1], "191 x 96 x 2"), (lambda truth: truth * 7, "holds 0, 7")],
    ids=["size", "values"],
)
def test_labels_that_do_not_fit(
    client: Any, server: Server, studies: dict[str, Any], tmp_path: Path, change: Any, message: str
) -> None:
    before = server.request("GET", "/bonemets/history?image=p1_scan").json()
    with pytest.raises(Exception, match=message):
        save(client, server, "p1_scan", change(studies["p1_scan"]), tmp_path)
    assert server.request("GET", "/bonemets/history?image=p1_scan").json() == before


def test_files_of_this_machine_are_not_read(server: Server, studies: dict[str, Any], tmp_path: Path) -> None:
    outside = studies["folder"] / "p1" / "scan.dcm"
    assert server.request("POST", f"/infer/{BUNDLE}", params={"image": str(outside)}).status_code == 404
    params = {"params": json.dumps({"image": str(outside)})}
    assert server.request("POST", f"/infer/{BUNDLE}", params={"image": "p1_scan"}, data=params).status_code == 404
    label = {"label": ("label.nii.gz", b"x")}
    for tag in ("../../..", "a/b", ""):
        answer = server.request(
            "PUT", "/datastore/label", params={"image": "p1_scan", "tag": f"{tag}../x"}, files=label
        )
        assert answer.status_code == 400, tag
    answer = server.request("PUT", "/datastore/image", params={"image": "../x"}, files={"file": ("x.nii.gz", b"x")})
    assert answer.status_code == 403


def test_other_sites_may_not_read(server: Server) -> None:
    answer = requests.get(server.url + "/info/", headers={"Origin": "http://other.example"}, timeout=30)
    assert "access-control-allow-origin" not in answer.headers


def test_new_studies_are_taken_in(client: Any, server: Server, studies: dict[str, Any]) -> None:
    make_study(studies["folder"] / "p6", 6)
    answer = server.request("POST", "/bonemets/studies").json()
    assert answer == {"added": ["p6_scan"], "known": 5, "problems": 0}
    # It has no score yet; asking for the next scan has it scored, in a process of its own.
    client.next_sample("mean_entropy", {})
    server.wait_for("/scoring/")
    scores = {item["id"]: item["scores"]["mean_entropy"] for item in server.request("GET", "/bonemets/worklist").json()}
    assert 0 < scores["p6_scan"] <= 1


def test_every_strategy_goes_by_its_scores(
    client: Any, server: Server, studies: dict[str, np.ndarray], tmp_path: Path
) -> None:
    save(client, server, "p4_scan", studies["p4_scan"], tmp_path)
    for name in (*SCORES, "features"):
        assert server.request("POST", f"/scoring/{name}?run_sync=true", json={}).ok
    objects = json.loads((server.work / "datastore" / "datastore_v2.json").read_text())["objects"]
    infos = {item: entry["image"]["info"] for item, entry in objects.items()}
    unlabeled = sorted(item for item, entry in objects.items() if "final" not in entry["labels"])
    given = {item: [entry["client_id"] for entry in infos[item].get("strategy", {}).values()] for item in unlabeled}
    # What ben was given above is his for half an hour.
    free = [item for item in unlabeled if set(given[item]) <= {"anna"}] or unlabeled
    for name in SCORES:
        scores = {item: infos[item][name]["score"] for item in free}
        assert all(np.isfinite(score) and score >= 0 for score in scores.values())
        assert client.next_sample(name, {})["id"] == max(free, key=scores.get), name
    # Labeled scans have features too, and the farthest from them, and from ben's, is asked for.
    features = {item: np.array(info["features"]["score"]) for item, info in infos.items()}
    taken = sorted(set(features) - set(free))
    distance = {item: min(np.linalg.norm(features[item] - features[other]) for other in taken) for item in free}
    assert client.next_sample("diversity", {})["id"] == max(free, key=distance.get)
    # A quarter of so few scans is one.
    entropy = {item: infos[item]["mean_entropy"]["score"] for item in free}
    assert client.next_sample("uncertain_and_diverse", {})["id"] == max(free, key=entropy.get)
