"""Studies, masks, history and datastore of the annotator's loop, without a server."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from label_server import SHAPE, make_study, phantom
from PIL import Image
from pydicom import Dataset

from bonemets.data import planar_affine, read_planar, write_nifti
from bonemets.errors import InputError
from bonemets.labeling.intake.sources import is_mask
from bonemets.labeling.intake.studies import _pseudonym, import_studies
from bonemets.labeling.store.history import LabelHistory
from bonemets.labeling.store.masks import label_bytes
from bonemets.labeling.store.workspace import Workspace


def project(folder: Path) -> Workspace:
    work = Workspace(folder / "work")
    work.make()
    return work


class TestStudies:
    def test_views_of_a_study_become_one_item(self, tmp_path: Path) -> None:
        for view, seed in (("anterior", 1), ("posterior", 2)):
            counts, label = phantom(seed)
            affine = planar_affine(SHAPE, (2.26, 2.26), view)
            write_nifti(tmp_path / "in" / f"a_{view}.nii.gz", counts, affine)
            write_nifti(tmp_path / "in" / f"a_{view}_label.nii.gz", label, affine)
        work = project(tmp_path)
        found = import_studies(tmp_path / "in", work)
        assert found.added == ["a"]
        assert found.masks == 2
        scan = read_planar(work.image(found.added[0]))
        assert scan.views == ("anterior", "posterior")
        for view, seed in (("anterior", 1), ("posterior", 2)):
            np.testing.assert_array_equal(scan.view(view), phantom(seed)[0])
        again = import_studies(tmp_path / "in", work)
        assert (again.added, again.known) == ([], 1)

    def test_pictures_and_damaged_files(self, tmp_path: Path) -> None:
        (tmp_path / "in").mkdir()
        gray = phantom(3)[0].clip(0, 255).astype(np.uint8)
        Image.fromarray(gray).save(tmp_path / "in" / "Müller scan (1).png")
        (tmp_path / "in" / "broken.nii.gz").write_bytes(b"not a file")
        work = project(tmp_path)
        found = import_studies(tmp_path / "in", work)
        assert found.added == ["M-ller-scan-1"]
        assert len(found.problems) == 1
        assert "broken.nii.gz" in found.problems[0]
        assert str(found) == "1 new, 0 known, 1 unreadable"
        np.testing.assert_array_equal(read_planar(work.image(found.added[0])).pixels[..., 0], gray)

    def test_one_patient_in_two_studies_is_one_patient(self, tmp_path: Path) -> None:
        make_study(tmp_path / "in" / "p1", 1)
        make_study(tmp_path / "in" / "p2", 2)
        make_study(tmp_path / "more", 1)
        work = project(tmp_path)
        import_studies(tmp_path / "in", work)
        assert len({link.patient for link in work.links().values()}) == 2
        # Other pixels under the same name are another item, and what is labeled already keeps its own.
        other = phantom(77)[0]
        Image.fromarray(other.astype(np.uint8)).save(tmp_path / "more" / "p1_scan.png")
        (tmp_path / "more" / "scan.dcm").unlink()
        assert import_studies(tmp_path / "more", work).added == ["p1_scan-2"]

    def test_spellings_of_an_identifier_are_one_patient(self) -> None:
        def header(identifier: str) -> Dataset:
            dataset = Dataset()
            dataset.PatientID, dataset.StudyInstanceUID = identifier, "1.2.3"
            return dataset

        names = {_pseudonym(header(written), ()) for written in ("P 01", "p1", "P_001 ")}
        assert len(names) == 1 and "p1" not in names.pop()
        assert _pseudonym(header("P 01"), ()) != _pseudonym(header("P 02"), ())
        assert _pseudonym(header(" "), ()) == _pseudonym(header(""), ()) != _pseudonym(header("p1"), ())
        # A store that was begun with the identifier as written goes on with it.
        before = "patient_" + hashlib.sha256(b"P 01").hexdigest()[:12]
        assert _pseudonym(header("P 01"), {before}) == before

    def test_nothing_to_read(self, tmp_path: Path) -> None:
        (tmp_path / "in").mkdir()
        with pytest.raises(InputError, match="holds no DICOM"):
            import_studies(tmp_path / "in", project(tmp_path))

    @pytest.mark.parametrize(
        ("name", "expected"),
        [("a_label.nii.gz", True), ("a-seg.nrrd", True), ("anterior_lesions.nii.gz", True), ("labeled.png", False),
         ("mask.png", False), ("p1_anterior.nii.gz", False)],
    )  # fmt: skip
    def test_names_of_masks(self, name: str, expected: bool) -> None:
        assert is_mask(Path(name)) is expected


class TestMasks:
    @pytest.fixture
    def image(self, tmp_path: Path) -> Path:
        """An anterior view whose file has other axes than it is displayed with, as scanners export it."""
        counts = phantom(5)[0]
        affine = np.diag([2.0, 2.0, 2.0, 1.0])
        nib.save(nib.Nifti1Image(np.ascontiguousarray(counts.T[:, ::-1, None]), affine), tmp_path / "image.nii.gz")
        return tmp_path / "image.nii.gz"

    def test_label_gets_the_grid_of_its_image(self, image: Path, tmp_path: Path) -> None:
        scan = read_planar(image)
        shape = nib.load(image).shape
        rng = np.random.default_rng(0)
        mask = (rng.random(shape) < 0.1).astype(np.float32)
        # As MONAI Label's own writer leaves it: (1, …) float32, no affine.
        nib.save(nib.Nifti1Image(mask[None], np.eye(4)), tmp_path / "label.nii.gz")
        content, lesion_pixels = label_bytes(image, tmp_path / "label.nii.gz")
        (tmp_path / "stored.nii.gz").write_bytes(content)
        stored = nib.load(tmp_path / "stored.nii.gz")
        assert stored.get_data_dtype() == np.uint8
        assert stored.shape == shape
        np.testing.assert_array_equal(stored.affine, nib.load(image).affine)
        np.testing.assert_array_equal(np.asarray(stored.dataobj), mask)
        assert lesion_pixels == mask.sum()
        assert read_planar(tmp_path / "stored.nii.gz").shape == scan.shape

    def test_255_is_lesion(self, image: Path, tmp_path: Path) -> None:
        mask = np.zeros(nib.load(image).shape, np.uint8)
        mask[3:5, 3:5] = 255
        nib.save(nib.Nifti1Image(mask, np.eye(4)), tmp_path / "label.nii.gz")
        assert label_bytes(image, tmp_path / "label.nii.gz")[1] == 4


class TestHistory:
    def test_a_torn_line_loses_only_itself(self, tmp_path: Path) -> None:
        history = LabelHistory(tmp_path)
        history.add("a", "final", "saved", b"one", user="anna")
        with history.log.open("ab") as file:
            file.write(b'{"image": "a", "tag": "fi')
        assert [version.version for version in history.versions()] == [1]
        history.add("a", "final", "saved", b"two", user="ben", base=1)
        first, second = history.versions()
        assert (second.version, second.replaces, second.base, second.user) == (2, 1, 1, "ben")
        assert history.content(first) == b"one"
        assert history.content(second) == b"two"


class TestDatastore:
    @pytest.fixture
    def work(self, tmp_path: Path, label_packages: Path) -> Workspace:
        work = project(tmp_path)
        for number in (1, 2):
            make_study(tmp_path / "in" / f"p{number}", number)
        import_studies(tmp_path / "in", work)
        return work

    def label(self, work: Workspace, value: int, tmp_path: Path) -> str:
        image = nib.load(work.image("p1_scan"))
        mask = np.zeros(image.shape, np.uint8)
        mask[: value + 1, 0, 0] = 1
        write_nifti(tmp_path / "new.nii.gz", mask, image.affine)
        return str(tmp_path / "new.nii.gz")

    def final(self, work: Workspace) -> Path:
        return work.datastore / "labels" / "final" / "p1_scan.nii.gz"

    def test_stopped_between_keeping_and_placing(self, work: Workspace, tmp_path: Path) -> None:
        from bonemets.labeling.store.datastore import VersionedDatastore

        VersionedDatastore(work).save_label("p1_scan", self.label(work, 0, tmp_path), "final", {"client_id": "anna"})
        content, pixels = label_bytes(work.image("p1_scan"), Path(self.label(work, 4, tmp_path)))
        LabelHistory(work.history).add("p1_scan", "final", "saved", content, user="ben", lesion_pixels=pixels)
        assert self.final(work).read_bytes() != content
        store = VersionedDatastore(work)
        assert self.final(work).read_bytes() == content
        info = store.get_label_info("p1_scan", "final")
        assert (info["version"], info["user"]) == (2, "ben")
        # The whole table lost: rebuilt from the files and the history.
        (work.datastore / "datastore_v2.json").unlink()
        assert VersionedDatastore(work).get_label_info("p1_scan", "final")["version"] == 2
        self.final(work).unlink()
        VersionedDatastore(work)
        assert self.final(work).read_bytes() == content

    def test_label_of_another_program_becomes_a_version(self, work: Workspace, tmp_path: Path) -> None:
        from bonemets.labeling.store.datastore import VersionedDatastore

        store = VersionedDatastore(work)
        store.save_label("p1_scan", self.label(work, 0, tmp_path), "final", {"client_id": "anna"})
        shutil.copy(self.label(work, 9, tmp_path), self.final(work))
        store.refresh()
        versions = LabelHistory(work.history).versions()
        assert [(v.version, v.action, v.lesion_pixels) for v in versions] == [(1, "saved", 1), (2, "found", 10)]
        assert store.get_labeled_images() == ["p1_scan"]
        assert store.get_unlabeled_images() == ["p2_scan"]

    def test_two_processes_do_not_undo_each_other(self, work: Workspace, tmp_path: Path) -> None:
        from bonemets.labeling.store.datastore import VersionedDatastore

        server, scoring = VersionedDatastore(work), VersionedDatastore(work)
        server.save_label("p1_scan", self.label(work, 0, tmp_path), "final", {"client_id": "anna"})
        scoring.update_image_info("p2_scan", {"mean_entropy": {"score": 0.5}})
        assert server.get_image_info("p2_scan")["mean_entropy"] == {"score": 0.5}
        assert scoring.get_label_info("p1_scan", "final")["user"] == "anna"
        assert VersionedDatastore(work).get_label_info("p1_scan", "final")["user"] == "anna"

    def test_removing_keeps_the_history(self, work: Workspace, tmp_path: Path) -> None:
        from bonemets.labeling.store.datastore import VersionedDatastore

        store = VersionedDatastore(work)
        store.save_label("p1_scan", self.label(work, 0, tmp_path), "final", {})
        store.remove_label("p1_scan", "final")
        assert store.get_labeled_images() == []
        assert not self.final(work).exists()
        assert [version.action for version in LabelHistory(work.history).versions()] == ["saved", "removed"]
        assert (work.history / "p1_scan" / "final_0001.nii.gz").is_file()
        assert VersionedDatastore(work).get_labeled_images() == []

    def test_strategy_by_score(self, work: Workspace, tmp_path: Path) -> None:
        from bonemets.labeling.store.datastore import VersionedDatastore
        from bonemets.labeling.tasks.strategies import HighestScore

        store, strategy = VersionedDatastore(work), HighestScore("mean_entropy")
        assert strategy({"client_id": "anna"}, store) == {"id": "p1_scan", "score": None}
        store.update_image_info("p2_scan", {"mean_entropy": {"score": 0.5}})
        assert strategy({"client_id": "anna"}, store) == {"id": "p2_scan", "score": 0.5}
        given = {"mean_entropy": {"ts": 2**40, "client_id": "anna"}}
        store.update_image_info("p2_scan", {"strategy": given})
        assert strategy({"client_id": "anna"}, store)["id"] == "p2_scan"
        assert strategy({"client_id": "ben"}, store)["id"] == "p1_scan"
        store.save_label("p1_scan", self.label(work, 0, tmp_path), "final", {})
        assert strategy({"client_id": "ben"}, store)["id"] == "p2_scan"

    def test_strategies_for_diversity(self, work: Workspace, tmp_path: Path) -> None:
        from bonemets.labeling.store.datastore import VersionedDatastore
        from bonemets.labeling.tasks.strategies import all_strategies

        for number in (3, 4, 5):
            make_study(tmp_path / "in" / f"p{number}", number)
        import_studies(tmp_path / "in", work)
        store, ben = VersionedDatastore(work), {"client_id": "ben"}
        diverse, combined = (all_strategies()[name] for name in ("diversity", "uncertain_and_diverse"))
        assert diverse(ben, store) == {"id": "p1_scan", "score": None}
        store.save_label("p1_scan", self.label(work, 0, tmp_path), "final", {})
        for number, place in enumerate((0.0, 1.0, 2.0, 5.0), start=1):
            features = {"score": [place, 0.0], "weights": "new"}
            entropy = {"score": 1 - place / 10, "weights": "new"}
            store.update_image_info(f"p{number}_scan", {"features": features, "mean_entropy": entropy})
        # Features of other weights, and what a client has put there, are skipped.
        store.update_image_info("p5_scan", {"features": {"score": [99.0, 0.0], "weights": "old"}})
        assert diverse(ben, store) == {"id": "p4_scan", "score": None}
        assert combined(ben, store) == {"id": "p2_scan", "score": 0.9}
        # Who labels p4 now will have labeled it: of the others, p3 is farther from 0 and 5.
        store.update_image_info("p4_scan", {"strategy": {"diversity": {"ts": 2**40, "client_id": "anna"}}})
        assert diverse(ben, store)["id"] == "p3_scan"
        store.update_image_info("p3_scan", {"features": {"score": ["x", None]}})
        assert diverse(ben, store)["id"] == "p2_scan"
        for number in range(2, 6):
            store.save_label(f"p{number}_scan", self.label(work, 0, tmp_path), "final", {})
        assert diverse(ben, store) is None

    def test_lesion_dice(self, label_packages: Path) -> None:
        from bonemets.labeling.tasks.scoring import lesion_dice

        truth, proposal = np.array([1, 1, 0, 0, 2, 2]), np.array([1, 0, 1, 0, 1, 0])
        assert lesion_dice(truth, proposal) == pytest.approx(0.5)
        assert lesion_dice(np.array([0, 2]), np.array([0, 1])) == 1
        assert lesion_dice(np.array([1, 0]), np.array([0, 0])) == 0
