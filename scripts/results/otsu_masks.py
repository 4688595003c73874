"""Masks of dermoscopic images by Otsu's threshold of the gray image: what a network has to beat.

Otsu N. A threshold selection method from gray-level histograms. IEEE Trans Syst Man Cybern 1979;9:62-66. The darker
class is the lesion; nothing else is done. `bonemets evaluate` measures the masks as it does a network's::

    python scripts/results/otsu_masks.py IMAGES/datalist.json MASKS --section test
    bonemets evaluate MASKS --datalist IMAGES/datalist.json --section test -o OUT
"""

from __future__ import annotations

import argparse
import io
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bonemets.data import load_datalist
from bonemets.data.files import write_bytes
from bonemets.data.pictures import read_picture
from bonemets.errors import InputError


def otsu_threshold(gray: NDArray[np.uint8]) -> int:
    """The gray level at and below which the darker class lies: the largest variance between the two classes.

    Args:
        gray: any shape, 0 to 255.
    """
    share = np.bincount(gray.ravel(), minlength=256) / gray.size
    below = np.cumsum(share)
    mean = np.cumsum(share * np.arange(256))
    apart = below * (1 - below)
    variance = np.divide((mean[-1] * below - mean) ** 2, apart, out=np.zeros(256), where=apart > 1e-12)
    return int(variance.argmax())


def mask_of(colors: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """255 where an image, (H, W, 3), is dark by Otsu's threshold; (H, W)."""
    gray = np.asarray(Image.fromarray(colors).convert("L"))
    return np.where(gray <= otsu_threshold(gray), 255, 0).astype(np.uint8)


def main() -> int:
    """Write a mask for every image of a part of a data list, named as the image."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("datalist", type=Path)
    parser.add_argument("output", type=Path, help="folder of the masks")
    parser.add_argument("--section", choices=("test", "validation"), default="test")
    parser.add_argument("--fold", type=int, default=0, help="for --section validation")
    options = parser.parse_args()
    try:
        for item in load_datalist(options.datalist, fold=options.fold, section=options.section):
            buffer = io.BytesIO()
            Image.fromarray(mask_of(read_picture(Path(item["image"])))).save(buffer, "PNG")
            write_bytes(options.output / f"{Path(item['image']).stem}.png", buffer.getvalue())
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
