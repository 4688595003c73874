"""Labels to ITK-SNAP and LabelMe and back, to the pixel."""

from __future__ import annotations

import json
import os
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from label_server import SHAPE, make_study, phantom
from PIL import Image

from bonemets.cli.main import main
from bonemets.data import planar_affine, read_planar, write_nifti
from bonemets.data.adapters.labelme import draw_mask
from bonemets.data.outlines import outline_shapes
from bonemets.labeling.exchange.exchange import export_labels, read_manifest
from bonemets.labeling.intake.studies import import_studies
from bonemets.labeling.store.history import LabelHistory
from bonemets.labeling.store.masks import mask_bytes
from bonemets.labeling.store.workspace import Workspace

SCAN, VIEW = "p1_scan", "v_anterior"


def hard_mask(seed: int) -> np.ndarray:
    """A label map with all that polygons are bad at: holes, islands in them, single pixels, corners, edges, label 2."""
    mask = np.zeros(SHAPE, np.uint8)
    mask[20:60, 20:60] = 1
    mask[30:50, 30:50] = 0
    mask[40, 40] = 1
    mask[5, 5] = mask[100, 50] = mask[101, 51] = 1
    mask[0, :3] = mask[-1, -4:] = 1
    mask[120:140, 10:30], mask[125:130, 15:20] = 2, 0
    mask[140:150, 10:30] = 1
    rng = np.random.default_rng(seed)
    mask[160:185, 40:80] = rng.integers(0, 3, (25, 40))
    return mask


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A project with a scan of two views that has a label, one of a single view, and a color picture."""
    folder = tmp_path_factory.mktemp("exchange")
    make_study(folder / "dicom" / "p1", 1)
    affine = planar_affine(SHAPE, (2.26, 2.26))
    write_nifti(folder / "files" / "v_anterior.nii.gz", phantom(5)[0], affine)
    colors = np.random.default_rng(0).integers(0, 255, (*SHAPE, 3), dtype=np.uint8)
    Image.fromarray(colors).save(folder / "files" / "mole.png")
    work = Workspace(folder / "work")
    work.make()
    import_studies(folder / "dicom", work)
    import_studies(folder / "files", work)
    final = work.datastore / "labels" / "final"
    final.mkdir(parents=True)
    mask = np.stack([hard_mask(1), hard_mask(2)], -1)
    (final / f"{SCAN}.nii.gz").write_bytes(mask_bytes(read_planar(work.image(SCAN)), mask))
    return work


def final(work: Workspace, item: str) -> np.ndarray:
    return read_planar(work.datastore / "labels" / "final" / f"{item}.nii.gz").pixels


def test_polygons_are_exact() -> None:
    for seed in range(4):
        mask = hard_mask(seed)
        shapes = [{**shape, "points": [tuple(point) for point in shape["points"]]} for shape in outline_shapes(mask)]
        assert {shape["shape_type"] for shape in shapes} == {"polygon"}
        # LabelMe's window would cut off a polygon that comes back to its first point.
        assert all(len(set(shape["points"])) == len(shape["points"]) >= 3 for shape in shapes)
        np.testing.assert_array_equal(draw_mask(shapes, SHAPE), mask)
    assert outline_shapes(np.zeros(SHAPE, np.uint8)) == []


@pytest.mark.slow
def test_itk_can_read_what_is_exported(work: Workspace, tmp_path: Path) -> None:
    itk = pytest.importorskip("itk")
    exchange = export_labels(work, tmp_path / "out", "itk-snap")
    assert [(item.id, item.label) for item in exchange.items] == [("mole", "none"), (SCAN, "final"), (VIEW, "none")]
    for item in exchange.items:
        for part in item.parts:
            image, label = (itk.imread(str(tmp_path / "out" / name)) for name in (part.image, part.label))
            sizes = [list(itk.size(each))[:2] for each in (image, label)]
            assert sizes[0] == sizes[1]
            if part.image.endswith(".nii.gz"):
                np.testing.assert_allclose(itk.array_from_matrix(image.GetDirection()), label.GetDirection())
                np.testing.assert_allclose(list(image.GetOrigin()), list(label.GetOrigin()))
    # Each view tells by itself on which side the patient's left is.
    right = [nib.load(tmp_path / "out" / f"{SCAN}_{view}.nii.gz").affine[0, 1] for view in ("anterior", "posterior")]
    assert right == pytest.approx([-2.26, 2.26])
    assert '"unsure"' in (tmp_path / "out" / "labels.txt").read_text()


def test_folder_with_work_in_it_is_left_alone(
    work: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["label", "export", str(work.folder), "-o", str(tmp_path / "out")]
    assert main(arguments) == 0
    assert main(arguments) == 2
    assert "is not empty" in capsys.readouterr().err
    assert main([*arguments[:-1], str(tmp_path / "other"), "--item", "nobody"]) == 2
    assert "no item 'nobody'" in capsys.readouterr().err
    assert main(["label", "export", str(tmp_path), "-o", str(tmp_path / "third")]) == 2
    assert "is no annotation project" in capsys.readouterr().err


@pytest.mark.slow
def test_round_trips(work: Workspace, tmp_path: Path, label_packages: Path) -> None:
    from bonemets.labeling.exchange.importing import VersionedDatastore, import_labels

    # As a server does at its start: the label that lies there becomes version 1.
    VersionedDatastore(work)
    snap, drawn = tmp_path / "snap", tmp_path / "drawn"
    before = {item.id: item.version for item in export_labels(work, snap, "itk-snap").items}
    export_labels(work, drawn, "labelme")

    # ITK-SNAP: a corrected posterior view, in 16 bits; an untouched picture; a label of the wrong size.
    expected = np.stack([hard_mask(1), hard_mask(2)], -1)
    expected[70:80, 60:70, 1] = 1
    place = snap / f"{SCAN}_posterior_label.nii.gz"
    affine = nib.load(place).affine
    nib.save(nib.Nifti1Image(expected[:, :, 1:].astype(np.uint16), affine), place)
    wrong = snap / f"{VIEW}_label.nii.gz"
    nib.save(nib.Nifti1Image(np.zeros((SHAPE[0], SHAPE[1] - 1, 1), np.uint8), affine), wrong)
    done = import_labels(snap, work, "anna")
    assert (before[SCAN], done.saved) == (1, {SCAN: 2})
    assert done.unchanged == ["mole"]
    (line,) = done.refused
    assert "192 x 95 x 1 pixels, the image 192 x 96 x 1" in line
    np.testing.assert_array_equal(final(work, SCAN), expected)
    last = LabelHistory(work.history).newest()[SCAN, "final"]
    assert (last.user, last.action, last.base) == ("anna", "saved", 1)
    assert (work.segmentations / f"{SCAN}.dcm").is_file()
    # A label that lies elsewhere: that of the other view, whose columns run the other way.
    for path, moved in ((place, nib.load(snap / f"{SCAN}_anterior.nii.gz").affine), (place, affine)):
        nib.save(nib.Nifti1Image(expected[:, :, 1:], moved), path)
        refused = import_labels(snap, work, "anna").refused
        assert any("lies another way" in line for line in refused) == (moved is not affine)

    # LabelMe, exported before that: a corrected scan is refused, since anna's version is newer; a mole is taken.
    square = {"label": "lesion", "points": [[70, 90], [80, 90], [80, 95], [70, 95]], "shape_type": "polygon"}
    for name in (f"{SCAN}_anterior", "mole"):
        document = json.loads((drawn / f"{name}.json").read_text())
        document["shapes"].append({**square, "group_id": None, "flags": {}})
        (drawn / f"{name}.json").write_text(json.dumps(document))
    done = import_labels(drawn, work, "ben")
    assert done.saved == {"mole": 1}
    (line,) = done.refused
    assert f"version {last.version} (saved by anna) is newer" in line
    np.testing.assert_array_equal(final(work, SCAN), expected)
    picture = np.zeros(SHAPE, np.uint8)
    picture[90:96, 70:81] = 1
    np.testing.assert_array_equal(nib.load(work.datastore / "labels/final/mole.nii.gz").get_fdata()[..., 0].T, picture)

    # Over the newer one, with what was looked at and is right; theirs stays in the history.
    done = import_labels(drawn, work, "ben", unchanged=True, over_newer=True)
    assert sorted(done.saved) == ["mole", SCAN, VIEW]
    assert not done.refused
    ours = np.stack([hard_mask(1), hard_mask(2)], -1)
    ours[90:96, 70:81, 0] = 1
    np.testing.assert_array_equal(final(work, SCAN), ours)
    assert not final(work, VIEW).any()
    assert (work.history / last.file).is_file()


@pytest.mark.slow
def test_import_command(
    work: Workspace, tmp_path: Path, label_packages: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    folder = tmp_path / "out"
    assert main(["label", "export", str(work.folder), "-o", str(folder), "--item", "mole"]) == 0
    label = nib.load(folder / "mole_label.nii.gz")
    mask = np.zeros(label.shape, np.uint8)
    mask[3:5, 3:5] = 1
    nib.save(nib.Nifti1Image(mask, label.affine), folder / "mole_label.nii.gz")
    arguments = ["label", "import", str(work.folder), str(folder), "--user", "carla"]

    # From the core's environment it goes on in MONAI Label's, with the same arguments.
    def replaced(program: str, command: list[str]) -> None:
        raise ReplacedError(command)

    monkeypatch.setattr(os, "execv", replaced)
    monkeypatch.setattr("bonemets.labeling.server.environment.is_here", lambda: False)
    with pytest.raises(ReplacedError) as replacement:
        main([*arguments, "--unchanged", "--over-newer"])
    assert replacement.value.args[0][1:] == [
        "-m", "bonemets.cli.main", *arguments, "--unchanged", "--over-newer",
    ]  # fmt: skip

    monkeypatch.setattr("bonemets.labeling.server.environment.is_here", lambda: True)
    capsys.readouterr()
    assert main(arguments) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "1 saved, 0 unchanged, 0 refused"
    # The folder knows its version now: nothing is left to import.
    newest = LabelHistory(work.history).newest()["mole", "final"]
    assert newest.user == "carla"
    assert read_manifest(folder).items[0].version == newest.version
    assert main(arguments) == 0
    assert "0 saved, 1 unchanged" in capsys.readouterr().out
    (folder / "mole_label.nii.gz").unlink()
    assert main(arguments) == 2
    assert "mole_label.nii.gz: is missing" in capsys.readouterr().err


class ReplacedError(Exception):
    """The process would have been replaced by the command."""
