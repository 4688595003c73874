from __future__ import annotations

from pathlib import Path

import torch
from bundle_tester import BundleTester
from monai.bundle import ConfigParser


class TestSpectMultiAttention(BundleTester):
    name = "spect_multi_attention_segmentation"
    small = {
        "features": [8, 8],
        "batch_size": 4,
        "epochs": 1,
        "crop_size": [96, 96],
        "crop_stride": [96, 96],
    }
    overlays = ("compact", "whole_body", "augment", "early_stopping", "ema", "warm_restart", "gradient_accumulation")
    equal_rows = 1  # table 7, row 5 is table 8, row 2

    def test_rows_of_the_tables(self) -> None:
        rows = sorted(path.stem for path in (self.folder / "configs" / "ablations").glob("*.yaml"))
        assert rows == [
            "figure14_row1_pools_1_2_4",
            "figure14_row2_pools_1_2_4_8_16",
            "table10_row2_empty_crops",
            "table7_row1_unet",
            "table7_row2_vit",
            "table7_row3_multi_scale",
            "table7_row4_non_local",
            "table7_row5_full",
            "table8_row1_kernels_1_3",
            "table8_row2_kernels_1_3_5",
            "table8_row3_kernels_1_3_5_7",
        ]

    def test_crops_that_are_trained_on(self, cohort: Path, tmp_path: Path) -> None:
        """384×160 scans: 4×2 crops of 96×96 each; by default those that show a lesion."""
        counts = {}
        for empty in (False, True):
            workflow = self.workflow("train", ("train",), cohort, tmp_path, empty_crops=empty)
            crops = workflow.parser.get_parsed_content("train::crops")
            assert all(crop["image"].shape == crop["label"].shape == (1, 96, 96) for crop in crops)
            assert all(crop["image"].min() >= 0 and crop["image"].max() <= 1 for crop in crops)
            assert empty or all((crop["label"] == 1).any() for crop in crops)
            counts[empty] = len(crops)
            # A batch is of crops, not of scans.
            batch = next(iter(workflow.parser.get_parsed_content("train::dataloader")))
            assert batch["image"].shape == (4, 1, 96, 96)
            scan = workflow.parser.get_parsed_content("validate::dataset")[0]
            assert scan["image"].shape == (1, 384, 160)
        scans = len(workflow.parser.get_parsed_content("train::dataset"))
        assert counts[True] == 8 * scans
        assert 0 < counts[False] < counts[True]

    def test_a_scan_is_seven_crops_of_the_papers_size(self) -> None:
        parser = ConfigParser(ConfigParser.load_config_files(self.configs("train")))
        item = {"image": torch.rand(1, 1024, 256), "label": torch.zeros(1, 1024, 256)}
        item["label"][0, 500, 100] = 1
        with_lesion = parser.get_parsed_content("crops")(item)
        assert len(with_lesion) == 2  # those from row 256 and from row 384
        for first, crop in zip((256, 384), with_lesion, strict=True):
            assert torch.equal(crop["image"], item["image"][:, first : first + 256])
        parser["empty_crops"] = True
        parser.parse()
        assert len(parser.get_parsed_content("crops")(item)) == 7
