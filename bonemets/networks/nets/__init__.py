"""Networks: one paper per file."""

from bonemets.networks.nets.comparators.cenet import CENet
from bonemets.networks.nets.comparators.double_unet import DoubleUNet
from bonemets.networks.nets.comparators.monai_networks import AttentionUNet, DynUNet, SegResNet, UNetPlusPlus
from bonemets.networks.nets.comparators.pspnet import PSPNet
from bonemets.networks.nets.comparators.resunetplusplus import ResUNetPlusPlus
from bonemets.networks.nets.comparators.segnet import SegNet
from bonemets.networks.nets.comparators.transunet import TransUNet
from bonemets.networks.nets.comparators.unet import UNet
from bonemets.networks.nets.comparators.unet3plus import UNet3Plus
from bonemets.networks.nets.dual_pooling_unet import DualPoolingUNet
from bonemets.networks.nets.mfp_deeplabv3plus import MFPDeepLabV3Plus
from bonemets.networks.nets.msa_net import MSANet, MSANetCritic
from bonemets.networks.nets.multi_attention_unet import MultiAttentionUNet
from bonemets.networks.nets.sc_unext import SCUNeXt

__all__ = [
    "AttentionUNet",
    "CENet",
    "DoubleUNet",
    "DualPoolingUNet",
    "DynUNet",
    "MFPDeepLabV3Plus",
    "MSANet",
    "MSANetCritic",
    "MultiAttentionUNet",
    "PSPNet",
    "ResUNetPlusPlus",
    "SCUNeXt",
    "SegNet",
    "SegResNet",
    "TransUNet",
    "UNet",
    "UNet3Plus",
    "UNetPlusPlus",
]
