"""The folder in which everything of an annotation project lies, and the table that leads back to its sources."""

from __future__ import annotations

import csv
import io
import json
import shutil
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bonemets.data.files import write_bytes
from bonemets.data.tables import inert
from bonemets.errors import InputError


@dataclass(frozen=True)
class Link:
    """Where an item of the work list came from.

    Args:
        id: the item's name on the server; its image is ``datastore/ID.nii.gz`` or, for a picture, ``ID.png``.
        source: the file or folder, relative to the studies' folder; for DICOMweb the series' identifier.
        format: kind of the source.
        views: one name per view, in the image's order; none for CT and pictures.
        sha256: of the pixels, so that a source that has changed becomes another item.
        patient: pseudonym that keeps a patient's studies in one fold.
        study: study instance UID; empty where the source is not DICOM.
        series: series instance UIDs, in the views' order.
        imported: when.
        modality: ``"NM"``, ``"CT"`` or ``"dermoscopy"``; see `bonemets.data.modalities`.
    """

    id: str
    source: str
    format: str
    views: tuple[str, ...]
    sha256: str
    patient: str
    study: str = ""
    series: tuple[str, ...] = ()
    imported: str = field(default_factory=lambda: now())
    modality: str = "NM"


class Workspace:
    """Paths of an annotation project.

    ::

        links.json          item → source
        patients.csv        item → patient, as `bonemets datalist --patient-table` reads it
        datastore/          what MONAI Label serves: ID.nii.gz or ID.png, labels/final/ID.nii.gz, labels/original/…
        history/            every version of every label, and labels.jsonl: who, when
        dicom/ID/           the DICOM objects that an item was read from
        segmentations/      ID.dcm: the newest final label as DICOM SEG
        bundles/NAME/       the bundles that are served, with the newest weights; models/previous/ has the older ones
        training/NAME/      one folder per training: data list, checkpoint
        mlflow/             experiment store
        app/                MONAI Label's own folder: logs

    Args:
        folder: its folder; made if missing.
    """

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder).resolve()
        self.links_path = self.folder / "links.json"
        self.patients_path = self.folder / "patients.csv"
        self.datastore = self.folder / "datastore"
        self.history = self.folder / "history"
        self.dicom = self.folder / "dicom"
        self.segmentations = self.folder / "segmentations"
        self.bundles = self.folder / "bundles"
        self.training = self.folder / "training"
        self.mlflow = self.folder / "mlflow"
        self.app = self.folder / "app"

    def make(self) -> None:
        """Make the folders.

        Raises:
            InputError: if they cannot be made.
        """
        try:
            for path in (self.datastore, self.history, self.bundles, self.training, self.mlflow, self.app):
                path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"cannot write to {self.folder} ({error.strerror}); choose another --work") from error

    @property
    def tracking_uri(self) -> str:
        """The MLflow store."""
        return f"sqlite:///{self.mlflow / 'mlruns.db'}"

    def image(self, item: str) -> Path:
        """The image of an item."""
        picture = self.datastore / f"{item}.png"
        return picture if picture.is_file() else self.datastore / f"{item}.nii.gz"

    def modality(self, item: str) -> str:
        """The modality of an item; a bone scan where an image was put there by hand."""
        link = self.links().get(item)
        return link.modality if link else "NM"

    def links(self) -> dict[str, Link]:
        """Item → where it came from.

        Raises:
            InputError: if the table cannot be read.
        """
        if not self.links_path.is_file():
            return {}
        try:
            rows = json.loads(self.links_path.read_text("utf-8"))
            links = [Link(**{**row, "views": tuple(row["views"]), "series": tuple(row["series"])}) for row in rows]
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise InputError(f"{self.links_path}: cannot be read ({error}); restore it") from error
        return {link.id: link for link in links}

    def write_links(self, links: dict[str, Link]) -> None:
        """Replace the table, and the table of patients that follows from it."""
        rows: list[dict[str, Any]] = [asdict(links[item]) for item in sorted(links)]
        write_bytes(self.links_path, json.dumps(rows, indent=1).encode())
        buffer = io.StringIO()
        table = csv.writer(buffer)
        table.writerow(["image", "patient"])
        table.writerows((inert(self.image(row["id"]).name), inert(row["patient"])) for row in rows)
        write_bytes(self.patients_path, buffer.getvalue().encode())

    def refresh_bundles(self, bundles: dict[str, Path]) -> list[Path]:
        """Bring the bundles' own files up to date, and keep the weights that are here.

        Args:
            bundles: name → folder of the bundles that are installed.

        Returns:
            The folders of all bundles here, those that only lie here included.
        """
        for name, source in bundles.items():
            target = self.bundles / name
            own = shutil.ignore_patterns("models", "eval", "output")
            shutil.copytree(source, target, dirs_exist_ok=True, ignore=own)
            (target / "models").mkdir(exist_ok=True)
            self.begin_with(name, source / "models" / "model.pt")
        return sorted(path for path in self.bundles.iterdir() if (path / "configs" / "inference.yaml").is_file())

    def begin_with(self, name: str, weights: Path) -> bool:
        """Give a bundle weights, with the .json file beside them, if it has none here yet.

        Args:
            name: the bundle.
            weights: the file; it need not exist.

        Returns:
            Whether they were taken.
        """
        models = self.bundles / name / "models"
        if not weights.is_file() or (models / "model.pt").is_file():
            return False
        # The weights last: only with them does the bundle count as trained.
        if weights.with_suffix(".json").is_file():
            write_bytes(models / "model.json", weights.with_suffix(".json").read_bytes())
        write_bytes(models / "model.pt", weights.read_bytes())
        return True


def now() -> str:
    """The time in UTC, to the second, as ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")
