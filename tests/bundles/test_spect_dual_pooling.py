from __future__ import annotations

import json
from pathlib import Path

from bundle_tester import BundleTester
from monai.bundle import ConfigParser
from monai.transforms import SpatialPadd

from bonemets.transforms import CropThoraxd


class TestSpectDualPooling(BundleTester):
    name = "spect_dual_pooling_segmentation"
    torchrun = True
    small = {
        "features": [4, 4, 8, 8, 8],
        "batch_size": 4,
        "epochs": 1,
        "window_size": [96, 96],
        "windows_per_scan": 2,
    }
    overlays = ("compact", "whole_body", "augment", "early_stopping")

    def test_six_rows_of_table_2(self) -> None:
        rows = sorted(path.stem for path in (self.folder / "configs" / "ablations").glob("*.yaml"))
        assert rows == [
            "table2_row1_max",
            "table2_row2_average",
            "table2_row3_fusion",
            "table2_row4_raw",
            "table2_row5_dac_1",
            "table2_row6_dac_2",
        ]

    def test_weights_of_whole_scans_are_evaluated_on_them(self, tmp_path: Path) -> None:
        for overlays, given, kind in (
            (["whole_body"], (), SpatialPadd),
            ([], (), CropThoraxd),
            ([], ("whole_body",), SpatialPadd),
        ):
            (tmp_path / "model.json").write_text(json.dumps({"settings": {"overlays": overlays}}))
            parser = ConfigParser(ConfigParser.load_config_files(self.configs("train", *given, "evaluate")))
            parser.update({"bundle_root": "B", "ckpt_path": str(tmp_path / "model.pt")})
            crop = parser.get_parsed_content("field_of_view")
            assert isinstance(crop, kind)
            assert kind is SpatialPadd or crop.transform.size == (256, 256)
