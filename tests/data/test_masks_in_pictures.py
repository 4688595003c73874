"""Masks in every kind of picture, and pictures that are stored turned: the right pixels, or a refusal that says why."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from bonemets.data import load_datalist, read_planar
from bonemets.data.adapters import ADAPTERS
from bonemets.data.adapters.base import Options, ProblemsError
from bonemets.data.adapters.labelme import draw_mask
from bonemets.data.label_values import label_values
from bonemets.data.lists.build import build_datalist
from bonemets.data.open_picture import mask_values
from bonemets.data.pictures import read_picture
from bonemets.errors import InputError

SIZE = (30, 20)


def lesion() -> np.ndarray:
    mask = np.zeros(SIZE, np.uint8)
    mask[4:9, 3:7] = 1
    return mask


def in_color(mask: np.ndarray, on: tuple[int, ...], off: tuple[int, ...]) -> np.ndarray:
    return np.where(mask[..., None] == 1, np.array(on), np.array(off)).astype(np.uint8)


def palette(mask: np.ndarray, *colors: tuple[int, int, int]) -> Image.Image:
    image = Image.fromarray(mask, "L")
    image = Image.frombytes("P", image.size, image.tobytes())
    image.putpalette([value for color in colors for value in color])
    return image


MASK = lesion()
RIGHT = {
    "1 bit": Image.fromarray(MASK == 1),
    "0 and 255": Image.fromarray(MASK * 255),
    "0 and 1": Image.fromarray(MASK),
    "16 bits": Image.fromarray(MASK.astype(np.uint16)),
    "gray RGB": Image.fromarray(in_color(MASK, (255,) * 3, (0,) * 3)),
    "opaque RGBA": Image.fromarray(in_color(MASK, (255,) * 4, (0, 0, 0, 255))),
    "transparent black": Image.fromarray(in_color(MASK, (255,) * 4, (0, 0, 0, 0))),
    "palette of grays": palette(MASK, (0, 0, 0), (255, 255, 255)),
    "palette turned round": palette(1 - MASK, (255, 255, 255), (0, 0, 0)),
}
WRONG = {
    "mask in the alpha channel": (Image.fromarray(in_color(MASK, (255,) * 4, (255, 255, 255, 0))), "transparent parts"),
    "LA": (Image.fromarray(in_color(MASK, (255, 255), (255, 0)), "LA"), "transparent parts"),
    "red": (Image.fromarray(in_color(MASK, (255, 0, 0), (0, 0, 0))), r"in color \(\(0, 0, 0\), \(255, 0, 0\)\)"),
    "blue 1": (Image.fromarray(in_color(MASK, (0, 0, 1), (0, 0, 0))), "in color"),
    "palette of colors": (palette(MASK, (0, 0, 0), (128, 0, 0)), "in color"),
    "palette of black": (palette(MASK, (0, 0, 0), (0, 0, 0)), "2 values in 1 colors"),
    "254": (Image.fromarray(MASK * 254), "holds 0, 254"),
    "soft edges": (Image.fromarray((MASK * 255).astype(np.uint8)).resize((40, 60)), "holds 0, "),
    "65535": (Image.fromarray(MASK.astype(np.uint16) * 65535), "holds 0, 65535"),
}


@pytest.mark.parametrize("name", RIGHT)
def test_masks_that_are_right(name, tmp_path):
    RIGHT[name].save(tmp_path / "mask.png")
    np.testing.assert_array_equal(label_values(mask_values(tmp_path / "mask.png"), "mask"), MASK)


@pytest.mark.parametrize("name", WRONG)
def test_masks_that_are_refused(name, tmp_path):
    image, message = WRONG[name]
    image.save(tmp_path / "mask.png")
    with pytest.raises(InputError, match=message) as error:
        label_values(mask_values(tmp_path / "mask.png"), "mask")
    assert "\n" not in str(error.value)


def test_masks_in_cmyk_and_transparent_colors_of_a_palette(tmp_path):
    Image.fromarray(in_color(MASK, (255,) * 3, (0,) * 3)).convert("CMYK").save(tmp_path / "mask.tif")
    np.testing.assert_array_equal(label_values(mask_values(tmp_path / "mask.tif"), "mask"), MASK)
    palette(MASK, (254, 254, 254), (255, 255, 255)).save(tmp_path / "mask.png", transparency=0)
    with pytest.raises(InputError, match="transparent parts"):
        mask_values(tmp_path / "mask.png")


@pytest.mark.parametrize(
    ("value", "right"),
    [(0.99999999977, True), (0.9999, True), (1.0000001, True), (0.998, False), (np.nan, False), (0.5, False)],
)
def test_floats_follow_one_rule_everywhere(value, right, tmp_path):
    from bonemets.labeling.store.masks import label_bytes
    from bonemets.metrics.evaluation.predictions import read_label
    from bonemets.transforms.label import LesionLabel

    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
    affine = np.diag([-2.0, -2.0, 1.0, 1.0])
    texture = np.random.default_rng(0).poisson(8, SIZE).astype(np.uint8)
    image, label = tmp_path / "images/a.nii.gz", tmp_path / "masks/a.nii.gz"
    nib.save(nib.Nifti1Image(texture.T[..., None], affine), image)
    nib.save(nib.Nifti1Image(np.where(MASK.T[..., None] == 1, value, -0.0), affine), label)
    readers = (
        lambda: read_label(label)[0].T,
        lambda: np.asarray(nib.Nifti1Image.from_bytes(_unzipped(label_bytes(image, label)[0])).dataobj)[..., 0].T,
        lambda: LesionLabel()(np.where(MASK == 1, value, 0.0)),
        lambda: build_datalist(tmp_path, ADAPTERS["pairs"], tmp_path / "d.json", folds=1) and MASK,
    )
    for read in readers:
        if right:
            np.testing.assert_array_equal(read(), MASK)
        else:
            with pytest.raises(InputError):
                read()


def _unzipped(content: bytes) -> bytes:
    import gzip

    return gzip.decompress(content)


def stored_turned(pixels: np.ndarray, orientation: int, path: Path) -> None:
    """A JPEG that shows `pixels` once it is turned; EXIF 2.32, section 4.6.4, Orientation."""
    turned = {
        1: pixels, 2: pixels[:, ::-1], 3: pixels[::-1, ::-1], 4: pixels[::-1], 5: pixels.swapaxes(0, 1),
        6: np.rot90(pixels), 7: pixels[::-1, ::-1].swapaxes(0, 1), 8: np.rot90(pixels, -1),
    }[orientation]  # fmt: skip
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(np.ascontiguousarray(turned)).save(path, exif=exif, quality=100, subsampling=0)


def photograph() -> np.ndarray:
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]]
    return np.stack([rows * 8, columns * 12, rows + columns], axis=-1).astype(np.uint8)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["jpg", "png", "tif"])
def test_pictures_are_turned_as_their_camera_says(orientation, suffix, tmp_path):
    path = tmp_path / f"a.{suffix}"
    stored_turned(photograph(), orientation, path)
    assert np.abs(read_picture(path).astype(int) - photograph()).max() <= 4
    gray = photograph() @ [0.299, 0.587, 0.114]
    assert np.abs(read_planar(path).pixels[..., 0] - gray).max() <= 4


@pytest.mark.parametrize(("orientation", "right"), [(1, True), (3, False), (6, True), (2, False)])
def test_a_mask_of_a_turned_picture_is_taken_where_its_size_tells(orientation, right, tmp_path):
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
    stored_turned(photograph(), orientation, tmp_path / "images/a.jpg")
    Image.fromarray(MASK * 255).save(tmp_path / "masks/a.png")
    if right:
        assert build_datalist(tmp_path, ADAPTERS["pairs"], tmp_path / "d.json", folds=1).document["training"]
    else:
        with pytest.raises(ProblemsError) as error:
            build_datalist(tmp_path, ADAPTERS["pairs"], tmp_path / "d.json", folds=1)
        assert "EXIF orientation" in error.value.problems[0].text


SQUARE = [[3, 4], [6, 4], [6, 8], [3, 8]]


def shape(points: list, kind: str = "polygon", label: str = "lesion", group: int | None = None) -> dict:
    return {"label": label, "points": points, "shape_type": kind, "group_id": group, "flags": {}}


def drawn(folder: Path, shapes: list, size: tuple | None = SIZE, picture: Image.Image | None = None, **options):
    (picture or Image.fromarray(photograph())).save(folder / "a.png")
    height, width = size or (None, None)
    document = {"shapes": shapes, "imagePath": "a.png", "imageData": None, "imageHeight": height, "imageWidth": width}
    (folder / "a.json").write_text(json.dumps(document))
    output = folder.with_name(f"{folder.name}_out") / "datalist.json"
    build_datalist(folder, ADAPTERS["labelme"], output, folds=1, options=Options(**options))
    return read_planar(load_datalist(output, None)[0]["label"]).pixels[..., 0]


@pytest.mark.parametrize(
    "changed",
    {
        "half": lambda image: image.resize((10, 15)), "double": lambda image: image.resize((40, 60)),
        "cropped": lambda image: image.crop((2, 0, 20, 30)),
        "transposed": lambda image: image.transpose(Image.Transpose.TRANSPOSE),
    }.values(),
)  # fmt: skip
def test_a_picture_that_changed_after_drawing_is_refused(changed, tmp_path):
    picture = changed(Image.fromarray(photograph()))
    with pytest.raises(ProblemsError) as error:
        drawn(tmp_path, [shape(SQUARE)], picture=picture)
    (problem,) = error.value.problems
    assert problem.text.startswith("was drawn on 30 x 20 pixels")
    assert f"{picture.height} x {picture.width}" in problem.text


def test_a_drawing_without_size(tmp_path):
    np.testing.assert_array_equal(drawn(tmp_path, [shape(SQUARE)], size=None), MASK)
    with pytest.raises(ProblemsError) as error:
        drawn(tmp_path, [shape([[x + 60, y] for x, y in SQUARE])], size=None)
    assert "lies outside its picture of 30 x 20" in error.value.problems[0].text


@pytest.mark.parametrize("orientation", [3, 6])
def test_drawings_on_turned_pictures_lie_as_labelme_showed_them(orientation, tmp_path):
    stored_turned(photograph(), orientation, tmp_path / "a.jpg")
    document = {"shapes": [shape(SQUARE)], "imagePath": "a.jpg", "imageData": None, "imageHeight": 30, "imageWidth": 20}
    (tmp_path / "a.json").write_text(json.dumps(document))
    build_datalist(tmp_path, ADAPTERS["labelme"], tmp_path / "list.dat", folds=1)
    label = load_datalist(tmp_path / "list.dat", None)[0]["label"]
    np.testing.assert_array_equal(read_planar(label).pixels[..., 0], MASK)


@pytest.mark.parametrize(
    "shapes",
    {
        "two corners": [shape([[3, 4], [6, 8]], "rectangle")],
        "four corners": [shape(SQUARE, "rectangle")],
        "four corners, other order": [shape([SQUARE[i] for i in (2, 1, 0, 3)], "rectangle")],
        "drawn twice": [shape(SQUARE), shape(SQUARE)],
        "drawn twice in a group": [shape(SQUARE, group=1), shape(SQUARE, group=1)],
        "drawn three times in a group": [shape(SQUARE, group=1)] * 3,
    }.values(),
)
def test_shapes_of_one_lesion(shapes, tmp_path):
    np.testing.assert_array_equal(drawn(tmp_path, shapes), MASK)


def test_a_hole_that_is_drawn_twice_stays_a_hole():
    outer, hole = shape([[2, 2], [15, 2], [15, 15], [2, 15]], group=1), shape([[5, 5], [9, 5], [9, 9], [5, 9]], group=1)
    once = draw_mask([outer, hole], SIZE)
    assert once[7, 7] == 0 and once[3, 3] == 1
    np.testing.assert_array_equal(draw_mask([outer, hole, hole], SIZE), once)


def test_a_label_that_no_shape_has_is_an_error(tmp_path):
    with pytest.raises(InputError, match="no shape is labeled metastasis; the labels are: lesion, spot"):
        drawn(tmp_path, [shape(SQUARE), shape(SQUARE, label="spot")], lesion_labels=("lesion", "metastasis"))
