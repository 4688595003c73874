from __future__ import annotations

import json

import nibabel as nib
import numpy as np
import pytest
from pydicom.sr.codedict import codes
from scipy import ndimage

from bonemets.anatomy import REGIONS, load_atlas, place_atlas
from bonemets.anatomy.atlas import ATLAS_FILE, CERTAIN, choose_name, save_atlas
from bonemets.anatomy.average import unwarp, warp
from bonemets.anatomy.regions import bone_named, mirrored, with_side
from bonemets.data import read_planar
from bonemets.reporting.study.findings import masks_by_bone, measure_findings
from bonemets.simulation import BONES

PROBES = (
    "skull",
    "L3",
    "rib_right_6",
    "rib_left_6",
    "hip_right",
    "hip_left",
    "humerus_left",
    "femur_right",
    "tibia_left",
)
BONE_OF = {"hip": "hip bone", "C": "cervical spine", "T": "thoracic spine", "L": "lumbar spine", "tibia": "lower leg",
           "fibula": "lower leg", "mandible": "skull", "radius": "forearm", "ulna": "forearm"}  # fmt: skip


def expected(bone: str) -> str:
    """What one of the simulator's bones is called here, "rib_right_6" → "right rib"."""
    side = next((side for side in ("right", "left") if side in bone.split("_")), "")
    stem = bone[0] if bone[0] in "CTL" and bone[1:].isdigit() else bone.split("_")[0]
    return with_side(BONE_OF.get(stem, stem), side)


def is_right(name: str | None, bone: str) -> bool:
    found = bone_named(name) if name else None
    return expected(bone) in (found.label if found else name or "").split(" or ")


@pytest.fixture(scope="module")
def patient(cohort):
    """A scan, and the pixels of a few bones in each view."""
    folder = cohort / "patient_0001"
    scan = read_planar(folder / "scan.dcm")
    maps = [np.squeeze(np.asarray(nib.load(folder / f"{view}_bones.nii.gz").dataobj)) for view in scan.views]
    number = {name: label for label, name in BONES.items()}
    probes = {bone: np.stack([image == number[bone] for image in maps], axis=-1) for bone in PROBES}
    return scan, probes


def names_of(placed, probes) -> dict[str, list[str | None]]:
    return {bone: [view.name(mask[..., i]).name for i, view in enumerate(placed)] for bone, mask in probes.items()}


@pytest.fixture(scope="module")
def names(patient):
    scan, probes = patient
    return names_of(place_atlas(scan.pixels, scan.views, scan.spacing), probes)


def test_bones_have_their_names(names):
    assert all(is_right(name, bone) for bone, both in names.items() for name in both), names


def test_lesions_of_fresh_patients(cohort):
    """Seed 7: none of them is in the cohort that the atlas was made from."""
    right, wrong = 0, []
    for folder in sorted(cohort.glob("patient_*")):
        bones = {
            one["id"]: one["bone"] for one in json.loads((folder / "patient.json").read_text())["parameters"]["lesions"]
        }
        scan = read_planar(folder / "scan.dcm")
        placed = place_atlas(scan.pixels, scan.views, scan.spacing)
        for index, view in enumerate(scan.views):
            lesions = np.squeeze(np.asarray(nib.load(folder / f"{view}_lesions.nii.gz").dataobj))
            for number in np.unique(lesions[lesions > 0]):
                name = placed[index].name(lesions == number).name
                if is_right(name, bones[number]):
                    right += 1
                else:
                    wrong.append((bones[number], name))
    assert right >= 8
    assert len(wrong) <= 0.15 * (right + len(wrong)), wrong


def bones_in(names: dict[str, list[str | None]]) -> dict[str, list[str]]:
    """The bones alone: parts of a bone may be a little more or less certain than in another picture."""
    return {bone: [bone_named(name).label for name in both] for bone, both in names.items()}


