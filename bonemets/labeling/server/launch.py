"""Starting the MONAI Label server for a folder or an archive of studies."""

from __future__ import annotations

import os
import shutil
import socket
import sys
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

from filelock import FileLock, Timeout

from bonemets.bundle.folders import bundle_metadata, list_bundles
from bonemets.bundle.notices import leave_out_notices
from bonemets.data.modalities import NAMES, NM, bundle_modality, name_of
from bonemets.errors import InputError
from bonemets.labeling.intake.studies import Imported, import_studies
from bonemets.labeling.store.workspace import Workspace

_PACKAGE = Path(__file__).resolve().parents[2]


def app_source() -> Path:
    """The app's folder: the checkout's, else the installed package's."""
    places = [_PACKAGE.parent / "apps" / "monailabel", _PACKAGE / "apps" / "monailabel"]
    return next(path for path in places if (path / "main.py").is_file())


def is_address(studies: str) -> bool:
    """Whether the studies come over DICOMweb."""
    return studies.startswith(("http://", "https://"))


def default_work(studies: str) -> Path:
    """The annotation project's folder where none is given: beside the studies, or in the current folder."""
    if is_address(studies):
        return Path("bonemets-label")
    folder = Path(studies).resolve()
    return folder.with_name(f"{folder.name}-labels")


def take_in(studies: str, work: Workspace, modality: str | None = None) -> Imported:
    """Bring the work list up to date with the studies.

    Args:
        studies: folder or DICOMweb address.
        work: the annotation project.
        modality: what the folder's files are that are not DICOM; by default they are looked at.

    Returns:
        What was found.

    Raises:
        InputError: if there is nothing to read.
    """
    if not is_address(studies):
        return import_studies(Path(studies), work, modality)
    from bonemets.labeling.exchange.segmentations import send_waiting
    from bonemets.labeling.intake.archive import Archive

    found = Archive(studies).take_in(work)
    send_waiting(work, studies)
    return found


def serve(
    studies: str, work: Workspace, host: str, port: int, weights: Mapping[str, Path] | None = None,
    modality: str | None = None,
) -> None:  # fmt: skip
    """Run the server until it is stopped.

    Args:
        studies: folder or DICOMweb address.
        work: the annotation project.
        host: address to listen on.
        port: port to listen on.
        weights: bundle → weights to begin with.
        modality: what the studies' files are that are not DICOM; by default they are looked at.

    Raises:
        InputError: if the studies cannot be read, the project is in use, or the port is taken.
    """
    leave_out_notices()
    work.make()
    check_port(host, port)
    try:
        # Held as long as the process lives, however it ends.
        lock = FileLock(work.folder / ".server.lock")
        lock.acquire(timeout=0)
    except Timeout as error:
        raise InputError(f"{work.folder} is being served already; stop that server or choose another --work") from error
    found = take_in(studies, work, modality)
    for problem in found.problems:
        sys.stderr.write(f"bonemets: {problem}\n")
    # Before the weights that the bundles ship, which are taken where there are none yet.
    for name, file in (weights or {}).items():
        print(
            f"{name}: {'begins with' if work.begin_with(name, file) else 'has weights already, not replaced by'} {file}"
        )
    bundles = work.refresh_bundles(list_bundles())
    prepare_app(work)
    set_environment(work)
    # MONAI Label reads its settings from the environment when it is imported, and a .env file of the current folder.
    os.chdir(work.app)
    from monailabel.main import Main

    for line in describe(work, bundles):
        print(line)
    print(f"taken in: {found}; labels are kept in {work.folder}")
    print(f"serving on http://{host}:{port}", flush=True)
    sys.argv = [
        "monailabel", "start_server", "--app", str(work.app), "--studies", studies, "--host", host,
        "--port", str(port), "--uvicorn_app", "bonemets.labeling.server.server:app", "--conf", "work", str(work.folder),
        *(["--conf", "modality", modality] if modality else []),
    ]  # fmt: skip
    Main().run()


def describe(work: Workspace, bundles: Iterable[Path]) -> list[str]:
    """What is served, one line for each modality: items, bundles with weights, and bundles that can be trained."""
    modalities = [link.modality for link in work.links().values()] or [NM]
    lines = []
    for modality in (each for each in NAMES if each in modalities):
        count = modalities.count(modality) if work.links() else 0
        known = [path for path in bundles if bundle_modality(bundle_metadata(path)) == modality]
        trained = [path.name for path in known if (path / "models" / "model.pt").is_file()]
        others = [path.name for path in known if path.name not in trained]
        lines.append(
            f"{count} {name_of(modality, count)}; models: {', '.join(trained) or 'none has weights yet'}"
            + (f"; to be trained: {', '.join(others)}" if others else "")
        )
    return lines


def check_port(host: str, port: int) -> None:
    """Refuse an address that cannot be listened on, before any work is done."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        reason = error.strerror or str(error)
        raise InputError(f"cannot listen on {host}:{port} ({reason}); choose another --port or --host") from error


def prepare_app(work: Workspace) -> None:
    """Copy the app into the project: MONAI Label writes logs beside its app, which must not be the installed one."""
    shutil.copyfile(app_source() / "main.py", work.app / "main.py")
    sent = work.app / "sent"
    shutil.rmtree(sent, ignore_errors=True)
    sent.mkdir()


def set_environment(work: Workspace) -> None:
    """What MONAI Label and the processes that it starts are to know; what the user has set wins."""
    # What clients send, and proposals on their way: patients' images, so they stay in the project.
    os.environ["TMPDIR"] = tempfile.tempdir = str(work.app / "sent")
    settings = {
        # It would start a process after every request for the next scan; `BonemetsApp` scores when that is needed.
        "MONAI_LABEL_AUTO_UPDATE_SCORING": "false",
        "MONAI_LABEL_DATASTORE_AUTO_RELOAD": "false",
        "MONAI_LABEL_SESSION_PATH": str(work.app / "sent" / "sessions"),
    }
    for name, value in settings.items():
        os.environ.setdefault(name, value)
