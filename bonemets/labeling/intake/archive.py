"""Studies from an archive over DICOMweb (PS3.18), and final labels back to it as DICOM SEG."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import tempfile
from collections import defaultdict
from pathlib import Path

import requests
from dicomweb_client import DICOMwebClient
from dicomweb_client.session_utils import create_session_from_user_pass
from pydicom import Dataset, dcmread, dcmwrite

from bonemets.data.files import write_bytes, write_nifti
from bonemets.data.intake import SkippedError
from bonemets.data.modalities import NM
from bonemets.data.planar.nuclear import UnsuitableError
from bonemets.data.planar.scan import PlanarScan
from bonemets.data.planar.study import read_study
from bonemets.dicom.seg import read_seg
from bonemets.errors import InputError
from bonemets.labeling.intake.sources import Source
from bonemets.labeling.intake.studies import Imported, add_image, read_source
from bonemets.labeling.store.workspace import Workspace

logger = logging.getLogger(__name__)

# A whole-body scan has 1 MB; an archive that takes longer to answer is not there.
TIMEOUT = 60


class Archive:
    """An archive that speaks DICOMweb.

    MONAI Label's own datastore for DICOMweb is not used: it makes files with dcmqi, whose SEG of a scan with two frames
    does not say which frame a mask is of. User and password are MONAI Label's: ``MONAI_LABEL_DICOMWEB_USERNAME`` and
    ``MONAI_LABEL_DICOMWEB_PASSWORD``.

    Args:
        address: as ``http://archive:8042/dicom-web``.
    """

    def __init__(self, address: str) -> None:
        user, password = (os.environ.get(f"MONAI_LABEL_DICOMWEB_{name}") for name in ("USERNAME", "PASSWORD"))
        session = create_session_from_user_pass(user, password) if user and password else requests.Session()
        self.address = address.rstrip("/")
        self.client = DICOMwebClient(self.address, session=session)

    def take_in(self, work: Workspace) -> Imported:
        """Take new NM studies into the work list, with the segmentations that the archive has of them.

        Args:
            work: the annotation project.

        Returns:
            What was found.

        Raises:
            InputError: if the archive cannot be reached or refuses.
        """
        result = Imported()
        known = {series for link in work.links().values() for series in link.series}
        try:
            for study, series in sorted(self._series("NM").items()):
                if set(series) <= known:
                    result.known += 1
                else:
                    self._take_in_study(study, series, work, result)
            self._take_in_labels(work)
        except (requests.RequestException, OSError) as error:
            reason = f"cannot be read over DICOMweb ({error})"
            raise InputError(f"{self.address}: {reason}; check address and password") from error
        return result

    def send(self, path: Path) -> None:
        """Store a DICOM object.

        Raises:
            requests.RequestException: if the archive cannot be reached or refuses.
        """
        self.client.store_instances([dcmread(path)])

    def _series(self, modality: str) -> dict[str, list[str]]:
        """Study → its series of a modality."""
        found: dict[str, list[str]] = defaultdict(list)
        for item in self.client.search_for_series(search_filters={"Modality": modality}):
            series = Dataset.from_json(item)
            # Some archives pass over filters that they do not know.
            if series.get("Modality", modality) == modality:
                found[str(series.StudyInstanceUID)].append(str(series.SeriesInstanceUID))
        return found

    def _take_in_study(self, study: str, series: list[str], work: Workspace, result: Imported) -> None:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            for uid in series:
                for number, dataset in enumerate(self.client.retrieve_series(study, uid)):
                    dcmwrite(folder / f"{series.index(uid):03d}_{number:03d}.dcm", dataset, enforce_file_format=True)

            def note(error: InputError) -> None:
                if not isinstance(error, SkippedError):
                    result.problems.append(_without(error, folder, study))

            try:
                scans = read_study(folder, report=note)
            except UnsuitableError:
                # Other objects of the modality: tomograms, dynamic series.
                return
            except InputError as error:
                result.problems.append(_without(error, folder, study))
                return
            for scan in scans:
                add_image(Source(scan, NM, study), work, result, _item_name(scan))

    def _take_in_labels(self, work: Workspace) -> None:
        """Take segmentations that others have stored as labels of items that have none yet."""
        segmentations, links = self._series("SEG"), work.links()
        for item, link in links.items():
            target = work.datastore / "labels" / "final" / f"{item}.nii.gz"
            if target.exists() or (work.history / item).exists():
                continue
            source = read_source(item, work)
            if source is None:
                continue
            for series in segmentations.get(link.study, []):
                for dataset in self.client.retrieve_series(link.study, series):
                    self._take_in_label(dataset, source, target)

    def _take_in_label(self, dataset: Dataset, source: PlanarScan, target: Path) -> None:
        with tempfile.TemporaryDirectory() as name:
            path = Path(name) / "seg.dcm"
            dcmwrite(path, dataset, enforce_file_format=True)
            try:
                mask = read_seg(path, source)
            except InputError:
                logger.info("a segmentation in the archive is of another image")
                return
        target.parent.mkdir(parents=True, exist_ok=True)
        write_nifti(target, mask, source.affine)


def sent_version(item: str, work: Workspace) -> int:
    """The version of the item's final label that the archive has; 0 for none."""
    path = work.segmentations / f"{item}.json"
    return int(json.loads(path.read_text("utf-8"))["version"]) if path.is_file() else 0


def note_sent(item: str, version: int, work: Workspace) -> None:
    """Remember which version the archive has."""
    write_bytes(work.segmentations / f"{item}.json", json.dumps({"version": version}).encode())


def _item_name(scan: PlanarScan) -> str:
    """A name that does not identify anyone, the same on every machine."""
    study = str(scan.frames[0].dataset.StudyInstanceUID)
    return f"study_{hashlib.sha256(study.encode()).hexdigest()[:10]}"


def _without(error: InputError, folder: Path, study: str) -> str:
    return str(error).replace(f"{folder}", study)
