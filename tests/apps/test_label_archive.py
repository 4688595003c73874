"""Studies in a real archive, Orthanc, over DICOMweb: list, infer, save as DICOM SEG, train from it."""

from __future__ import annotations

import gzip
import json
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import requests
from label_server import BUNDLE, StartServer, make_study
from pydicom import dcmread

from bonemets.data import read_planar
from bonemets.dicom import read_seg, write_seg

# Debian and Ubuntu: apt-get install orthanc orthanc-dicomweb (.ci/run does).
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("Orthanc") is None, reason="Orthanc is not installed (orthanc, orthanc-dicomweb)"),
]
PLUGINS = ["/usr/share/orthanc/plugins"]


@pytest.fixture(scope="module")
def orthanc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, subprocess.Popen]]:
    """Address of an empty Orthanc, and its process."""
    folder = tmp_path_factory.mktemp("orthanc")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    settings = {
        "HttpPort": port, "DicomServerEnabled": False, "RemoteAccessAllowed": False, "AuthenticationEnabled": False,
        "StorageDirectory": str(folder), "IndexDirectory": str(folder), "Plugins": PLUGINS,
        "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
    }  # fmt: skip
    (folder / "orthanc.json").write_text(json.dumps(settings))
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(["Orthanc", str(folder / "orthanc.json")], stdout=log, stderr=subprocess.STDOUT)
    url = f"http://127.0.0.1:{port}"
    deadline = time.monotonic() + 60
    while True:
        assert process.poll() is None, (folder / "log").read_text()
        assert time.monotonic() < deadline
        try:
            if requests.get(f"{url}/dicom-web/studies", timeout=5).ok:
                break
        except requests.ConnectionError:
            time.sleep(0.2)
    yield url, process
    process.terminate()
    process.wait(30)


def store(archive: str, path: Path) -> None:
    requests.post(f"{archive}/instances", data=path.read_bytes(), timeout=30).raise_for_status()


def segmentations(archive: str, folder: Path) -> list[Path]:
    """The DICOM SEG objects of the archive, as files."""
    query = {"Level": "Instance", "Query": {"Modality": "SEG"}}
    found = requests.post(f"{archive}/tools/find", json=query, timeout=30).json()
    files = []
    for number, instance in enumerate(found):
        path = folder / f"seg_{number}.dcm"
        path.write_bytes(requests.get(f"{archive}/instances/{instance}/file", timeout=30).content)
        files.append(path)
    return files


def test_archive(orthanc: tuple[str, subprocess.Popen], start_server: StartServer, tmp_path: Path) -> None:
    archive, process = orthanc
    truths = {number: make_study(tmp_path / "studies" / f"p{number}", number) for number in range(1, 5)}
    scans = {number: read_planar(tmp_path / "studies" / f"p{number}" / "scan.dcm") for number in truths}
    for number in truths:
        store(archive, tmp_path / "studies" / f"p{number}" / "scan.dcm")
    # Another program has labeled one of them.
    write_seg(tmp_path / "other.dcm", scans[4], truths[4] > 0)
    store(archive, tmp_path / "other.dcm")

    server = start_server(f"{archive}/dicom-web", tmp_path / "work")
    items = {item["id"]: item for item in server.request("GET", "/bonemets/worklist").json()}
    links = {row["study"]: row["id"] for row in json.loads((server.work / "links.json").read_text())}
    item_of = {number: links[scan.dataset.StudyInstanceUID] for number, scan in scans.items()}
    assert set(items) == set(item_of.values())
    assert [number for number, item in item_of.items() if "final" in items[item]["labels"]] == [4]
    taken = read_planar(server.work / "datastore" / "labels" / "final" / f"{item_of[4]}.nii.gz").pixels
    np.testing.assert_array_equal(taken, truths[4])

    # Infer, and save what the annotator made of it; the second view alone has a lesion left.
    answer = server.request(
        "POST", f"/infer/{BUNDLE}?image={item_of[1]}&output=image", data={"params": '{"device": "cpu"}'}
    )
    assert nib.Nifti1Image.from_bytes(gzip.decompress(answer.content)).shape == truths[1].shape
    corrected = {number: truths[number].copy() for number in (1, 2)}
    corrected[1][..., 0] = 0
    for number, mask in corrected.items():
        affine = nib.load(server.work / "datastore" / f"{item_of[number]}.nii.gz").affine
        nib.save(nib.Nifti1Image(mask, affine), tmp_path / "label.nii.gz")
        files = {"label": ("label.nii.gz", (tmp_path / "label.nii.gz").read_bytes())}
        answer = server.request("PUT", f"/datastore/label?image={item_of[number]}", files=files).json()
        assert answer["segmentation"] == "sent"

    # The objects in the archive lie on the frames of the source, both views.
    files = segmentations(archive, tmp_path)
    assert len(files) == 3
    for number, mask in corrected.items():
        mine = [f for f in files if dcmread(f).StudyInstanceUID == scans[number].dataset.StudyInstanceUID]
        assert len(mine) == 1
        np.testing.assert_array_equal(read_seg(mine[0], scans[number]), mask)
        frames = dcmread(mine[0]).PerFrameFunctionalGroupsSequence
        sources = [frame.DerivationImageSequence[0].SourceImageSequence[0] for frame in frames]
        assert [source.ReferencedFrameNumber for source in sources] == [1, 2]
        assert {source.ReferencedSOPInstanceUID for source in sources} == {scans[number].dataset.SOPInstanceUID}

    # Train on all three labels.
    server.request("POST", f"/train/{BUNDLE}", json={"max_epochs": 1, "device": "cpu", "batch_size": 2})
    server.wait_for("/train/")
    datalist = json.loads(next(server.work.glob(f"training/{BUNDLE}/*/datalist.json")).read_text())
    assert len(datalist["training"]) == 6

    # A study that arrives later.
    make_study(tmp_path / "late", 9)
    store(archive, tmp_path / "late" / "scan.dcm")
    answer = server.request("POST", "/bonemets/studies").json()
    assert (len(answer["added"]), answer["known"]) == (1, 4)

    # With the archive away, the label is kept all the same.
    process.terminate()
    process.wait(30)
    files = {"label": ("label.nii.gz", (tmp_path / "label.nii.gz").read_bytes())}
    answer = server.request("PUT", f"/datastore/label?image={item_of[2]}", files=files).json()
    assert answer["version"] == 2
    assert answer["segmentation"].startswith("not sent")
    assert server.request("POST", "/bonemets/studies").status_code == 400
