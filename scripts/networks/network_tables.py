"""What the papers print about parameters and multiply-adds, row by row, and the arguments that give our figure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Row:
    """One row: what it is, the constructor's arguments, what is printed, and a remark."""

    label: str
    arguments: dict[str, Any] = field(default_factory=dict)
    published: int | str | None = None
    remark: str = ""


_SINGLE = {"skips": "single", "upsample": "bilinear"}
_RIVALS = ("cbam", "eca", "gam", "lsk", "sge", "simam", "parnet")
_NOT_MATCHED = "not matched; see the deviations"
_RMS = {"cdc": False, "msfe": False, "pyramid": False, "deep_supervision": False}
_PLAIN = {"multi_pooling": False, "non_local": False, "multi_scale": False, "vit": False}
_U_NET = {"dac": None, "rmp": False}

# Parameters: 247.62 KB is a count divided by 1,024.
TABLES: dict[str, list[Row]] = {
    "mfp_deeplabv3plus": [
        Row("Table 1, ASPP", {"context": "aspp", "attention": None, **_SINGLE}, 5_813_266),
        Row("Table 1, FSM", {"context": "fsm", "attention": None, **_SINGLE}, 4_553_554),
        Row("Table 1, FSC+FSM", {"context": "fsm_frm", "attention": None, **_SINGLE}, 4_553_554),
        Row("Table 1, AFFP", {"attention": None, **_SINGLE}, 4_882_258),
        *(Row(f"Table 2, {name}", {"attention": name, **_SINGLE}) for name in _RIVALS),
        Row("Table 5, PSCAN", _SINGLE, 5_325_000, "K per branch fitted to the last 54"),
        Row("Table 3, nearest neighbor", {"upsample": "nearest"}, 5_817_224, _NOT_MATCHED),
        Row("Table 3, DeConv", {"upsample": "deconv"}, 6_886_984, _NOT_MATCHED),
        Row("Table 3, CARAFE", {"upsample": "carafe"}, 6_012_580, _NOT_MATCHED),
        Row("Tables 3 and 5, DySample (full)", {}, 5_633_832, "plainest reading; 32 short"),
    ],
    "multi_attention_unet": [
        Row("Table 7, U-Net", _PLAIN),
        Row("Table 7, ViT", {**_PLAIN, "vit": True}),
        Row("Table 7, multi-scale, ViT", {"multi_pooling": False, "non_local": False}),
        Row("Table 7, non-local, multi-scale, ViT", {"multi_pooling": False}),
        Row("Table 7, all (full)"),
        Row("Table 8, kernels 1, 3", {"kernels": (1, 3)}),
        Row("Table 8, kernels 1, 3, 5, 7", {"kernels": (1, 3, 5, 7)}),
    ],
    "dual_pooling_unet": [
        Row("Table 2, max", {"pooling": "max", **_U_NET}),
        Row("Table 2, average", {"pooling": "average", **_U_NET}),
        Row("Table 2, fusion", _U_NET),
        Row("Table 2, fusion, raw DAC, RMP", {"dac": "raw"}),
        Row("Table 2, fusion, DAC_1, RMP", {"dac": "dac_1"}),
        Row("Table 2, fusion, DAC_2, RMP (full)"),
        Row("full, 32 to 512 channels", {"features": (32, 64, 128, 256, 512)}),
    ],
    "sc_unext": [
        Row("Table 1, UNeXt", {"skip": False, "fuse": False}, "247.62 KB; 0.10 GFLOPs"),
        Row("Table 2, skip", {"fuse": False}),
        Row("Table 2, fuse", {"skip": False}),
        Row("Tables 1 and 2, SC-UNeXt (full)", {}, "243.63 KB; 0.13 GFLOPs", "fitted; more than 100 designs fit"),
    ],
    "msa_net": [
        Row("Table 6, RMS", _RMS),
        Row("Table 6, + pyramid", {**_RMS, "pyramid": True}),
        Row("Table 6, + deep supervision", {"cdc": False, "msfe": False}),
        Row("Table 6, + MSFE", {"cdc": False}),
        Row("Table 6, CDC without MSFE", {"msfe": False}),
        Row("Table 6, all (full generator)", {}, "57 M with the critic", "+ critic 9,386,816 = 57,030,708; fitted"),
    ],
    "deeplabv3plus": [Row("MFP-DeepLabv3+, table 1, ASPP", {}, 5_813_266)],
    "unext": [Row("SC-UNeXt, table 1, UNeXt", {}, "247.62 KB; 0.10 GFLOPs")],
    "unet": [Row("SC-UNeXt, table 1, U-Net", {}, "9.04 MB; 25.06 GFLOPs", "no width or size gives both")],
    "unet3plus": [Row("Huang et al. 2020, table 1", {"in_channels": 3}, "26.97 M")],
    "resunetplusplus": [
        Row("SC-UNeXt, table 1, ResUNet++", {}, "7.67 MB; 19.31 GFLOPs", "no width or size gives both")
    ],
    "dynunet": [Row("MSA-Net's nnU-Net", {}, "45 M", "their plan is not given; this is the 2-D plan for 256×256")],
}
IMAGES: dict[str, tuple[int, int]] = {"mfp_deeplabv3plus": (3, 512), "deeplabv3plus": (3, 512)}
IMAGES |= {"sc_unext": (3, 256), "unext": (3, 256)}
