"""The annotator's loop on MONAI Label: what ``apps/monailabel`` and ``bonemets label`` are made of.

Most modules import MONAI Label and so work in its own environment only (``make label``); `compat`, `environment`,
`history`, `links` and `workspace` do not.
"""

from __future__ import annotations
