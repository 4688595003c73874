"""Measure how often the names of bones are right: on the test patients of a simulated cohort.

The lesions are the simulator's, with their true outlines; the atlas is registered to each scan from its counts alone.
Writes results/bone_names.yaml, the tables of docs/reference/bone-names.md and its picture. Two minutes on one core::

    python scripts/simulation/measure_bone_names.py COHORT
"""

from __future__ import annotations

import argparse
import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import data_store
import numpy as np
import yaml
from matplotlib import colormaps
from numpy.typing import NDArray
from PIL import Image

from bone_truth import NONE, point_regions, region_of_spot
from bonemets.anatomy import REGIONS, BoneName, PlacedView, load_atlas, place_atlas
from bonemets.anatomy.atlas import ATLAS_FILE
from bonemets.anatomy.regions import Region, bone_named, with_side
from bonemets.bundle.folders import file_sha256
from bonemets.data import PlanarScan, datalist_hash, read_planar, write_bytes
from bonemets.data.lists.datalist import read_datalist
from bonemets.metrics.evaluation.predictions import read_array
from bonemets.reporting.display import display_gray
from bonemets.simulation import load_skeleton
from bonemets.simulation.patient.subject import draw_subject
from bonemets.simulation.skeleton.skeleton import Skeleton
from bonemets.transforms.crop import thorax_start
from compare_simulation import replace_between

ROOT = Path(__file__).resolve().parents[2]
RESULTS, PAGE = ROOT / "results" / "bone_names.yaml", ROOT / "docs" / "reference" / "bone-names.md"
PICTURE = ROOT / "docs" / "reference" / "images" / "bone_atlas.jpg"
THORAX_ROWS = 256
SETTINGS = {
    "both": "both views of the whole body",
    "anterior_only": "anterior view alone",
    "posterior_only": "posterior view alone",
    "thorax": f"both views, {THORAX_ROWS} rows from the shoulders",
    "view_not_named": "one view that the file does not name",
}
PATIENTS_SHOWN = 2


@dataclass(frozen=True)
class Named:
    """A lesion in a view: where it is, and what it was named.

    Args:
        setting: what was given to the atlas, a key of `SETTINGS`.
        view: the view.
        truth: number of its true region.
        likeliest: number of the region of the highest chance; None where the skeleton was not found.
        name: its name.
    """

    setting: str
    view: str
    truth: int
    likeliest: int | None
    name: BoneName

    @property
    def region(self) -> Region:
        """The true region."""
        return REGIONS[self.truth]

    @property
    def is_right(self) -> bool:
        """Whether the name is its region's or its bone's, or one of the two bones is."""
        side = "" if self.setting == "view_not_named" else self.region.side
        names = (with_side(self.region.name, side), with_side(self.region.group, side))
        return self.name.name is not None and (self.name.name in names or names[1] in self.name.name.split(" or "))


def measure_patient(folder: Path, seed: int, skeleton: Skeleton, regions: NDArray[np.uint8]) -> Iterator[Named]:
    """All lesions of a patient that can be seen, in every setting."""
    subject = draw_subject(skeleton, seed, int(folder.name.rsplit("_", 1)[1]))
    truth = {spot.id: region_of_spot(spot, regions) for spot in subject.lesions}
    scan = read_planar(folder / "scan.dcm")
    maps = [np.squeeze(read_array(folder / f"{view}_lesions.nii.gz")[0]) for view in scan.views]
    lesions = np.stack(maps, axis=-1)
    if not lesions.any():
        return
    top = thorax_start(scan.pixels[None], THORAX_ROWS)
    rows = np.s_[top : top + THORAX_ROWS]
    pixels = scan.pixels
    given: list[tuple[str, tuple[str, ...], list[PlacedView | None], NDArray]] = [
        ("both", scan.views, place_atlas(pixels, scan.views, scan.spacing), lesions),
        ("thorax", scan.views, place_atlas(pixels[rows], scan.views, scan.spacing), lesions[rows]),
    ]
    for index, view in enumerate(scan.views):
        one = pixels[..., [index]]
        alone = lesions[..., [index]]
        given.append((f"{view}_only", (view,), place_atlas(one, (view,), scan.spacing), alone))
        given.append(("view_not_named", (view,), place_atlas(one, ("unknown",), scan.spacing), alone))
    for setting, views, placed, numbers in given:
        for index, view in enumerate(views):
            for number in np.unique(numbers[..., index]):
                if number == 0 or truth[int(number)] == NONE:
                    continue
                atlas, inside = placed[index], numbers[..., index] == number
                if atlas is None:
                    yield Named(setting, view, truth[int(number)], None, BoneName(None, 0.0))
                else:
                    likeliest = int(atlas.chances(inside).mean(axis=1).argmax())
                    yield Named(setting, view, truth[int(number)], likeliest, atlas.name(inside))


