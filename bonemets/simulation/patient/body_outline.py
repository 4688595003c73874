"""The parts of the body's outline, station by station, from bony landmarks, build and fat.

Numbers are meters of soft tissue beyond the bone, chosen by eye and against the XCAT 50th-percentile man (chest 234 mm,
belly 244 mm, pelvis 218 mm deep). ``fat`` is about 0 at a body-mass index of 22 and 1 at 30.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from bonemets.simulation.patient.body_shape import Landmarks, Part, hug, side_bones, stack
from bonemets.simulation.skeleton.anatomy import SIDES


def outline(marks: Landmarks, patient: dict[str, Any], shape: dict[str, float], fat: float) -> list[Part]:
    """All parts for a given amount of fat (0 at a body-mass index of about 22, 1 at about 32)."""
    parts = [_head(marks, fat), _neck(marks, patient, fat), _trunk(marks, patient, shape, fat)]
    for side, sign in zip(SIDES, (-1.0, 1.0), strict=True):
        parts += [*_leg(marks, side, sign, shape, fat), *_arm(marks, side, sign, shape, fat)]
    return parts


def _head(marks: Landmarks, fat: float) -> Part:
    top, chin = marks.high(2, "skull") + 0.006, marks.low(2, "mandible") - 0.008
    low, high = marks.low(0, "skull") - 0.007, marks.high(0, "skull") + 0.007
    front, back = marks.low(1, "skull") - 0.007, marks.high(1, "skull") + 0.007
    x, y = (low + high) / 2, (front + back) / 2
    a, b, cheek = (high - low) / 2, (back - front) / 2, 0.004 * max(fat, 0)
    profile = (  # distance from the vertex to the chin: width, front and back as shares of the greatest
        (0.0, 0.30, 0.30, 0.30),
        (0.05, 0.52, 0.50, 0.52),
        (0.12, 0.73, 0.72, 0.74),
        (0.22, 0.90, 0.90, 0.91),
        (0.35, 1.00, 0.99, 1.00),
        (0.50, 1.00, 1.00, 0.99),
        (0.68, 0.92, 1.03, 0.80),
        (0.85, 0.80, 1.00, 0.50),
        (1.0, 0.55, 0.92, 0.30),
    )
    stations = [
        (top + t * (chin - top), x - a * w - cheek, x + a * w + cheek, y - b * f, y + b * k) for t, w, f, k in profile
    ]
    return stack(marks, "head", stations, power=2.1, fat=0.003, dome=0.022, foot=0.012)


def _neck(marks: Landmarks, patient: dict[str, Any], fat: float) -> Part:
    """Neck and the slope of the trapezius."""
    female = patient["sex"] == "F"
    radius = (0.050 if female else 0.057) + 0.009 * fat
    c2, c5, c7, t3 = (marks.center(bone) for bone in ("C2", "C5", "C7", "T3"))
    shoulders = (marks.low(0, "scapula_right"), marks.high(0, "scapula_left"))
    stations = []
    for center, width, reach in ((c2, 0.95, 0.0), (c5, 0.98, 0.0), (c7, 1.18, 0.10), (t3, 1.7, 0.52)):
        half = radius * width
        left = min(center[0] - half, (1 - reach) * (center[0] - half) + reach * shoulders[0])
        right = max(center[0] + half, (1 - reach) * (center[0] + half) + reach * shoulders[1])
        stations.append((center[2], left, right, center[1] - 0.070 - 0.010 * fat, center[1] + 0.048 + 0.010 * fat))
    return stack(marks, "neck", stations, power=2.0, fat=0.004 + 0.004 * max(fat, 0))


def _trunk(marks: Landmarks, patient: dict[str, Any], shape: dict[str, float], fat: float) -> Part:
    female = patient["sex"] == "F"
    belly, hips = fat * (1 + shape["belly"]), fat * (1 + shape["hips"])
    t1, t4, t8, t12, l3, l5 = (marks.center(bone) for bone in ("T1", "T4", "T8", "T12", "L3", "L5"))
    acromion = (marks.low(0, "scapula_right"), marks.high(0, "scapula_left"))
    shoulder_z = (marks.high(2, "scapula_right") + marks.high(2, "scapula_left")) / 2
    upper = [marks.low(0, "rib_right_3"), marks.high(0, "rib_left_3")]
    chest = [marks.low(0, *(f"rib_right_{i}" for i in (6, 7, 8))), marks.high(0, *(f"rib_left_{i}" for i in (6, 7, 8)))]
    hip = [marks.low(0, "hip_right"), marks.high(0, "hip_left")]
    thigh = [marks.low(0, "femur_right"), marks.high(0, "femur_left")]
    crest, pubis = marks.high(2, "hip_right", "hip_left"), marks.low(2, "hip_right", "hip_left")
    trochanter = (marks.high(2, "femur_right", "femur_left") + pubis) / 2 - 0.01
    ribs_back = marks.high(1, *(f"rib_right_{i}" for i in (6, 7, 8)), *(f"rib_left_{i}" for i in (6, 7, 8)))
    back = max(ribs_back + 0.014 + 0.010 * fat, marks.high(1, "sacrum") + 0.022 + 0.014 * hips)
    sternum, clavicle = marks.low(1, "sternum"), marks.low(1, "clavicle_right", "clavicle_left")
    groin = marks.low(1, "hip_right", "hip_left")
    waist = [(chest[i] + hip[i]) / 2 for i in (0, 1)]
    narrow = -0.014 if female else -0.004

    def wide(edges: Any, pad: float) -> tuple[float, float]:
        return edges[0] - max(pad, 0.007), edges[1] + max(pad, 0.007)

    belly_depth = back - 0.205 - 0.065 * belly
    upper_z = max(t1[2], shoulder_z) + 0.012
    stations = [
        (upper_z, t1[0] - 0.050, t1[0] + 0.050, t1[1] - 0.055, t1[1] + 0.045),
        (shoulder_z - 0.004, 0.72 * acromion[0], 0.72 * acromion[1], clavicle - 0.004, back - 0.030),
        (shoulder_z - 0.035, 0.88 * acromion[0], 0.88 * acromion[1], clavicle - 0.012, back - 0.012),
        (min(t4[2], shoulder_z - 0.075), *wide(upper, 0.034 + 0.010 * fat), sternum + 0.012 - 0.006 * fat, back),
        (t8[2], *wide(chest, 0.021 + 0.017 * fat), sternum - 0.012 - 0.010 * fat, back),
        (t12[2], *wide(chest, 0.015 + 0.024 * belly), sternum - 0.006 - 0.024 * belly, back),
        (l3[2], *wide(waist, 0.014 + narrow + 0.034 * belly), belly_depth, back - 0.004),
        (l5[2], *wide(hip, 0.015 + 0.030 * hips), groin - 0.012 - 0.050 * belly, back),
        (crest - 0.09, *wide(hip, 0.022 + 0.028 * hips), groin - 0.012 - 0.040 * belly, back + 0.004 * hips),
        (trochanter, *wide(thigh, 0.026 + 0.018 * hips), groin - 0.022 - 0.020 * fat, back + 0.004),
        (pubis + 0.010, *wide(thigh, 0.023 + 0.0165 * hips), groin - 0.010, back - 0.004),
        (pubis - 0.110, 0.3 * thigh[0], 0.3 * thigh[1], groin + 0.03, back - 0.030),
    ]
    layer = 0.007 + 0.013 * max(fat, -0.3) + (0.003 if female else 0.0)
    return stack(marks, "trunk", stations, power=2.4, fat=layer, foot=0.02)


def _leg(marks: Landmarks, side: str, sign: float, shape: dict[str, float], fat: float) -> list[Part]:
    femur, tibia, fibula = f"femur_{side}", f"tibia_{side}", f"fibula_{side}"
    bulk = 1 + shape["muscle"] + 0.5 * (shape["hips"] * max(fat, 0))
    hip_z, pubis = marks.high(2, femur), marks.low(2, "hip_right", "hip_left")
    knee, ankle = marks.center(f"patella_{side}"), marks.center(f"talus_{side}")
    points = marks.of(femur)
    outer = marks.high(0, femur) if sign > 0 else marks.low(0, femur)
    condyles = points[points[:, 2] < marks.low(2, femur) + 0.05]
    knee_x, knee_y = (condyles[:, :2].min(axis=0) + condyles[:, :2].max(axis=0)) / 2
    middle_x = 0.5 * (outer + knee_x) - sign * 0.030
    shaft_y = marks.center(femur)[1]

    def around(
        z: float, x: float, y: float, a: float, front: float, back: float
    ) -> tuple[float, float, float, float, float]:
        return (z, x - a, x + a, y - front, y + back)

    groin_a = (abs(outer) + 0.024 + 0.017 * fat * (1 + shape["hips"]) - 0.004) / 2
    groin_x = sign * (groin_a + 0.004)
    third = pubis + (knee[2] - pubis) * np.array([0.0, 0.33, 0.66, 1.0])
    thigh = [
        around(hip_z + 0.01, groin_x, shaft_y, groin_a, 0.060, 0.075),
        around(third[0] - 0.02, groin_x, shaft_y, groin_a, (0.082 + 0.016 * fat) * bulk, (0.090 + 0.018 * fat) * bulk),
        around(
            third[1],
            (groin_x + middle_x) / 2,
            shaft_y,
            (0.077 + 0.011 * fat) * bulk,
            (0.075 + 0.015 * fat) * bulk,
            (0.082 + 0.015 * fat) * bulk,
        ),
        around(
            third[2],
            0.35 * middle_x + 0.65 * knee_x,
            0.5 * (shaft_y + knee_y),
            (0.064 + 0.011 * fat) * bulk,
            (0.058 + 0.010 * fat) * bulk,
            (0.064 + 0.010 * fat) * bulk,
        ),
        around(third[3], knee_x, knee_y, 0.056 + 0.005 * fat, 0.060 + 0.004 * fat, 0.058 + 0.006 * fat),
        around(marks.low(2, femur) - 0.02, knee_x, knee_y, 0.052 + 0.004 * fat, 0.052, 0.058 + 0.005 * fat),
    ]
    shin_top, shin = marks.high(2, tibia), marks.center(tibia, fibula)
    length = shin_top - ankle[2]
    plateau = marks.of(tibia)[marks.of(tibia)[:, 2] > shin_top - 0.03]
    top_x, top_y = (plateau[:, :2].min(axis=0) + plateau[:, :2].max(axis=0)) / 2
    calf = [
        around(shin_top + 0.03, knee_x, knee_y, 0.054 + 0.005 * fat, 0.054, 0.058 + 0.005 * fat),
        around(shin_top - 0.12 * length, top_x, top_y, 0.053 + 0.006 * fat, 0.042, (0.066 + 0.008 * fat) * bulk),
        around(
            shin_top - 0.32 * length,
            0.7 * top_x + 0.3 * ankle[0],
            top_y,
            (0.054 + 0.007 * fat) * bulk,
            0.038,
            (0.074 + 0.008 * fat) * bulk,
        ),
        around(shin_top - 0.60 * length, shin[0], shin[1], 0.043 + 0.006 * fat, 0.036, 0.050 + 0.005 * fat),
        around(shin_top - 0.85 * length, ankle[0], shin[1], 0.036 + 0.003 * fat, 0.034, 0.040),
        around(ankle[2] - 0.02, ankle[0], ankle[1], 0.036 + 0.002 * fat, 0.036, 0.040),
    ]
    layer = 0.005 + 0.008 * max(fat, -0.3)
    feet = side_bones(side, "feet")
    return [
        stack(marks, f"thigh_{side}", thigh, power=2.0, fat=1.5 * layer, dome=0.06),
        stack(marks, f"calf_{side}", calf, power=2.0, fat=layer, foot=0.02),
        hug(marks, f"foot_{side}", marks.of(*feet), (0.009, 0.009, 0.011), fat=0.003, smooth=4),
    ]


def _arm(marks: Landmarks, side: str, sign: float, shape: dict[str, float], fat: float) -> list[Part]:
    humerus, radius, ulna = f"humerus_{side}", f"radius_{side}", f"ulna_{side}"
    bulk = 1 + shape["muscle"]
    points = marks.of(humerus)
    head = points[points[:, 2] > points[:, 2].max() - 0.045]
    head_x, head_y = (head[:, :2].min(axis=0) + head[:, :2].max(axis=0)) / 2
    elbow = points[points[:, 2] < points[:, 2].min() + 0.035]
    elbow_x, elbow_y = (elbow[:, :2].min(axis=0) + elbow[:, :2].max(axis=0)) / 2
    top, bottom = float(points[:, 2].max()), float(points[:, 2].min())
    wrist = marks.center(f"lunate_{side}", f"scaphoid_{side}", f"triquetrum_{side}")
    forearm = marks.center(radius, ulna)

    def around(z: float, x: float, y: float, a: float, b: float) -> tuple[float, float, float, float, float]:
        return (z, x - a, x + a, y - b, y + b)

    def along(t: float) -> tuple[float, float, float]:
        return top + t * (bottom - top), head_x + t * (elbow_x - head_x), head_y + t * (elbow_y - head_y)

    inner, upper_arm = sign * 0.012, []
    for t, shift, a, b in (
        (-0.07, 3.2, 0.036, 0.036),
        (0.04, 1.8, 0.047 + 0.005 * fat, 0.048 + 0.005 * fat),
        (0.20, 0.3, (0.053 + 0.009 * fat) * bulk, (0.055 + 0.010 * fat) * bulk),
        (0.42, 0.3, (0.045 + 0.012 * fat) * bulk, (0.048 + 0.012 * fat) * bulk),
        (0.70, 0.0, (0.041 + 0.009 * fat) * bulk, (0.043 + 0.009 * fat) * bulk),
        (1.00, 0.0, 0.043 + 0.004 * fat, 0.038 + 0.005 * fat),
        (1.10, 0.0, 0.042 + 0.004 * fat, 0.040 + 0.005 * fat),
    ):
        z, x, y = along(t)
        upper_arm.append(around(z, x - shift * inner, y, a, b))
    length = bottom - wrist[2]
    lower_arm = [
        around(bottom + 0.03, elbow_x, elbow_y, 0.042 + 0.004 * fat, 0.040 + 0.004 * fat),
        around(
            bottom - 0.25 * length,
            0.6 * elbow_x + 0.4 * forearm[0],
            0.6 * elbow_y + 0.4 * forearm[1],
            (0.042 + 0.005 * fat) * bulk,
            (0.043 + 0.005 * fat) * bulk,
        ),
        around(bottom - 0.62 * length, forearm[0], forearm[1], 0.034 + 0.003 * fat, 0.034 + 0.003 * fat),
        around(wrist[2] + 0.015, wrist[0], wrist[1], 0.027 + 0.001 * fat, 0.026),
        around(wrist[2] - 0.015, wrist[0], wrist[1], 0.026, 0.027),
    ]
    hand = marks.of(*side_bones(side, "hands"))
    layer = 0.004 + 0.006 * max(fat, -0.3)
    return [
        stack(marks, f"upper_arm_{side}", upper_arm, power=2.0, fat=layer, dome=0.075),
        stack(marks, f"forearm_{side}", lower_arm, power=2.0, fat=layer),
        hug(marks, f"hand_{side}", hand, (0.007, 0.009, 0.009), fat=0.002, smooth=5),
    ]


def appendages(marks: Landmarks, patient: dict[str, Any], fat: float, rng: np.random.Generator) -> list[Part]:
    """Ears, nose and, in men, the genitals: small, but visible in the real scan."""
    skull, jaw = marks.center("skull"), marks.low(2, "mandible")
    size, lateral = float(rng.normal(1.0, 0.12)), float(rng.normal(0.0, 0.006))
    parts = []
    for side in (0, 1):
        edge = (marks.low(0, "skull") - 0.009, marks.high(0, "skull") + 0.009)[side]
        z = 0.55 * marks.high(2, "skull") + 0.45 * jaw - 0.018
        half = 0.034 * size
        ear = [(z + s * half, edge - 0.011, edge + 0.011, skull[1] - 0.010, skull[1] + 0.014) for s in (-1, 0, 1)]
        parts.append(stack(marks, "ear", ear, power=2.0, fat=0.0, dome=half, foot=half))
    nose_y, nose_z = marks.low(1, "skull"), 0.42 * marks.high(2, "skull") + 0.58 * jaw
    nose = [
        (nose_z + 0.024, skull[0] - 0.010, skull[0] + 0.010, nose_y - 0.016, nose_y + 0.03),
        (nose_z - 0.020, skull[0] - 0.018, skull[0] + 0.018, nose_y - 0.026, nose_y + 0.03),
    ]
    parts.append(stack(marks, "nose", nose, power=2.0, fat=0.0, dome=0.02, foot=0.008))
    if patient["sex"] == "M":
        pubis, front = marks.low(2, "hip_right", "hip_left"), marks.low(1, "hip_right", "hip_left")
        x = (marks.low(0, "hip_right") + marks.high(0, "hip_left")) / 2 + lateral
        length = 0.105 * size
        bump = [
            (pubis + 0.035, x - 0.022, x + 0.022, front - 0.030, front + 0.05),
            (pubis - 0.3 * length, x - 0.031, x + 0.031, front - 0.042, front + 0.05),
            (pubis + 0.02 - length, x - 0.028, x + 0.028, front - 0.036, front + 0.05),
        ]
        parts.append(stack(marks, "genitals", bump, power=2.0, fat=0.0, dome=0.03, foot=0.03))
    return parts


def lungs(marks: Landmarks) -> list[Part]:
    """Right and left lung inside the ribs, leaving the mediastinum (the heart lies to the left)."""
    parts = []
    for side, sign in zip(SIDES, (-1.0, 1.0), strict=True):
        top, bottom = marks.high(2, f"rib_{side}_1") + 0.005, marks.center("T11")[2]
        stations = []
        middle = marks.center("T6")[0]
        for rib, lower in ((2, 0.75), (4, 0.5), (6, 0.3), (8, 0.0)):
            name = f"rib_{side}_{rib}"
            outer = marks.high(0, name) - 0.014 if sign > 0 else marks.low(0, name) + 0.014
            inner = middle + sign * (0.020 if sign < 0 else (0.022, 0.030, 0.045, 0.045)[rib // 2 - 1])
            z = top + (bottom - top) * (1 - lower) * 0.85
            front, back = marks.low(1, name) + 0.022, marks.high(1, name) - 0.014
            stations.append((z, min(inner, outer), max(inner, outer), front, back))
        first = stations[0]
        stations.insert(0, (top, *first[1:]))
        last = stations[-1]
        stations.append((bottom, *last[1:3], last[3] + 0.03, last[4]))
        parts.append(stack(marks, f"lung_{side}", stations, power=2.3, fat=0.0, dome=0.07, foot=0.03))
    return parts
