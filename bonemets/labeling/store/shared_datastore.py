"""MONAI Label's datastore in a folder whose one file several processes read and write."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock
from monailabel.datastore.local import LocalDatastore, LocalDatastoreModel

from bonemets.data.files import write_bytes

logger = logging.getLogger(__name__)


class SharedDatastore(LocalDatastore):
    """A local datastore that does not forget what another process wrote.

    *Deviations from MONAI Label's*: every change happens under the lock to what the file says at that moment, and
    replaces the file whole, where the original writes what its process remembers over what another has written. The
    file is looked at when it is needed, not watched.

    Args:
        folder: the datastore's folder.
        extensions: endings of images, ``.nii.gz``.
    """

    def __init__(self, folder: Path, extensions: Sequence[str]) -> None:
        self._stamp: tuple[int, int] | None = None
        self._thread_lock = threading.RLock()
        super().__init__(str(folder), extensions=[f"*{e}" for e in extensions], auto_reload=False, read_only=True)

    @property
    def _datastore(self) -> LocalDatastoreModel:
        """What the file says now."""
        self._reload()
        return self._model

    @_datastore.setter
    def _datastore(self, model: LocalDatastoreModel) -> None:
        self._model = model

    def _init_from_datastore_file(self, throw_exception: bool = False) -> None:
        self._reload()

    def _reload(self) -> None:
        path = Path(self._datastore_config_path)
        with self._thread_lock:
            if not path.is_file():
                return
            status = path.stat()
            stamp = (status.st_mtime_ns, status.st_ino)
            if stamp != self._stamp:
                self._model = LocalDatastoreModel.model_validate_json(path.read_bytes())
                self._model.base_path = self._datastore_path
                self._stamp = stamp

    @contextmanager
    def _change(self) -> Iterator[LocalDatastoreModel]:
        """The content of the file, alone; written when the block ends."""
        with self._thread_lock, FileLock(self._lock_file):
            model = self._datastore
            yield model
            self._write(model)

    def _write(self, model: LocalDatastoreModel) -> None:
        content = model.model_dump(exclude={"base_path"})
        write_bytes(self._datastore_config_path, json.dumps(content, indent=2, default=str).encode())
        self._reload()

    def _update_datastore_file(self, lock: bool = True) -> None:
        with self._change():
            logger.debug("datastore written")