def share(part: float, whole: int) -> float | None:
    """A share, rounded; None of nothing."""
    return round(part / whole, 4) if whole else None


def summarize(lesions: list[Named]) -> dict[str, Any]:
    """What is known of some lesions' names."""
    named = [lesion for lesion in lesions if lesion.name.name]
    placed = [lesion for lesion in lesions if lesion.likeliest is not None]
    likeliest = [(lesion.region, REGIONS[lesion.likeliest]) for lesion in placed if lesion.likeliest is not None]
    same_bone = sum((a.group, a.side) == (b.group, b.side) for a, b in likeliest)
    return {
        "lesions": len(lesions),
        "skeleton_found": len(placed),
        "named": len(named),
        "named_with_two_bones": sum(bone_named(str(lesion.name.name)) is None for lesion in named),
        "right": sum(lesion.is_right for lesion in named),
        "right_share_of_named": share(sum(lesion.is_right for lesion in named), len(named)),
        "likeliest_region_is_right": share(sum(a == b for a, b in likeliest), len(placed)),
        "likeliest_bone_is_right": share(same_bone, len(placed)),
        "wrong_side": sum(a.side != b.side and bool(a.side and b.side) for a, b in likeliest),
    }


def report(lesions: list[Named]) -> dict[str, Any]:
    """All numbers."""
    both = [lesion for lesion in lesions if lesion.setting == "both"]
    by_bone: dict[str, list[Named]] = defaultdict(list)
    for lesion in both:
        by_bone[lesion.region.group].append(lesion)
    errors = Counter(
        (with_side(lesion.region.name, lesion.region.side), lesion.name.name)
        for lesion in both
        if lesion.name.name and not lesion.is_right
    )
    edges = (0.6, 0.7, 0.8, 0.9, 1.001)
    named = [lesion for lesion in both if lesion.name.name]
    bins = [
        [one for one in named if low <= one.name.probability < high]
        for low, high in zip(edges, edges[1:], strict=False)
    ]
    return {
        "settings": {name: summarize([one for one in lesions if one.setting == name]) for name in SETTINGS},
        "views": {view: summarize([one for one in both if one.view == view]) for view in ("anterior", "posterior")},
        "bones": {name: summarize(found) for name, found in sorted(by_bone.items(), key=lambda item: -len(item[1]))},
        "probability": [
            {
                "from": low,
                "named": len(found),
                "mean_probability": round(float(np.mean([one.name.probability for one in found])), 4)
                if found
                else None,
                "right_share": share(sum(one.is_right for one in found), len(found)),
            }
            for low, found in zip(edges, bins, strict=False)
        ],
        "wrong_names": [
            {"true": true, "named": wrong, "lesions": count} for (true, wrong), count in errors.most_common()
        ],
    }


