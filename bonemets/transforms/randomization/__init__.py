"""Domain randomization of simulated bone scans: random changes wide enough that a real scan is one more of them.

Tobin et al., "Domain randomization for transferring deep neural networks from simulation to the real world", IROS 2017.
Each file is one idea. All are MONAI `Randomizable` dictionary transforms on counts, (1, H, W), before normalization;
the overlay ``domain_randomization.yaml`` of the bone-scan bundles puts them in their order, with MONAI's own
`RandFlipd` and `Rand2DElasticd` between them.
"""

from bonemets.transforms.randomization.acquisition import RandCountsd
from bonemets.transforms.randomization.benign import RandBenignSpotsd
from bonemets.transforms.randomization.bone_gain import RandBoneGaind
from bonemets.transforms.randomization.display import RandDisplayd
from bonemets.transforms.randomization.field_of_view import RandFieldOfViewd
from bonemets.transforms.randomization.lesions import RandLesionsd
from bonemets.transforms.randomization.organs import RandBladderd, RandInjectiond, RandKidneysd, RandUrined
from bonemets.transforms.randomization.soft_tissue import RandSoftTissued

__all__ = [
    "RandBenignSpotsd",
    "RandBladderd",
    "RandBoneGaind",
    "RandCountsd",
    "RandDisplayd",
    "RandFieldOfViewd",
    "RandInjectiond",
    "RandKidneysd",
    "RandLesionsd",
    "RandSoftTissued",
    "RandUrined",
]