def test_a_mirrored_scan_swaps_the_sides(patient, names):
    scan, probes = patient
    flipped = {bone: mask[:, ::-1] for bone, mask in probes.items()}
    found = bones_in(names_of(place_atlas(scan.pixels[:, ::-1], scan.views, scan.spacing), flipped))
    for bone, both in bones_in(names).items():
        swapped = [n.replace("right", "#").replace("left", "right").replace("#", "left") for n in both]
        assert found[bone] == swapped


def test_a_shifted_scan_keeps_the_names(patient, names):
    scan, probes = patient

    def shifted(image: np.ndarray) -> np.ndarray:
        # To the patient's right, which is left in the anterior and right in the posterior view.
        views = (np.pad(image[..., i], ((60, 0), side)) for i, side in enumerate(((0, 14), (14, 0))))
        return np.stack(list(views), axis=-1)

    moved = {bone: shifted(mask) for bone, mask in probes.items()}
    found = names_of(place_atlas(shifted(scan.pixels), scan.views, scan.spacing), moved)
    assert bones_in(found) == bones_in(names)


def test_a_scan_with_other_pixels_keeps_the_names(patient, names):
    scan, probes = patient
    # 512 × 128 pixels of 4.52 mm.
    half = scan.pixels.reshape(512, 2, 128, 2, 2).sum(axis=(1, 3))
    masks = {bone: mask[::2, ::2] for bone, mask in probes.items()}
    spacing = tuple(2 * size for size in scan.spacing)
    assert bones_in(names_of(place_atlas(half, scan.views, spacing), masks)) == bones_in(names)


def test_one_view_is_enough(patient, names):
    scan, probes = patient
    for index, view in enumerate(scan.views):
        (placed,) = place_atlas(scan.pixels[..., [index]], (view,), scan.spacing)
        assert all(is_right(placed.name(mask[..., index]).name, bone) for bone, mask in probes.items())


@pytest.mark.parametrize(("first", "last"), [(130, 386), (0, 300), (250, 600)])
def test_a_part_of_a_body_gets_right_names_or_none(patient, first, last):
    scan, probes = patient
    placed = place_atlas(scan.pixels[first:last], scan.views, scan.spacing)
    whole = {
        bone: mask[first:last] for bone, mask in probes.items() if not mask[:first].any() and not mask[last:].any()
    }
    assert whole
    for index, view in enumerate(placed):
        for bone, mask in whole.items():
            assert view is None or is_right(view.name(mask[..., index]).name, bone)


def test_what_is_no_bone_scan_gets_no_names(patient):
    scan, _ = patient
    noise = np.random.default_rng(0).poisson(5, scan.pixels.shape)
    others = (noise, scan.pixels[::-1], scan.pixels.swapaxes(0, 1), scan.pixels * 0, scan.pixels[:20], scan.pixels[:99])
    assert all(place_atlas(pixels, scan.views, scan.spacing) == [None, None] for pixels in others)


def test_an_unnamed_view_is_recognized_and_has_no_sides(patient):
    scan, probes = patient
    for index, view in enumerate(scan.views):
        (placed,) = place_atlas(scan.pixels[..., [index]], ("unknown",), None)
        assert placed.view == view
        assert placed.name(probes["femur_right"][..., index]).name in ("femur", "femoral shaft")


def test_the_same_scan_gives_the_same_place(patient):
    scan, _ = patient
    first, second = (place_atlas(scan.pixels, scan.views, scan.spacing)[0].placement for _ in range(2))
    np.testing.assert_array_equal(first.parameters, second.parameters)


def test_findings_say_their_bones_and_part_the_mask(patient):
    scan, probes = patient
    mask = np.zeros(scan.shape, np.uint8)
    for bone in ("L3", "femur_right"):
        row, column, _ = (int(value) for value in ndimage.center_of_mass(probes[bone][..., [1]]))
        mask[row - 3 : row + 4, column - 3 : column + 4, 1] = 1
    findings = measure_findings(scan.pixels, mask / 2, mask, scan.views, scan.spacing)
    assert [finding.bone for finding in findings] == ["lumbar spine", "right femoral shaft"]
    assert all(CERTAIN <= finding.as_dict()["bone_probability"] <= 1 for finding in findings)
    parts = masks_by_bone(mask, [finding.bone for finding in findings])
    assert list(parts) == ["lumbar spine", "right femoral shaft"]
    np.testing.assert_array_equal(sum(part.astype(int) for part in parts.values()), mask)
    (unnamed, _) = measure_findings(scan.pixels, mask / 2, mask, scan.views, scan.spacing, name_bones=False)
    assert (unnamed.bone, unnamed.bone_probability) == (None, None)


