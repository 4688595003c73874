"""A box of water with point sources, shared by the tests of the camera and of the truth."""

from __future__ import annotations

import numpy as np

from bonemets.simulation.bone_scan.camera import Scene
from bonemets.simulation.patient.body import Body, Surfaces
from bonemets.simulation.patient.body_shape import Part
from bonemets.simulation.patient.grid import COLUMNS, PIXEL, ROWS, pixel_of

FRONT, BACK = -0.10, 0.10  # a box of water, 20 cm deep


def box_scene(points: np.ndarray, activity: float = 1.0, soft: float = 0.0) -> Scene:
    front, back = np.zeros((ROWS, COLUMNS), np.float32), np.zeros((ROWS, COLUMNS), np.float32)
    front[300:700, 60:200], back[300:700, 60:200] = FRONT, BACK
    box = Surfaces(front, back)
    nothing = Surfaces(np.zeros_like(front), np.zeros_like(front))
    one = np.ones(1)
    part = Part("foot_right", np.array([699]), one, one, one, one, 2.0, 0.0)
    body = Body(1.0, (part,), box, box, nothing, BACK, {})
    points = points.astype(np.float32)
    return Scene(
        positions=points,
        pixel=pixel_of(points, body.top),
        activity=np.full(len(points), activity, np.float32),
        bone_volume=np.zeros(len(points), np.float32),
        soft=np.full((ROWS, COLUMNS), soft, np.float32),
        body=body,
    )


ACQUISITION = {
    "anterior_counts": 2.0e6,
    "posterior_sensitivity": 1.0,
    "field_of_view_columns": 230,
    "first_row": 200,
    "last_row": 800,
    "scan_speed_cm_per_min": 12.0,
    "background_per_pixel": 0.2,
    "row_blending": 0.0,
    "body_contouring": False,
    "anterior_gap_mm": 20.0,
    "posterior_gap_mm": 50.0,
}
CENTER = np.array([0.5 * PIXEL, 0.0, 1.0 - 500.5 * PIXEL])  # the middle of pixel (500, 128)
