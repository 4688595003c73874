"""The bundle for skin lesions, on pictures drawn here: skin-colored noise with dark ellipses."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from bundle_tester import BundleTester
from monai.bundle import ConfigParser
from PIL import Image

from bonemets.cli.main import main
from bonemets.data import write_datalist
from bonemets.data.adapters import ADAPTERS, build_datalist

SKIN, LESION = (224, 172, 150), (96, 56, 44)


def lesion_picture(seed: int, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Colors (H, W, 3) and mask (H, W) of one lesion."""
    random = np.random.default_rng(seed)
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    center, radii = np.array(shape) * random.uniform(0.4, 0.6, 2), np.array(shape) * random.uniform(0.15, 0.3, 2)
    mask = ((rows - center[0]) / radii[0]) ** 2 + ((columns - center[1]) / radii[1]) ** 2 < 1
    picture = np.where(mask[..., None], LESION, SKIN) + random.normal(0, 10, (*shape, 3))
    return np.clip(picture, 0, 255).astype(np.uint8), mask.astype(np.uint8)


def save(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


@pytest.fixture(scope="session")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of pictures: four patients for training in two folds, one for testing; two pictures each, of two sizes."""
    folder = tmp_path_factory.mktemp("pictures")
    parts: dict[str, list[dict]] = {"training": [], "testing": []}
    for number in range(1, 6):
        patient = f"patient_{number:04d}"
        for index, shape in enumerate(((72, 100), (90, 66))):
            picture, mask = lesion_picture(10 * number + index, shape)
            label = 255 * mask
            if index:  # 0, 1 and 2: a strip that nobody can judge
                label = mask.copy()
                label[:6] = 2
            save(folder / patient / f"lesion_{index}.jpg", picture)
            save(folder / patient / f"lesion_{index}_label.png", label)
            item = {"image": f"{patient}/lesion_{index}.jpg", "label": f"{patient}/lesion_{index}_label.png"}
            item["patient"] = patient
            if number < 5:
                parts["training"].append({**item, "fold": number % 2})
            else:
                parts["testing"].append(item)
    labels = {"0": "background", "1": "skin lesion", "2": "ignore"}
    write_datalist(folder / "datalist.json", {"name": "phantoms", "numFolds": 2, "labels": labels, **parts})
    return folder


class TestSkinSCUNeXt(BundleTester):
    name = "skin_sc_unext_segmentation"
    small = {"features": [4, 4, 6, 6, 8], "batch_size": 4, "epochs": 1, "image_size": 64}
    overlays = ("compact",)
    image_pattern = "*/*.jpg"
    label_ending = "_label.png"
    mask_ending = "_seg.png"
    first_test_row = "patient_0005/lesion_0.jpg,patient_0005,,"

    def check_mask(self, path: Path, folder: Path) -> None:
        with Image.open(path) as mask, Image.open(folder / path.name.replace("_seg.png", ".jpg")) as picture:
            assert mask.mode == "L"
            assert mask.size == picture.size
            assert set(np.unique(np.asarray(mask)).tolist()) <= {0, 255}

    def test_eight_rows_of_table_2(self) -> None:
        switches, parameters = {}, {}
        for path in sorted((self.folder / "configs" / "ablations").glob("*.yaml")):
            parser = ConfigParser(ConfigParser.load_config_files([*self.configs("train"), str(path)]))
            network = parser.get_parsed_content("network_def")
            edge = parser.get_parsed_content("loss").edge_weight > 0
            found = [word for word, on in (("edge", edge), ("skip", parser["network_def"]["skip"])) if on]
            found += ["fuse"] if parser["network_def"]["fuse"] else []
            switches[path.stem] = "_".join(found)
            parameters[path.stem] = sum(p.numel() for p in network.parameters())
        assert switches == {
            "table2_row1_unext": "", "table2_row2_edge": "edge", "table2_row3_skip": "skip",
            "table2_row4_fuse": "fuse", "table2_row5_edge_skip": "edge_skip", "table2_row6_edge_fuse": "edge_fuse",
            "table2_row7_skip_fuse": "skip_fuse", "table2_row8_all": "edge_skip_fuse",
        }  # fmt: skip
        # Table 1: 247.62 and 243.63 "KB", which are counts divided by 1,024.
        assert parameters["table2_row1_unext"] / 1024 == pytest.approx(247.62, abs=0.005)
        assert parameters["table2_row8_all"] / 1024 == pytest.approx(243.63, abs=0.005)

    def test_rate_falls_along_a_cosine(self) -> None:
        parser = ConfigParser(ConfigParser.load_config_files(self.configs("train")))
        parser["network"] = "@network_def"
        schedule = parser.get_parsed_content("lr_scheduler")
        rates = []
        for _ in range(parser["epochs"] + 1):
            rates.append(schedule.get_last_lr()[0])
            schedule.optimizer.step()
            schedule.step()
        assert (rates[0], rates[200], rates[400]) == pytest.approx((1e-4, 5.5e-5, 1e-5))

    def test_metrics_per_image(self, trained: Path) -> None:
        metrics = self.runs(trained)["first"].data.metrics
        dice, iou = metrics["val_dice_per_image"], metrics["val_iou_per_image"]
        assert 0 <= iou <= dice <= 1
        # A mean of IoUs is at least the IoU of the mean Dice: d / (2 - d) is convex.
        assert iou >= dice / (2 - dice) - 1e-6

    def test_evaluation_is_at_the_pictures_own_size(self, trained: Path, cohort: Path, tmp_path: Path) -> None:
        overrides = {"ckpt_dir": str(trained / "models"), "image_size": 64}
        self.workflow("train", ("train", "evaluate"), cohort, tmp_path, **overrides).run()
        with (tmp_path / "evaluation_test" / "per_image.csv").open() as file:
            rows = list(csv.DictReader(file))
        counted = [sum(int(row[key]) for key in ("tp", "fp", "fn", "tn", "ignored_pixels")) for row in rows]
        assert counted == [72 * 100, 90 * 66]
        assert int(rows[1]["ignored_pixels"]) == 6 * 66
        assert all(0 <= float(row["iou"]) <= float(row["dice"]) for row in rows)
        summary = json.loads((tmp_path / "evaluation_test" / "summary.json").read_text())
        assert summary["scored_at"] == "the pictures' own size"

    def test_isic_2018(self, tmp_path: Path) -> None:
        root = tmp_path / "isic"
        for part, numbers in (("Training", range(4)), ("Test", range(10, 12))):
            for number in numbers:
                picture, mask = lesion_picture(number, (60 + number, 80))
                save(root / f"ISIC2018_Task1-2_{part}_Input" / f"ISIC_{number:07}.jpg", picture)
                save(root / f"ISIC2018_Task1_{part}_GroundTruth" / f"ISIC_{number:07}_segmentation.png", 255 * mask)
        build_datalist(root, ADAPTERS["isic2018"], root / "datalist.json", folds=2, duplicates="ignore")
        state = self.train(root, tmp_path / "out")
        assert state["epoch"] == 1
        self.workflow("train", ("train", "evaluate"), root, tmp_path / "out").run()
        summary = json.loads((tmp_path / "out" / "evaluation_test" / "summary.json").read_text())
        assert summary["images"] == 2

    def test_lung_fields(self, tmp_path: Path) -> None:
        root = tmp_path / "chest"
        for number in range(4):
            random = np.random.default_rng(number)
            gray = random.integers(90, 200, (64, 72), dtype=np.uint8)
            mask = np.zeros((64, 72), dtype=np.uint8)
            mask[10:50, 8:30], mask[10:50, 42:64] = 1, 2  # right lung, left lung
            gray[mask > 0] //= 3
            save(root / "images" / f"chest_{number}.png", gray)
            save(root / "masks" / f"chest_{number}.png", mask)
        build_datalist(root, ADAPTERS["cxr-lung"], root / "datalist.json", folds=2, duplicates="ignore")
        workflow = self.workflow("train", ("train", "lung_fields"), root, tmp_path / "out", image_size=96)
        batch = next(iter(workflow.parser.get_parsed_content("train::dataloader")))
        assert batch["image"].shape[1:] == (3, 96, 96)
        assert torch.equal(batch["label"].unique(), torch.tensor([0, 1], dtype=torch.uint8))
        # Both lungs are one class, and are dark.
        assert batch["label"].float().mean() == pytest.approx(2 * 40 * 22 / (64 * 72), abs=0.1)
        for image, label in zip(batch["image"], batch["label"], strict=True):
            assert image[0][label[0] == 1].mean() < image[0][label[0] == 0].mean()
        workflow.run()
        assert json.loads((tmp_path / "out" / "models" / "model.json").read_text())["epoch"] == 1

    def test_wide_augmentation_moves_image_and_mask_together(self, cohort: Path, tmp_path: Path) -> None:
        workflow = self.workflow("train", ("train", "wide_augmentation"), cohort, tmp_path / "out", seed=3)
        augment = workflow.parser.get_parsed_content("train::preprocessing").flatten()
        augment.set_random_state(seed=3)
        item = workflow.parser.get_parsed_content("train::dataset").data[0]
        areas, tints = [], []
        for _ in range(12):
            made = augment(item)
            image, lesion = made["image"], made["label"][0] == 1
            assert image.shape == (3, 64, 64)
            assert set(made["label"].unique().tolist()) <= {0, 1, 2}
            # The lesion stays the darker part wherever it is moved to, and whatever the colors become.
            assert image[:, lesion].mean() < image[:, made["label"][0] == 0].mean()
            areas.append(float(lesion.float().mean()))
            tints.append(float(image[0].mean() - image[2].mean()))
        assert max(areas) > 1.5 * min(areas)
        assert max(tints) - min(tints) > 0.3

    def test_segment_gives_the_mask_of_inference(self, trained: Path, cohort: Path, tmp_path: Path) -> None:
        weights = trained / "models" / "model.pt"
        picture = cohort / "patient_0005" / "lesion_0.jpg"
        self.workflow("infer", ("inference",), cohort, tmp_path / "masks", **self.inference_overrides(trained)).run()
        arguments = ["segment", str(picture), "-o", str(tmp_path / "out"), "--bundle", str(self.folder)]
        assert main([*arguments, "--weights", str(weights), "--device", "cpu"]) == 0
        import nibabel as nib

        mask = np.asarray(nib.load(tmp_path / "out" / "lesion_0" / "mask.nii.gz").dataobj)[..., 0]
        expected = np.asarray(Image.open(tmp_path / "masks" / "patient_0005" / "lesion_0_seg.png")) > 0
        assert np.array_equal(mask > 0, expected)
