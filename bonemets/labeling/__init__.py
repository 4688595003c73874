"""The annotator's loop on MONAI Label: what ``apps/monailabel`` and ``bonemets label`` are made of.

Most modules import MONAI Label and so work in its own environment only (``make label``); `choosing`, `compat`,
`environment`, `history`, `masks`, `modalities`, `scores`, `sources`, `studies` and `workspace` do not.
"""

from __future__ import annotations
