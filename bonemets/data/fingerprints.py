"""Fingerprints of images, by which results and labels are put together whatever the files are called."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from bonemets.data.ct.scan import CTScan
    from bonemets.data.planar.scan import PlanarScan


def scan_sha256(scan: PlanarScan | CTScan) -> str:
    """A fingerprint of the pixels and views, by which a scan is known again."""
    digest = hashlib.sha256(repr((scan.pixels.shape, getattr(scan, "views", ("axial",)))).encode())
    digest.update(scan.pixels.tobytes())
    return digest.hexdigest()


def slices_sha256(scan: CTScan) -> list[str]:
    """A fingerprint of each slice, from feet to head: it is the same in a file of its own."""
    digests = []
    for index in range(scan.pixels.shape[2]):
        # Zero without its sign, which a file of integers cannot keep.
        pixels = np.ascontiguousarray(scan.pixels[..., index], dtype=np.float32) + np.float32(0)
        digests.append(hashlib.sha256(repr(pixels.shape).encode() + pixels.tobytes()).hexdigest())
    return digests
