"""MFP-DeepLabv3+: multi-scale feature fusion and parallel attention for bone metastases in CT, and its DeepLabv3+."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from bonemets.networks.blocks.attention.attention import ATTENTIONS, create_attention
from bonemets.networks.blocks.context.affp import AFFP
from bonemets.networks.blocks.context.aspp import ASPP
from bonemets.networks.blocks.context.fsm import GATES
from bonemets.networks.blocks.encoders.mobilenet_v2 import MobileNetV2Encoder
from bonemets.networks.blocks.layers.convolutions import ConvBNReLU
from bonemets.networks.blocks.layers.padding import crop_to, pad_to_multiple
from bonemets.networks.blocks.upsampling.upsampling import UPSAMPLINGS, create_upsampling
from bonemets.networks.checks import check_channels, check_choice, check_dropout

CONTEXTS = ("affp", "fsm_frm", "fsm", "aspp")


class MFPDeepLabV3Plus(nn.Module):
    """DeepLabv3+ on MobileNetV2 with AFFP, PSCAN, multi-level skips and DySample.

    "MFP-DeepLabv3+: A multi-scale feature fusion and parallel attention network for enhanced bone metastasis
    segmentation", sections 2.1 (AFFP), 2.2 (PSCAN) and 2.3 (multi-layer skip connection). With a 512×512 image::

        MobileNetV2 -> 24@128 (shallow), 32@64 (intermediate), 96@32 (deep), 320@32
        320@32 -> AFFP with PSCAN on each branch -> 256@32 -> DySample ×4 -> 256@128
        skips, 1×1 to 48 each; intermediate ×2, deep ×4             -> 3 × 48@128
        concatenation 400 -> 256 (dropout 0.5) -> 256 (dropout 0.1) -> logits@128 -> bilinear ×4

    Deviations:
        - ``out_channels`` is 2, background counted: with 1 the baseline has 5,813,009 parameters, not the 5,813,266 of
          table 1. Convolutions outside of the backbone have a bias, for the same reason.
        - PSCAN stands on each of the five branches before they are concatenated; the text says "the features
          obtained from AFFP". One PSCAN behind AFFP would add 67 thousand parameters, the table adds 442,742.
          ``attention_at="output"`` puts it behind.
        - Table 3's totals cannot all come from one network (nearest neighbor has no parameters, yet its row has 183,392
          more than DySample's). Full model: 5,633,800 here, 5,633,832 printed; CARAFE 6,094,636 and 6,012,580;
          transposed convolution 6,647,624 and 6,886,984; nearest 5,552,616 and 5,817,224.
        - The paper says DeepLabv3+ up-samples by nearest neighbor; the public code up-samples bilinearly, with corners
          aligned, which is what ``upsample="bilinear"`` does.
        - See the deviations of FSM, FRM, SPPM, PSCAN and DySample.

    Args:
        in_channels: channels of the image.
        out_channels: channels of the logits, background included.
        context: ``affp``, ``fsm_frm``, ``fsm`` or ``aspp`` (table 1).
        attention: ``pscan``, a rival of table 2 (``cbam``, ``eca``, ``gam``, ``lsk``, ``sge``, ``simam``, ``parnet``),
            or None.
        attention_at: ``branches`` or ``output``.
        skips: ``multi`` or, as in DeepLabv3+, ``single``.
        upsample: ``dysample``, ``bilinear``, ``nearest``, ``deconv`` or ``carafe`` (table 3).
        gate: FSM's gate, ``hard`` as in the paper or ``soft``.
        frm_scale: whether FRM's small weights are multiplied by their number.
        encoder_weights: file with torchvision's ImageNet weights of MobileNetV2; None for random ones.
        dropout: rate that replaces the paper's 0.5 and 0.1; None keeps them.

    Raises:
        ValueError: if an argument is not allowed; the message says which and what is.
    """

    def __init__(
        self,
        in_channels: int = 3,
        out_channels: int = 2,
        context: str = "affp",
        attention: str | None = "pscan",
        attention_at: str = "branches",
        skips: str = "multi",
        upsample: str = "dysample",
        gate: str = "hard",
        frm_scale: bool = False,
        encoder_weights: str | Path | None = None,
        dropout: float | None = None,
    ) -> None:
        super().__init__()
        check_channels(in_channels, out_channels)
        check_choice("context", context, CONTEXTS)
        check_choice("attention", attention, (*ATTENTIONS, None))
        check_choice("attention_at", attention_at, ("branches", "output"))
        check_choice("skips", skips, ("multi", "single"))
        check_choice("upsample", upsample, UPSAMPLINGS)
        check_choice("gate", gate, GATES)

        make_attention = None if attention is None else partial(create_attention, attention)
        on_branches = make_attention if attention_at == "branches" else None
        self.stride = 16
        self.encoder = MobileNetV2Encoder(in_channels)
        self.context: nn.Module
        if context == "aspp":
            self.context = ASPP(attention=on_branches)
        else:
            self.context = AFFP(
                weighting=context != "fsm",
                sppm=context == "affp",
                gate=gate,
                frm_scale=frm_scale,
                attention=on_branches,
            )
        behind = make_attention if attention_at == "output" else None
        self.attention = nn.Identity() if behind is None else behind(256)
        self.up = create_upsampling(upsample, 256, 4)

        self.multi = skips == "multi"
        self.shallow = ConvBNReLU(24, 48, 1)
        if self.multi:
            self.intermediate = nn.Sequential(ConvBNReLU(32, 48, 1), create_upsampling(upsample, 48, 2))
            self.deep = nn.Sequential(ConvBNReLU(96, 48, 1), create_upsampling(upsample, 48, 4))
        else:
            self.intermediate = nn.Sequential()
            self.deep = nn.Sequential()
        self.fuse = nn.Sequential(
            ConvBNReLU(256 + 48 * (3 if self.multi else 1), 256),
            nn.Dropout(check_dropout(dropout, 0.5)),
            ConvBNReLU(256, 256),
            nn.Dropout(check_dropout(dropout, 0.1)),
        )
        self.head = nn.Conv2d(256, out_channels, 1)
        if encoder_weights is not None:
            self.encoder.load_torchvision(encoder_weights)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map images (B, in_channels, H, W) of any size to logits (B, out_channels, H, W)."""
        height, width = x.shape[-2], x.shape[-1]
        x = pad_to_multiple(x, self.stride)
        shallow, intermediate, deep, last = self.encoder(x)
        maps = [self.up(self.attention(self.context(last))), self.shallow(shallow)]
        if self.multi:
            maps += [self.intermediate(intermediate), self.deep(deep)]
        logits = self.head(self.fuse(torch.cat(maps, dim=1)))
        logits = F.interpolate(logits, size=(x.shape[2], x.shape[3]), mode="bilinear", align_corners=True)
        return crop_to(logits, height, width)
