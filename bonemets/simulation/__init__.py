"""Simulated whole-body bone scans: skeleton → posed body → uptake and lesions → gamma camera → truth."""

from __future__ import annotations

from bonemets.simulation.anatomy import BONES, REGIONS
from bonemets.simulation.skeleton import Skeleton, load_skeleton
from bonemets.simulation.study import SIMULATION_VERSION, SimulatedStudy, simulate_study, target_label

__all__ = [
    "BONES",
    "REGIONS",
    "SIMULATION_VERSION",
    "SimulatedStudy",
    "Skeleton",
    "load_skeleton",
    "simulate_study",
    "target_label",
]
