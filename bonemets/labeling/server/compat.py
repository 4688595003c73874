"""What MONAI Label 0.8.5 lacks to be imported with current packages, and nothing where it does not lack it.

MONAI Label trains, scores and infers in batches in processes of its own, ``python -m monailabel.interfaces.utils.app``,
so the fixes must reach every Python process of its environment: `install` writes a ``.pth`` file there, and only
there. All that it does at start-up is to register import hooks.

===================================  ===============================================================================
`TorchvisionOperators`               torchvision has no CPU build: its compiled part does not load beside a CPU build of
                                     torch, and its Python part then stops at operators that nobody defined.
`PydicomStorageClasses`              pydicom-seg 0.4.1 imports a module that pydicom 3 has merged into `pydicom.uid`.
`GirderClient`                       MONAI Label imports girder-client, for a kind of store that is not used here.
===================================  ===============================================================================
"""

from __future__ import annotations

import importlib.util
import sys
import sysconfig
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

# Sorts behind the file that makes an editable installation of bonemets importable.
PTH_NAME = "bonemets_monailabel.pth"
PTH_LINE = "import importlib.util as u; u.find_spec('bonemets') and __import__('bonemets.labeling.server.compat').labeling.server.compat.activate()\n"  # noqa: E501
OPERATORS = ("nms", "qnms")
_libraries: list[Any] = []


class TorchvisionOperators(MetaPathFinder):
    """Define the signatures of ``torchvision::nms`` and ``::qnms`` if torchvision's compiled part has not."""

    module = "torchvision._meta_registrations"

    def find_spec(self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> None:
        """Never finds a module; acts right before the one that needs the operators is imported."""
        if name == self.module:
            self.define()

    def define(self) -> list[str]:
        """Define what is missing; the operators that were."""
        import torch

        missing = [operator for operator in OPERATORS if not hasattr(torch.ops.torchvision, operator)]
        if missing:
            library = torch.library.Library("torchvision", "FRAGMENT")
            for operator in missing:
                library.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
            # The definitions live as long as the library object.
            _libraries.append(library)
        return missing


class PydicomStorageClasses(MetaPathFinder, Loader):
    """`pydicom.uid` under the name that it had for storage classes before pydicom 3."""

    module = "pydicom._storage_sopclass_uids"

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Asked only after every other finder has failed."""
        return importlib.util.spec_from_loader(name, self) if name == self.module else None

    def create_module(self, spec: ModuleSpec) -> None:
        """An ordinary empty module."""

    def exec_module(self, module: ModuleType) -> None:
        """Give it the names that are in `pydicom.uid` now."""
        import pydicom.uid

        vars(module).update({name: value for name, value in vars(pydicom.uid).items() if not name.startswith("__")})


class GirderClient(MetaPathFinder, Loader):
    """A module that can be imported but not used."""

    module = "girder_client"

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Asked only after every other finder has failed."""
        return importlib.util.spec_from_loader(name, self) if name == self.module else None

    def create_module(self, spec: ModuleSpec) -> None:
        """An ordinary empty module."""

    def exec_module(self, module: ModuleType) -> None:
        """Give it the two names that MONAI Label mentions."""

        class HttpError(Exception):
            """Never raised."""

        def girder_client(*args: Any, **kwargs: Any) -> None:
            raise ImportError("girder-client is not installed; a Digital Slide Archive cannot be used")

        module.HttpError = HttpError  # type: ignore[attr-defined]
        module.GirderClient = girder_client  # type: ignore[attr-defined]


def activate() -> None:
    """Register the import hooks, once. The stand-ins come last, so that real modules win."""
    if not any(isinstance(finder, TorchvisionOperators) for finder in sys.meta_path):
        sys.meta_path.insert(0, TorchvisionOperators())
        sys.meta_path.extend([PydicomStorageClasses(), GirderClient()])


def install(folder: Path | None = None) -> Path:
    """Make every Python process of this environment call `activate`.

    Args:
        folder: the environment's folder of packages; by default that of the running Python.

    Returns:
        The file that was written.
    """
    path = (folder or Path(sysconfig.get_path("purelib"))) / PTH_NAME
    path.write_text(PTH_LINE, encoding="utf-8")
    return path


if __name__ == "__main__":
    print(install())
