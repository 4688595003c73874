"""Messages of MONAI and PyTorch at start-up that say nothing is wrong, left out where a program of ours prints.

Each is known by its exact text, so that every other warning is still shown.
"""

from __future__ import annotations

import ast
import logging
import re
import warnings
from pathlib import Path
from typing import Any

from bonemets.bundle.folders import bundle_folders

HARMLESS = (
    # MONAI's DICOM readers, on a machine without NVIDIA's decoder; pydicom's own decoders then read the files.
    "nvImageCodec is not available; skipping pydicom decoder plugin registration.",
    "NvImgCodecPydicomReader: nvImageCodec decoder plugin did not register successfully. "
    "Falling back to default pydicom decoders.",
    # PyTorch's export of weights that share storage (the MLflow model); ours are on the CPU then.
    "No complete tensor found in the group! Returning the first one. "
    "This may cause issues when your weights are not on CPU.",
)
NVIMGCODEC_LOGGER = "monai.data.nvimgcodec_pydicom_plugin"
_TRUST = re.compile(r"parsing config_file (.+?): any `\"_target_\"` value in it is resolved to an importable callable")


def leave_out_notices() -> None:
    """Leave the messages out for the rest of this process."""
    logging.getLogger(NVIMGCODEC_LOGGER).addFilter(_is_wanted)
    if getattr(warnings.showwarning, "shows", None) is None:
        warnings.showwarning = _Shown(warnings.showwarning)


def is_harmless(message: str) -> bool:
    """Whether a message is one of `HARMLESS`, or MONAI's advice to trust a configuration that is one of ours."""
    if message in HARMLESS:
        return True
    match = _TRUST.match(message)
    return match is not None and all(_is_shipped(file) for file in _files(match[1]))


def _files(text: str) -> list[str]:
    """The files in MONAI's text: a path, or the list as Python writes it."""
    try:
        value = ast.literal_eval(text)
    except (SyntaxError, ValueError):
        return [text]
    return [str(file) for file in value] if isinstance(value, (list, tuple)) else [text]


def _is_shipped(file: str) -> bool:
    return any(Path(file).resolve().is_relative_to(folder.resolve()) for folder in bundle_folders())


def _is_wanted(record: logging.LogRecord) -> bool:
    return not is_harmless(record.getMessage())


class _Shown:
    """What Python shows warnings by, without the harmless ones."""

    def __init__(self, shows: Any) -> None:
        self.shows = shows

    def __call__(self, message: Warning | str, *arguments: Any, **keywords: Any) -> None:
        if not is_harmless(str(message)):
            self.shows(message, *arguments, **keywords)
