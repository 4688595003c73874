"""The environment that MONAI Label runs in: making it, and finding it.

MONAI Label asks for older versions of packages that the core needs in newer ones, so it is installed without its
dependencies. To leave the core installation as it is, that happens in a virtual environment of its own, which sees the
core's packages (torch, MONAI, this one) and adds its own on top: about 450 MB and a minute instead of 4 GB and six.

    python -m bonemets.labeling.server.environment .venv-label
"""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import venv
from importlib.util import find_spec
from pathlib import Path

from bonemets.errors import InputError

VARIABLE = "BONEMETS_LABEL_VENV"
FOLDER = ".venv-label"
PINS = "constraints-label.txt"
# What every test ran on. The pins have versions for newer ones too.
TESTED = "3.11"
_PACKAGE = Path(__file__).resolve().parents[2]


def is_here() -> bool:
    """Whether the running Python has MONAI Label."""
    return find_spec("monailabel") is not None


def find_python() -> Path:
    """The Python of MONAI Label's environment: $BONEMETS_LABEL_VENV, the checkout's, or that of the current folder.

    Raises:
        InputError: there is none; the message has the command that makes it.
    """
    given = os.environ.get(VARIABLE)
    folders = [Path(given)] if given else [_PACKAGE.parent / FOLDER, Path.cwd() / FOLDER]
    for folder in folders:
        python = folder / "bin" / "python"
        if python.exists() and list(folder.glob("lib/python*/site-packages/monailabel/__init__.py")):
            return python
    command = f"{sys.executable} -m bonemets.labeling.server.environment {folders[-1]}"
    if not given and (_PACKAGE.parent / "Makefile").is_file():
        command = f"make -C {_PACKAGE.parent} label"
    raise InputError(f"MONAI Label's environment is missing ({folders[0]}); make it with: {command}")


def pins() -> Path:
    """The list of packages with their exact versions: the checkout's, else the installed package's."""
    return next(path for path in (_PACKAGE.parent / PINS, _PACKAGE / "labeling" / PINS) if path.is_file())


def create(folder: Path) -> None:
    """Make the environment on top of the running one.

    Args:
        folder: where; an environment that is there already is brought up to date.

    Raises:
        InputError: if pip fails, with what it said, or MONAI Label cannot be imported afterwards.
    """
    if is_here():
        raise InputError("this Python belongs to MONAI Label's environment; run the one of the core installation")
    venv.create(folder, with_pip=True)
    packages = folder / "lib" / f"python{_version()}" / "site-packages"
    # addsitedir also reads the .pth files there, one of which leads to an editable installation.
    lines = [f"import site; site.addsitedir({path!r})" for path in _core_packages()]
    (packages / "_bonemets_core.pth").write_text("\n".join(lines) + "\n", encoding="utf-8")
    python = str(folder / "bin" / "python")
    # Every package is pinned, so nothing is left to resolve; --no-deps keeps pip from doing what upstream asks for.
    install = [python, "-m", "pip", "install", "--quiet", "--no-deps", "--requirement", str(pins())]
    for command in (install, [python, "-m", "bonemets.labeling.server.compat"]):
        result = subprocess.run(command, text=True, capture_output=True, check=False)
        if result.returncode:
            raise InputError(f"{' '.join(command)} failed: {_last_line(result.stderr)}")
    check(folder / "bin" / "python")


def check(python: Path) -> None:
    """Import what the server and its clients need: newer versions of Python lack modules that MONAI Label asks for.

    Args:
        python: the environment's Python.

    Raises:
        InputError: if that fails.
    """
    command = [str(python), "-c", "import monailabel.interfaces.app, monailabel.client"]
    result = subprocess.run(command, text=True, capture_output=True, check=False)
    if result.returncode:
        raise InputError(
            f"MONAI Label cannot be imported with this Python, {_version()} ({_last_line(result.stderr)}); it was "
            f"tested with {TESTED}: make the core's environment with that (rm -r .venv && make label "
            f"PYTHON=python{TESTED})"
        )


def _version() -> str:
    return f"{sys.version_info.major}.{sys.version_info.minor}"


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or ["no reason given"])[-1]


def _core_packages() -> list[str]:
    return list(dict.fromkeys(sysconfig.get_path(name) for name in ("purelib", "platlib")))


def main() -> int:
    """The command; its one argument is the folder."""
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else FOLDER)
    try:
        create(folder)
    except InputError as error:
        sys.stderr.write(f"bonemets: {error}\n")
        return 2
    if _version() != TESTED:
        print(f"note: MONAI Label was tested with Python {TESTED} only, and imported with this one, {_version()}")
    print(f"MONAI Label is installed in {folder}; start it with: bonemets label --studies FOLDER")
    return 0


if __name__ == "__main__":
    sys.exit(main())
