"""Comparators that MONAI has: U-Net++, Attention U-Net, SegResNet, DynUNet; with any image size and ``dropout=``."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from monai.networks.nets import AttentionUnet as MonaiAttentionUnet
from monai.networks.nets import BasicUNetPlusPlus as MonaiUNetPlusPlus
from monai.networks.nets import DynUNet as MonaiDynUNet
from monai.networks.nets import SegResNet as MonaiSegResNet
from torch import nn

from bonemets.networks.blocks.layers.padding import crop_to, pad_to_multiple
from bonemets.networks.checks import check_channels, check_dropout, check_integers, check_positive_integer


class Padded(nn.Module):
    """Run a network on images of any size.

    Args:
        network: maps images whose sides are multiples of ``stride`` to logits.
        stride: in pixels.
        least: smallest height and width, in pixels.
    """

    def __init__(self, network: nn.Module, stride: int, least: int = 0) -> None:
        super().__init__()
        self.network = network
        self.stride = stride
        self.least = least

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map images (B, in_channels, H, W) of any size to logits (B, out_channels, H, W)."""
        height, width = x.shape[-2], x.shape[-1]
        out = self.network(pad_to_multiple(x, self.stride, self.least))
        return crop_to(out, height, width)


class _FirstOf(nn.Module):
    """The only output of a network that returns a list of one."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (B, C, H, W) to the list's only element."""
        return self.network(x)[0]


class UNetPlusPlus(Padded):
    """U-Net++ (Zhou et al., IEEE TMI 2020), MONAI's ``BasicUNetPlusPlus`` in 2-D without deep supervision.

    Args:
        in_channels: channels of the image.
        out_channels: channels of the logits.
        features: five widths from top to bottom, and that of the last up-sampling.
        dropout: rate in every convolution; None for none.

    Raises:
        ValueError: if an argument is not allowed; the message says which and what is.
    """

    def __init__(
        self,
        in_channels: int = 1,
        out_channels: int = 1,
        features: Sequence[int] = (32, 64, 128, 256, 512, 32),
        dropout: float | None = None,
    ) -> None:
        check_channels(in_channels, out_channels)
        widths = check_integers("features", features, lengths=(6,))
        network = MonaiUNetPlusPlus(2, in_channels, out_channels, widths, dropout=check_dropout(dropout))
        # Heads of the other depths have no part in the output; without gradients they would stop distributed training.
        network.final_conv_0_1 = network.final_conv_0_2 = network.final_conv_0_3 = nn.Identity()
        super().__init__(_FirstOf(network), stride=16, least=32)


class AttentionUNet(Padded):
    """Attention U-Net (Oktay et al., MIDL 2018), MONAI's ``AttentionUnet`` in 2-D.

    Args:
        in_channels: channels of the image.
        out_channels: channels of the logits.
        features: widths from top to bottom.
        dropout: rate in every convolution; None for none.

    Raises:
        ValueError: if an argument is not allowed; the message says which and what is.
    """

    def __init__(
        self,
        in_channels: int = 1,
        out_channels: int = 1,
        features: Sequence[int] = (64, 128, 256, 512, 1024),
        dropout: float | None = None,
    ) -> None:
        check_channels(in_channels, out_channels)
        widths = check_integers("features", features, lengths=range(2, 8))
        strides = [2] * (len(widths) - 1)
        network = MonaiAttentionUnet(2, in_channels, out_channels, widths, strides, dropout=check_dropout(dropout))
        super().__init__(network, stride=2 ** len(strides))


class SegResNet(Padded):
    """SegResNet (Myronenko, BrainLes 2018), MONAI's, in 2-D.

    Args:
        in_channels: channels of the image.
        out_channels: channels of the logits.
        features: width of the first stage, a multiple of 8; it doubles three times.
        dropout: rate behind the first convolution; None for none.

    Raises:
        ValueError: if an argument is not allowed; the message says which and what is.
    """

    def __init__(
        self, in_channels: int = 1, out_channels: int = 1, features: int = 32, dropout: float | None = None
    ) -> None:
        check_channels(in_channels, out_channels)
        check_positive_integer("features", features)
        if features % 8:
            raise ValueError(f"features={features!r} is not valid; allowed: a multiple of 8.")
        rate = check_dropout(dropout)
        network = MonaiSegResNet(2, features, in_channels, out_channels, dropout_prob=rate or None)
        super().__init__(network, stride=8)


class DynUNet(Padded):
    """nnU-Net's 2-D network for 256×256 images (Isensee et al., Nature Methods 2021), MONAI's ``DynUNet``.

    Args:
        in_channels: channels of the image.
        out_channels: channels of the logits.
        features: widths from top to bottom.
        dropout: rate in every convolution; None for none.

    Raises:
        ValueError: if an argument is not allowed; the message says which and what is.
    """

    def __init__(
        self,
        in_channels: int = 1,
        out_channels: int = 1,
        features: Sequence[int] = (32, 64, 128, 256, 512, 512, 512),
        dropout: float | None = None,
    ) -> None:
        check_channels(in_channels, out_channels)
        widths = check_integers("features", features, lengths=range(3, 9))
        strides = [1, *[2] * (len(widths) - 1)]
        kernels = [3] * len(widths)
        rate = check_dropout(dropout)
        network = MonaiDynUNet(
            2, in_channels, out_channels, kernels, strides, strides[1:], widths, dropout=rate or None
        )
        # Instance normalization needs more than one pixel, so the bottom map must be at least 2×2 in training.
        stride = 2 ** (len(widths) - 1)
        super().__init__(network, stride, least=2 * stride)
