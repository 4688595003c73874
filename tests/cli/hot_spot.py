"""`inference.yaml` of a bundle that marks what is hot or dense."""

from __future__ import annotations

HOT_SPOT_INFERENCE = {
    "bundle_root": ".",
    "device": "cpu",
    "network_def": {"_target_": "torch.nn.Conv2d", "in_channels": 1, "out_channels": 1, "kernel_size": 1},
    "network": "$@network_def.to(@device)",
    "preprocessing": {
        "_target_": "Compose",
        "transforms": [
            {"_target_": "LoadImaged", "keys": "image", "reader": {"_target_": "bonemets.data.PlanarReader"}},
            {"_target_": "EnsureChannelFirstd", "keys": "image", "channel_dim": "no_channel"},
        ],
    },
    "inferer": {"_target_": "SliceInferer", "roi_size": [256, 256], "spatial_dim": 2, "sw_batch_size": 4},
    "postprocessing": {
        "_target_": "Compose",
        "transforms": [
            {"_target_": "Activationsd", "keys": "pred", "sigmoid": True},
            {"_target_": "AsDiscreted", "keys": "pred", "threshold": 0.5},
        ],
    },
}
