"""What made a segmentation or a report, as the objects name it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pydicom.sr.codedict import codes

import bonemets
from bonemets.dicom.source_header import RESEARCH_USE_ONLY, SIMULATED_ONLY

if TYPE_CHECKING:
    from highdicom import AlgorithmIdentificationSequence
    from highdicom.sr import AlgorithmIdentification


@dataclass(frozen=True)
class Algorithm:
    """What made the findings.

    Args:
        name: of the bundle.
        version: its version.
        parameters: what tells this network from others, such as the hash of its weights, by its name.
        simulated_only: whether it has seen simulated patients only, which the objects then say.
    """

    name: str = "bonemets"
    version: str = bonemets.__version__
    parameters: Mapping[str, str] = field(default_factory=dict)
    simulated_only: bool = False

    @property
    def remark(self) -> str:
        """What a person must know of it, in 64 characters."""
        return SIMULATED_ONLY if self.simulated_only else RESEARCH_USE_ONLY

    def in_segmentation(self) -> AlgorithmIdentificationSequence:
        """The sequence by which a segment names it (PS3.3 table 10-19)."""
        import highdicom as hd

        return hd.AlgorithmIdentificationSequence(
            name=self.name,
            version=self.version,
            parameters=dict(self.parameters) or None,
            family=codes.DCM.ArtificialIntelligence,
        )

    def in_report(self) -> AlgorithmIdentification:
        """The content items by which each group of a report names it (PS3.16 TID 4019)."""
        import highdicom as hd

        return hd.sr.AlgorithmIdentification(
            name=self.name,
            version=self.version,
            parameters=[f"{name} {value}" for name, value in self.parameters.items()] or None,
            family=codes.DCM.ArtificialIntelligence,
        )
