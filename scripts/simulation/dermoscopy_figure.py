"""The picture of docs/explanation/dermoscopy-simulation.md: twelve simulated pictures, every second with its outline.

python scripts/simulation/dermoscopy_figure.py
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image
from scipy import ndimage

from bonemets.simulation.dermoscopy.image import simulate_dermoscopy

OUT = Path(__file__).parents[2] / "docs" / "explanation" / "images" / "simulated_dermoscopy.jpg"
SEED, COLUMNS, ROWS = 7, 4, 3


def main() -> None:
    """Draw and write."""
    tiles = []
    for number in range(1, COLUMNS * ROWS + 1):
        picture = simulate_dermoscopy(SEED, number)
        pixels = picture.pixels.copy()
        if number % 2 == 0:
            mask = picture.mask.astype(bool)
            pixels[mask ^ ndimage.binary_erosion(mask, iterations=2)] = (0, 255, 0)
        tiles.append(np.pad(pixels, ((4, 4), (4, 4), (0, 0)), constant_values=255))
    rows = [np.hstack(tiles[row * COLUMNS : (row + 1) * COLUMNS]) for row in range(ROWS)]
    sheet = Image.fromarray(np.vstack(rows))
    sheet.resize((sheet.width * 2 // 3, sheet.height * 2 // 3), Image.Resampling.LANCZOS).save(OUT, quality=85)


if __name__ == "__main__":
    main()
