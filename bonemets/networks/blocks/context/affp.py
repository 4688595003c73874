"""AFFP: adaptive feature fusion and pooling, in the place of ASPP."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from bonemets.networks.blocks.context.aspp import ImagePooling
from bonemets.networks.blocks.context.frm import FRM
from bonemets.networks.blocks.context.fsm import FSM
from bonemets.networks.blocks.context.parallel_branches import ParallelBranches
from bonemets.networks.blocks.context.sppm import SPPM
from bonemets.networks.blocks.layers.convolutions import ConvBNReLU


class AFFP(ParallelBranches):
    """Five branches: 1×1 convolution, three times FSM then FRM with growing dilation, and SPPM.

    MFP-DeepLabv3+, section 2.1.

    Deviations:
        - The FSM-FRM branches keep their 320 channels and end without normalization; with the others' 256 the
          concatenation has 1,472 channels. This is what gives 4,553,554 and 4,882,258 in table 1, exactly.
        - Dilations 6, 12 and 18 are ASPP's; the paper gives none, and they carry no parameters.

    Args:
        in_channels: channels in, a multiple of 4.
        out_channels: channels out.
        dilations: of the three FRMs, in pixels of the map.
        weighting: whether FRM weights its paths (False: row "FSM" of table 1).
        sppm: whether the last branch is SPPM (False: ASPP's image pooling, rows "FSM" and "FSC+FSM" of table 1).
        gate: FSM's gate, ``hard`` or ``soft``.
        frm_scale: whether FRM's weights are multiplied by their number.
        attention: makes an attention for each branch; None for none.
    """

    def __init__(
        self,
        in_channels: int = 320,
        out_channels: int = 256,
        dilations: tuple[int, ...] = (6, 12, 18),
        weighting: bool = True,
        sppm: bool = True,
        gate: str = "hard",
        frm_scale: bool = False,
        attention: Callable[[int], nn.Module] | None = None,
    ) -> None:
        branches: list[nn.Module] = [ConvBNReLU(in_channels, out_channels, 1)]
        for dilation in dilations:
            branches.append(
                nn.Sequential(FSM(in_channels, gate=gate), FRM(in_channels, dilation, weighting, frm_scale))
            )
        branches.append(SPPM(in_channels, out_channels) if sppm else ImagePooling(in_channels, out_channels))
        widths = [out_channels, *[in_channels] * len(dilations), out_channels]
        super().__init__(branches, widths, out_channels, attention)
