"""U-Net, plain."""

from __future__ import annotations

from collections.abc import Sequence

from bonemets.networks.nets.dual_pooling_unet import DualPoolingUNet


class UNet(DualPoolingUNet):
    """U-Net (Ronneberger et al., MICCAI 2015) as the bone-scan papers compare with: 31,036,481 parameters.

    Deviations:
        - Batch normalization, and padding that keeps the image's size, as in all of today's versions.

    Args:
        in_channels: channels of the image.
        out_channels: channels of the logits.
        features: widths from top to bottom.
        dropout: rate on the bottom map and before the head; None for none.

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
        super().__init__(in_channels, out_channels, features, pooling="max", dac=None, rmp=False, dropout=dropout)
