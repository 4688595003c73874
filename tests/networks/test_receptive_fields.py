"""Receptive fields, measured: which input pixels have a gradient on the middle output pixel."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from bonemets.networks.blocks.attention.lsk import LSK
from bonemets.networks.blocks.context.cdc import CDC, CRAC
from bonemets.networks.blocks.context.dac import DAC
from bonemets.networks.blocks.context.frm import FRM
from bonemets.networks.blocks.context.rfb import RFB
from bonemets.networks.blocks.context.rms import RMS

SIDE = 63


def positive(module: nn.Module) -> nn.Module:
    """All weights positive, so that no gradient cancels and no ReLU closes."""
    for parameter in module.parameters():
        nn.init.constant_(parameter, 0.01)
    return module.double().eval()


def reached(output: torch.Tensor, image: torch.Tensor) -> torch.Tensor:
    """Mask of the input pixels that the middle pixel of any output channel sees."""
    (gradient,) = torch.autograd.grad(output[0, :, SIDE // 2, SIDE // 2].sum(), image, retain_graph=True)
    return (gradient[0] != 0).any(dim=0)


def field(output: torch.Tensor, image: torch.Tensor) -> int:
    rows, columns = torch.nonzero(reached(output, image), as_tuple=True)
    height, width = int(rows.max() - rows.min()) + 1, int(columns.max() - columns.min()) + 1
    assert height == width
    return height


@pytest.fixture
def image() -> torch.Tensor:
    return torch.ones(1, 4, SIDE, SIDE, dtype=torch.float64, requires_grad=True)


def test_cdc_has_the_fields_of_table_2(image):
    fields, x = [], image
    for unit in positive(CDC(4, 4)).units:
        x = unit(x)
        fields.append(field(x, image))
    assert fields == [3, 7, 15, 17, 21, 29]


def test_cdc_leaves_no_holes(image):
    assert int(reached(positive(CDC(4, 4))(image), image).sum()) == 29**2


@pytest.mark.parametrize(("dilations", "expected"), [((1, 2, 4) * 2, 29), ((1, 1, 1) * 2, 13), ((1, 3, 5) * 2, 37)])
def test_crac_follows_its_dilations(image, dilations, expected):
    assert field(positive(CRAC(4, 4, dilations))(image), image) == expected


@pytest.mark.parametrize("share_weights", [True, False])
@pytest.mark.parametrize(
    ("variant", "expected"), [("raw", [3, 7, 9, 19]), ("dac_1", [3, 9, 11, 21]), ("dac_2", [3, 5, 7, 9])]
)
def test_dac_branches(image, variant, share_weights, expected):
    dac = positive(DAC(4, variant, share_weights))
    assert [field(branch, image) for branch in dac.branches(image)] == expected


@pytest.mark.parametrize(("variant", "dense"), [("raw", False), ("dac_2", True)])
def test_only_dac_2_avoids_gridding(image, variant, dense):
    branches = positive(DAC(4, variant)).branches(image)
    assert all(int(reached(branch, image).sum()) == field(branch, image) ** 2 for branch in branches) == dense


def test_rms(image):
    rms = positive(RMS(4, 4))
    first = rms.first(image)
    second = rms.second(first)
    assert [field(map_, image) for map_ in (first, second, rms.third(second))] == [3, 7, 15]


def test_rfb_branches_have_kernel_1_3_5_before_dilation_1_3_5(image):
    rfb = positive(RFB(4, 8))
    before = [branch[:-1](image) for branch in rfb.branches]
    assert [field(map_, image) for map_ in before] == [1, 3, 5]
    assert [field(branch(image), image) for branch in rfb.branches] == [3, 9, 15]


@pytest.mark.parametrize("dilation", [6, 12, 18])
def test_frm_sees_as_far_as_its_dilation(image, dilation):
    assert field(positive(FRM(4, dilation, weighting=False))(image), image) == 1 + 2 * dilation


def test_lsk_looks_23_pixels_far(image):
    lsk = positive(LSK(4))
    assert field(lsk.far(lsk.near(image)), image) == 23