def chances_of(**shares: float) -> np.ndarray:
    chances = np.zeros(len(REGIONS))
    for name, share in shares.items():
        chances[[with_side(r.name, r.side).replace(" ", "_").replace("-", "_") for r in REGIONS].index(name)] = share
    return chances


@pytest.mark.parametrize(
    ("chances", "name", "probability"),
    [
        (chances_of(right_rib_5_8=0.7, right_scapula=0.3), "right rib 5-8", 0.7),
        (chances_of(right_rib_5_8=0.4, right_rib_1_4=0.4, right_scapula=0.2), "right rib", 0.8),
        (chances_of(right_rib_5_8=0.4, right_scapula=0.5, sacrum=0.1), "right scapula or right rib", 0.9),
        (chances_of(right_rib_5_8=0.2, right_scapula=0.2, sacrum=0.3, left_hand=0.3), "sacrum or left hand", 0.6),
        (chances_of(right_rib_5_8=0.2, right_scapula=0.25, sacrum=0.3, mandible=0.25), None, 0.3),
        (chances_of(), None, 0.0),
    ],
)
def test_the_narrowest_name_that_is_certain(chances, name, probability):
    found = choose_name(chances)
    assert found.name == name
    assert found.probability == pytest.approx(probability)


def test_without_sides_both_count_together():
    chances = chances_of(right_rib_5_8=0.35, left_rib_5_8=0.35, sacrum=0.3)
    assert choose_name(chances, sides=False).name == "rib 5-8"
    assert choose_name(chances).name == "right rib or left rib"


def test_every_name_has_a_code():
    for number, region in enumerate(REGIONS):
        assert getattr(codes.SCT, region.code).scheme_designator == "SCT"
        assert bone_named(with_side(region.name, region.side)).code == region.code
        other = REGIONS[mirrored(number)]
        assert (other.name, {region.side, other.side}) in ((region.name, {""}), (region.name, {"right", "left"}))
        assert mirrored(mirrored(number)) == number
    assert bone_named("right rib 5-8") == bone_named("right rib")
    assert bone_named("right rib or right scapula") is None


def test_the_shipped_atlas(tmp_path):
    atlas = load_atlas()
    assert ATLAS_FILE.stat().st_size <= 300_000
    assert atlas.provenance["datalist_sha256"]
    totals = atlas.chances.astype(int).sum(axis=1)
    # Left sides are the mirror image: right and left together make up 1 where a bone is, rounded.
    right = atlas.chances[:, 10:].astype(int).sum(axis=1)
    totals = totals + right[:, :, ::-1]
    assert np.isin(totals.ravel(), [0, *range(245, 266)]).all()
    save_atlas(tmp_path / "again.npz", atlas)
    assert (tmp_path / "again.npz").read_bytes() == ATLAS_FILE.read_bytes()


def test_unwarp_is_the_inverse_of_warp():
    average = load_atlas().average
    parameters = average.mean * (1.1, 1.0, 0.9) + (40.0, 12.0, 0.0)
    parameters[3] += (5.0, -8.0, 0.1)
    row, column = warp(average, parameters)
    inside = (average.rows >= average.knots[0]) & (average.rows <= average.knots[-1])
    u, x = unwarp(average, parameters, np.repeat(row[inside], column.shape[1]), column[inside].ravel())
    np.testing.assert_allclose(u, np.repeat(average.rows[inside], column.shape[1]), atol=1e-6)
    np.testing.assert_allclose(x, np.tile(average.columns, inside.sum()), atol=1e-6)
