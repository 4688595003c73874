"""Who is imaged: sex, age, height and weight, and the random generators of every stage."""

from __future__ import annotations

from typing import Any

import numpy as np

from bonemets.simulation.patient.world import NEMA, World

_STAGES = ("patient", "pose", "body", "uptake", "organs", "benign", "lesions", "acquisition", "noise", "world")


def generators(seed: int, patient: int) -> dict[str, np.random.Generator]:
    """One random generator per stage, so that a draw added to one stage leaves the others as they were.

    Args:
        seed: seed of the cohort.
        patient: index of the patient, from 1.

    Returns:
        Stage → generator.
    """
    return {stage: np.random.default_rng([seed, patient, i]) for i, stage in enumerate(_STAGES)}


def draw_patient(rng: np.random.Generator, world: World = NEMA) -> dict[str, Any]:
    """Draw a patient.

    Age and share of women: 168 patients with lung cancer and bone metastases, 58.2 ± 9.9 years (29 to 81), 39 % women
    (Multi-Attention U-Net for SPECT bone scintigrams, Table 2). Height and body-mass index: chosen, between
    American and East Asian adults.

    Returns:
        ``sex`` (``"F"`` or ``"M"``), ``age_years``, ``height_m``, ``weight_kg`` and ``bmi``.
    """
    female = bool(rng.uniform() < 0.39)
    age = int(np.clip(round(rng.normal(56.7 if female else 59.1, 9.9)), 29, 81))
    height = float(np.clip(rng.normal(world.height_m[0 if female else 1], 0.068), 1.45, 1.95))
    bmi = float(np.clip(world.bmi * rng.lognormal(0.0, 0.165 if female else 0.145), 17.0, 40.0))
    return {
        "sex": "F" if female else "M",
        "age_years": age,
        "height_m": round(height, 3),
        "weight_kg": round(bmi * height**2, 1),
        "bmi": round(bmi, 1),
    }
