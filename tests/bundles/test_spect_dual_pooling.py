from __future__ import annotations

from bundle_tester import BundleTester


class TestSpectDualPooling(BundleTester):
    name = "spect_dual_pooling_segmentation"
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
