"""Names of the bones that findings lie in: an atlas, registered to a scan from its pixels alone."""

from bonemets.anatomy.atlas import BoneAtlas, BoneName, PlacedView, load_atlas, place_atlas
from bonemets.anatomy.regions import REGIONS, Region

__all__ = ["REGIONS", "BoneAtlas", "BoneName", "PlacedView", "Region", "load_atlas", "place_atlas"]
