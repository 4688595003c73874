"""``python -m bonemets.bundle``: MONAI's ``python -m monai.bundle`` with errors of a line or two from the start.

The bundles themselves shorten MONAI's errors once their configuration is read (`bonemets.bundle.short_errors`); this
also does so for what goes wrong before: a file that is missing, text that is not YAML, an override that fits nowhere.
It leaves out MONAI's advice to trust a configuration where that is one of the bundles' own.
"""

from __future__ import annotations

import os
import runpy

from bonemets.bundle.config_errors import TRACEBACK_VARIABLE, Command, install
from bonemets.bundle.notices import leave_out_notices

if __name__ == "__main__":
    leave_out_notices()
    if os.environ.get(TRACEBACK_VARIABLE, "0") in ("", "0"):
        install(Command())
    runpy.run_module("monai.bundle", run_name="__main__", alter_sys=True)
