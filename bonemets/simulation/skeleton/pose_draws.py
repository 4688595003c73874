"""What is drawn of how a patient lies: angles of the joints, proportions, curvature of the spine.

Ranges are chosen by eye against the NEMA NM1 scan unless a source is named.
"""

from __future__ import annotations

from typing import Any

import numpy as np

_MODEL_HEIGHT = 1.715
"""Standing height of the model in meters: bones 0.063 to 1.752, scalp and soles added."""


def draw_joint_angles(patient: dict[str, Any], rng: np.random.Generator) -> dict[str, float]:
    """Arms beside the trunk (farther out in heavy patients), feet turned out and pointed by gravity or strapped."""
    girth = max(0.0, (patient["bmi"] - 22) / 10)
    elevation = rng.uniform(0.02, 0.10) + 0.11 * girth
    strapped = rng.uniform() < 0.4  # many departments tape the feet together
    turned_out = rng.uniform(-0.08, 0.06) if strapped else rng.uniform(-0.28, -0.06)
    apart = rng.uniform(-0.045, 0.015)
    angles: dict[str, float] = {}
    for side in ("r", "l"):
        angles |= {
            f"shoulder_elv_{side}": float(max(0.0, elevation + rng.normal(0, 0.02))),
            f"shoulder_rot_{side}": float(rng.normal(0.0, 0.12)),
            f"elbow_flexion_{side}": float(rng.uniform(0.08, 0.40)),
            f"pro_sup_{side}": float(rng.uniform(0.1, 1.3)),
            f"deviation_{side}": float(rng.normal(0.05, 0.06)),
            f"hip_adduction_{side}": float(apart + rng.normal(0, 0.012)),
            f"hip_rotation_{side}": float(turned_out + rng.normal(0, 0.05)),
            f"knee_angle_{side}": float(rng.uniform(0.0, 0.12)),
            f"ankle_angle_{side}": float(rng.uniform(-0.65, -0.25)),
            f"mtp_angle_{side}": float(rng.normal(0.0, 0.08)),
        }
    for side in ("r", "l"):
        curl = rng.uniform(0.1, 0.6)  # relaxed fingers
        for finger in range(2, 6):
            angles[f"mcp{finger}_flexion_{side}"] = float(curl * rng.uniform(0.6, 1.0))
            angles[f"pm{finger}_flexion" + ("" if (finger, side) == (4, "r") else f"_{side}")] = float(curl)
    return angles


def vary_posture(angles: dict[str, float], rng: np.random.Generator) -> None:
    """Turn feet far out or in, bend knees over a cushion, let arms lie apart, in place.

    Args:
        angles: what :func:`draw_joint_angles` returned.
        rng: random generator.
    """
    both = rng.uniform(-0.45, 0.20)
    for side in ("r", "l"):
        angles[f"hip_rotation_{side}"] = float(both + rng.normal(0, 0.12))
        angles[f"hip_adduction_{side}"] += float(rng.normal(-0.01, 0.025))
        angles[f"knee_angle_{side}"] = float(rng.uniform(0.0, 0.45))
        angles[f"ankle_angle_{side}"] = float(rng.uniform(-0.6, 0.05))
        angles[f"shoulder_rot_{side}"] += float(rng.normal(0, 0.25))
        angles[f"elbow_flexion_{side}"] += float(rng.uniform(0.0, 0.45))


def draw_proportions(patient: dict[str, Any], rng: np.random.Generator) -> dict[str, float]:
    """Scale factors. Women: narrower shoulders and chest, wider pelvis, smaller head (chosen by eye)."""
    female = patient["sex"] == "F"
    scale = patient["height_m"] / _MODEL_HEIGHT
    legs = rng.normal(0, 0.022)
    collapse = max(0.0, rng.normal(0, 0.02)) * (patient["age_years"] > 60)  # lost vertebral height
    size = {"leg": scale * (1 + legs), "trunk": scale * (1 - 1.2 * legs - collapse)}
    size["head"] = 0.35 * scale + 0.65 * rng.normal(0.985 if female else 1.0, 0.03)
    build = rng.normal(1.0, 0.02) * scale
    size |= {
        "arm": scale * rng.normal(1.0, 0.02),
        "head_width": size["head"] * rng.normal(1.0, 0.035),
        "head_depth": size["head"] * rng.normal(1.0, 0.03),
        "chest_width": build * rng.normal(0.965 if female else 1.0, 0.03),
        "chest_depth": build * rng.normal(0.96 if female else 1.02, 0.05),
        "shoulder_width": build * rng.normal(0.96 if female else 1.02, 0.025),
        "pelvis_width": build * rng.normal(1.05 if female else 0.99, 0.03),
        "limb": build * rng.normal(0.95 if female else 1.02, 0.03),
        "spine_width": build * rng.normal(0.96 if female else 1.02, 0.03),
    }
    return {name: float(value) for name, value in size.items()}


def draw_curvature(patient: dict[str, Any], rng: np.random.Generator) -> dict[str, float]:
    """Amplitudes in meters of a thoracic and a lumbar scoliotic curve and of added kyphosis.

    Scoliosis above 10 degrees affects 13 % of adults below 60 and 36 % above, standing (McAviney 2020,
    10.1007/s00586-020-06453-0); an amplitude of 10 mm over 250 mm is about 14 degrees Cobb. Shares and amplitudes here
    are chosen by eye below those, since lying down straightens the spine.
    """
    marked = rng.uniform() < (0.25 if patient["age_years"] > 60 else 0.08)
    spread = 0.009 if marked else 0.0025
    kyphosis = abs(rng.normal(0, 0.010)) * np.clip((patient["age_years"] - 40) / 30, 0.2, 1.3)
    return {
        "thoracic": float(rng.normal(0, spread)),
        "lumbar": float(rng.normal(0, spread)),
        "lean": float(rng.normal(0, 0.004)),
        "kyphosis": float(kyphosis),
    }
