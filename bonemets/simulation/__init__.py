"""Simulated whole-body bone scans: skeleton → posed body → uptake and lesions → gamma camera → truth."""

from __future__ import annotations

from bonemets.simulation.bone_scan.study import SIMULATION_VERSION, SimulatedStudy, simulate_study, target_label
from bonemets.simulation.skeleton.anatomy import BONES, REGIONS
from bonemets.simulation.skeleton.skeleton import Skeleton, load_skeleton

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