def table_lines(results: dict[str, Any]) -> list[str]:
    """The page's tables in Markdown."""

    def row(name: str, one: dict[str, Any]) -> str:
        shares = [one[key] for key in ("right_share_of_named", "likeliest_region_is_right", "likeliest_bone_is_right")]
        texts = ["–" if value is None else f"{100 * value:.1f} %" for value in shares]
        named = f"{one['named']} ({one['named_with_two_bones']})"
        return f"| {name} | {one['lesions']} | {named} | {' | '.join(texts)} | {one['wrong_side']} |"

    head = (
        "| {} | Lesions | Named (with two bones) | Right, of the named | Likeliest region right "
        "| Likeliest bone right | Wrong side |"
    )
    rule = "|---|---|---|---|---|---|---|"
    lines = [
        f"{results['patients']} test patients (simulated), outlines of the simulator, atlas of "
        f"{results['atlas']['patients']} training patients.",
        "",
        head.format("What the atlas was registered to"),
        rule,
        *(row(text, results["settings"][name]) for name, text in SETTINGS.items()),
        "",
        head.format("Whole body, both views"),
        rule,
        *(row(view, one) for view, one in results["views"].items()),
        *(row(bone, one) for bone, one in results["bones"].items()),
        "",
        "| Chance given with the name | Named | Mean chance | Right |",
        "|---|---|---|---|",
    ]
    for one in results["probability"]:
        if one["named"]:
            lines.append(
                f"| from {one['from']} | {one['named']} | {one['mean_probability']:.2f} | {one['right_share']:.2f} |"
            )
    lines += ["", "| True region | Wrong name | Lesions |", "|---|---|---|"]
    lines += [f"| {one['true']} | {one['named']} | {one['lesions']} |" for one in results["wrong_names"]]
    return lines


def region_picture(scan: PlanarScan) -> NDArray[np.uint8]:
    """Both views of a scan, with the likeliest bone at each place in color."""
    groups = list(dict.fromkeys((region.group, region.side) for region in REGIONS))
    colors = (255 * colormaps["tab20"](np.arange(len(groups)) * 7 % 20)[:, :3]).astype(np.float32)
    color_of = colors[[groups.index((region.group, region.side)) for region in REGIONS]]
    tiles = []
    for index, atlas in enumerate(place_atlas(scan.pixels, scan.views, scan.spacing)):
        gray = np.repeat(display_gray(scan.pixels[..., index])[..., None], 3, axis=2).astype(np.float32)
        if atlas is not None:
            chances = atlas.chances(np.ones(gray.shape[:2], bool))
            known = (chances.sum(axis=0) > 0.5).reshape(gray.shape[:2])
            tint = color_of[chances.argmax(axis=0)].reshape(gray.shape)
            gray[known] = 0.62 * gray[known] + 0.38 * tint[known]
        tiles.append(gray)
    return np.concatenate(tiles, axis=1).astype(np.uint8)


def draw(folders: list[Path]) -> None:
    """The page's picture: the real scan, and a few simulated ones."""
    real = read_planar(Path(data_store.__file__).parent / "data" / "JPEG-LL.dcm")
    tiles = [region_picture(scan) for scan in (real, *(read_planar(folder / "scan.dcm") for folder in folders))]
    PICTURE.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.concatenate(tiles, axis=1)).save(PICTURE, quality=80)


def main() -> None:
    """Measure, and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cohort", type=Path, help="folder of a simulated cohort of bone scans")
    parser.add_argument("--patients", type=int, help="only so many test patients; then nothing is written")
    arguments = parser.parse_args()
    datalist = arguments.cohort / "datalist.json"
    facts = json.loads((arguments.cohort / "cohort.json").read_text("utf-8"))
    names = sorted({item["patient"] for item in read_datalist(datalist)["testing"]})[: arguments.patients]
    skeleton = load_skeleton()
    regions = point_regions(skeleton)
    lesions: list[Named] = []
    for done, name in enumerate(names, start=1):
        lesions += measure_patient(arguments.cohort / name, facts["seed"], skeleton, regions)
        print(f"\r{done} of {len(names)} patients", end="", flush=True)
    results = {
        "what": "names of bones on the test patients of the cohort (scripts/simulation/measure_bone_names.py)",
        "data": f"simulated bone scans, seed {facts['seed']}",
        "patients": len(names),
        "datalist_sha256": datalist_hash(datalist),
        "atlas": {**load_atlas().provenance, "sha256": file_sha256(ATLAS_FILE)},
        **report(lesions),
    }
    lines = table_lines(results)
    print("\n" + "\n".join(lines))
    if arguments.patients is None:
        write_bytes(RESULTS, yaml.safe_dump(results, sort_keys=False, allow_unicode=True).encode("utf-8"))
        replace_between(PAGE, "bone names", lines)
        draw([arguments.cohort / name for name in names[:PATIENTS_SHOWN]])


if __name__ == "__main__":
    main()
