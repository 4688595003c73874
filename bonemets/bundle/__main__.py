"""``python -m bonemets.bundle``: MONAI's ``python -m monai.bundle`` with errors of a line or two from the start.

The bundles themselves shorten MONAI's errors once their configuration is read (`bonemets.bundle.short_errors`); this
also does so for what goes wrong before: a file that is missing, text that is not YAML, an override that fits nowhere.
"""

from __future__ import annotations

import os
import runpy

from bonemets.bundle.config_errors import TRACEBACK_VARIABLE, Command, install

if __name__ == "__main__":
    if os.environ.get(TRACEBACK_VARIABLE, "0") in ("", "0"):
        install(Command())
    runpy.run_module("monai.bundle", run_name="__main__", alter_sys=True)
