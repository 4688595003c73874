"""Make a benchmark cohort from its recipe, and check that it is the cohort that numbers were measured on.

::

    python scripts/simulation/make_cohort.py results/cohorts/bone_scan_200.yaml OUT --workers 2

The recipe fixes what is drawn; its two hashes fix the result. ``datalist_sha256`` is that of the data list's file: it
names the split. ``content_sha256`` is that of the text which has, for the data list and every image and label map that
it names, sorted by path, a line ``<sha256>  <path relative to the list's folder>``. Files that end in .gz are hashed
unpacked, since other versions of zlib pack the same bytes differently. Pictures and DICOM files do not enter:
nothing is trained or measured on them.

Exit status: 0 as the recipe says, or no hash recorded yet; 1 another cohort; 2 the recipe cannot be used.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import re
import sys
from pathlib import Path
from typing import Any

import yaml

from bonemets.data.files import write_bytes
from bonemets.data.lists.datalist import datalist_hash, read_datalist
from bonemets.errors import InputError

KEYS = {
    "name": str, "modality": str, "patients": int, "seed": int, "folds": int, "test_share": float,
    "simulation_version": str, "datalist_sha256": (str, type(None)), "content_sha256": (str, type(None)),
}  # fmt: skip
OPTIONAL_KEYS = {"ct_version": str, "world": str}


def read_recipe(path: Path) -> dict[str, Any]:
    """Read a recipe.

    Raises:
        InputError: a field is missing, unknown or of the wrong kind, or the simulator is of another version.
    """
    try:
        recipe = yaml.safe_load(path.read_text("utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise InputError(f"{path}: cannot be read ({' '.join(str(error).split())})") from error
    if not isinstance(recipe, dict):
        raise InputError(f"{path}: is not a recipe of a cohort")
    kinds: dict[str, Any] = {**KEYS, **OPTIONAL_KEYS}
    wrong = [key for key in KEYS if key not in recipe] + [key for key in recipe if key not in kinds]
    wrong += [key for key, value in recipe.items() if key in kinds and not isinstance(value, kinds[key])]
    if wrong:
        raise InputError(f"{path}: missing, unknown or of the wrong kind: {', '.join(dict.fromkeys(wrong))}")
    from bonemets.simulation import SIMULATION_VERSION
    from bonemets.simulation.ct.slices import CT_VERSION
    from bonemets.simulation.dermoscopy.image import DERMOSCOPY_VERSION

    simulator = DERMOSCOPY_VERSION if recipe["modality"] == "skin" else SIMULATION_VERSION
    for key, here in (("simulation_version", simulator), ("ct_version", CT_VERSION)):
        if recipe.get(key, here) != here:
            raise InputError(f"{path}: needs {key} {recipe[key]}, this simulator is {here}; install that version")
    return recipe


def datalist_of(recipe: dict[str, Any], folder: Path) -> Path:
    """The cohort's data list."""
    return folder / ("datalist_ct.json" if recipe["modality"] == "ct" else "datalist.json")


def content_hash(datalist: Path) -> str:
    """Hash of a data list and of all images and label maps that it names; see the module's text."""
    document = read_datalist(datalist)
    items = [*document["training"], *document.get("testing", ())]
    names = {datalist.name, *(item[key] for item in items for key in ("image", "label"))}
    digest = hashlib.sha256()
    for name in sorted(names):
        content = (datalist.parent / name).read_bytes()
        if name.endswith(".gz"):
            content = gzip.decompress(content)
        digest.update(f"{hashlib.sha256(content).hexdigest()}  {name}\n".encode())
    return digest.hexdigest()


def make(recipe: dict[str, Any], folder: Path, workers: int = 1) -> dict[str, str]:
    """Simulate what the recipe says, or what is left of it, and hash the result."""
    from bonemets.simulation.cohort import simulate_cohort
    from bonemets.simulation.dermoscopy.cohort import simulate_picture_cohort

    def progress(done: int, total: int) -> None:
        if done % max(1, total // 10) == 0:
            print(f"{done} of {total} patients", file=sys.stderr)

    shares = {"folds": recipe["folds"], "test_share": recipe["test_share"]}
    options = {"workers": workers, "progress": progress, **shares}
    if recipe["modality"] == "skin":
        simulate_picture_cohort(folder, recipe["patients"], recipe["seed"], **options)
    else:
        modality, world = recipe["modality"], recipe.get("world", "nema")  # recipes older than worlds name none
        simulate_cohort(folder, recipe["patients"], recipe["seed"], modality=modality, world=world, **options)
    datalist = datalist_of(recipe, folder)
    return {"datalist_sha256": datalist_hash(datalist), "content_sha256": content_hash(datalist)}


def record_hashes(path: Path, hashes: dict[str, str]) -> None:
    """Write hashes into a recipe, leaving the rest of its text alone."""
    text = path.read_text("utf-8")
    for key, value in hashes.items():
        text = re.sub(rf"(?m)^{key}:.*$", f"{key}: '{value}'", text)  # unquoted, 12e3… would be a number
    write_bytes(path, text.encode())


def main() -> int:
    """Make, check, report."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("recipe", type=Path, help="a file of results/cohorts")
    parser.add_argument("out", type=Path, help="the cohort's folder; an unfinished one is gone on with")
    parser.add_argument("--workers", type=int, default=1, help="number of processes")
    parser.add_argument("--record", action="store_true", help="write the hashes into the recipe, once per version")
    options = parser.parse_args()
    try:
        recipe = read_recipe(options.recipe)
        hashes = make(recipe, options.out, options.workers)
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    different = [key for key, value in hashes.items() if recipe[key] not in (None, value)]
    for key, value in hashes.items():
        remark = f"not {recipe[key]}, which is recorded" if key in different else "as recorded"
        print(f"{key}: {value} ({'none is recorded yet' if recipe[key] is None else remark})")
    if options.record:
        record_hashes(options.recipe, hashes)
        return 0
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())
