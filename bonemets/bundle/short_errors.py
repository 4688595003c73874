"""Switches on short messages about mistakes in a bundle's configuration: ``imports: [$import …short_errors]``.

Harmless messages of MONAI and PyTorch (`bonemets.bundle.notices`) are left out from then on.

Importing it does nothing unless MONAI's command line is the program that runs, so Python callers and MONAI Label see
MONAI's exceptions. The environment variable ``BONEMETS_TRACEBACK=1``, or MONAI's own ``MONAI_DEBUG_CONFIG``, keeps the
whole traceback.

MONAI reads the files before it imports anything, so a file that is missing or is not YAML, and an override inside a
section that does not exist, are still MONAI's to report; ``python -m bonemets.bundle run`` shortens those too.
"""

from __future__ import annotations

from bonemets.bundle.config_errors import is_command_line, shorten
from bonemets.bundle.notices import leave_out_notices

if is_command_line():
    leave_out_notices()
shorten()
