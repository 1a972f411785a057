"""Bicycles and their riders. The label of a bicycle includes the area inside its wheels, as in Cityscapes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lightseg.streets import people, skeleton
from lightseg.streets.camera import RGB, Camera, Light
from lightseg.streets.canvas import Canvas, capsule
from lightseg.streets.people import Body, Person

WHEEL, BASE = 0.36, 1.06  # m: radius, distance of the hubs
_ANGLES = np.linspace(0, 2 * np.pi, 18, endpoint=False)
SADDLE, BARS, CRANK = (0.98, -0.22), (1.06, 0.36), (0.3, -0.05)  # m: (up, forward) from the bicycle's middle


@dataclass(frozen=True)
class Bicycle:
    x: float
    z: float
    heading: float  # rad, as Person.heading
    rgb: RGB
    basket: bool
    crank: float  # rad
    rider: Person | None

    def footprint(self) -> np.ndarray:
        corners = np.array([[-0.2, -0.9], [0.2, -0.9], [0.2, 0.9], [-0.2, 0.9]])
        cos, sin = np.cos(self.heading), np.sin(self.heading)
        return corners @ np.array([[cos, -sin], [sin, cos]]) + (self.x, self.z)


def draw_bicycle(canvas: Canvas, camera: Camera, light: Light, bicycle: Bicycle) -> Body | None:
    """Draw the bicycle and its rider, if it has one. Returns the rider's body."""
    index = canvas.add_object("bicycle")

    def at(points: np.ndarray | list[tuple[float, float, float]]) -> np.ndarray:
        """(right, up, forward) in meters -> pixels."""
        return camera.project(skeleton.to_world(np.asarray(points), bicycle.x, bicycle.z, bicycle.heading, 1.0))

    meter = camera.scale(bicycle.z)
    hubs = ((-BASE / 2, WHEEL), (BASE / 2, WHEEL))
    tire, gray = light.color((28, 28, 30), None, bicycle.z), light.color((104, 106, 108), None, bicycle.z)
    circle = np.stack([np.zeros(18), np.cos(_ANGLES) * WHEEL, np.sin(_ANGLES) * WHEEL], axis=1)
    for forward, up in hubs:
        hub = np.array([0, up, forward])
        # A tire has a width, or it would be invisible from behind.
        outline = at(np.concatenate([circle + hub + (0.035, 0, 0), circle + hub - (0.035, 0, 0), circle * 0.8 + hub]))
        canvas.polygon(outline[:18], tire, index)
        canvas.polygon(outline[18:36], tire, index)
        low, high = at(hub + np.array([[0, -WHEEL + 0.04, 0], [0, WHEEL - 0.04, 0]]))
        canvas.polygon(capsule(low, high, 0.045 * meter, 0.045 * meter), tire, index)
        canvas.polygon(outline[36:], gray, index)
    frame = light.color(bicycle.rgb, None, bicycle.z)
    rear, front = (0, WHEEL, -BASE / 2), (0, WHEEL, BASE / 2)
    crank, saddle, head = (0, *CRANK), (0, SADDLE[0] - 0.1, SADDLE[1]), (0, 0.86, BASE / 2 - 0.2)
    bars, stem = ((-0.28, *BARS), (0.28, *BARS)), (head, (0.0, *BARS))
    seat = ((0, SADDLE[0], SADDLE[1] - 0.14), (0, SADDLE[0], SADDLE[1] + 0.12))
    tubes = (
        (rear, crank),
        (rear, saddle),
        (crank, saddle),
        (saddle, head),
        (crank, head),
        (head, front),
        stem,
        bars,
        seat,
    )
    ends = at([end for tube in tubes for end in tube])
    for i, tube in enumerate(tubes):
        rgb = tire if tube is bars or tube is seat else frame
        canvas.polygon(capsule(ends[2 * i], ends[2 * i + 1], 0.038 * meter, 0.038 * meter), rgb, index)
    if bicycle.basket:
        corners = at([(s * 0.18, y, BASE / 2 + f) for s in (-1, 1) for y in (0.72, 0.98) for f in (-0.05, 0.25)])
        order = np.argsort(np.arctan2(*(corners - corners.mean(axis=0)).T))
        canvas.polygon(corners[order], light.color((150, 122, 84), None, bicycle.z), index)
    if bicycle.rider is None:
        return None
    stature = bicycle.rider.stature
    hips, hands, pedals = (
        (up / stature, forward / stature) for up, forward in ((SADDLE[0] + 0.06, SADDLE[1]), BARS, CRANK)
    )
    joints = skeleton.riding(hips, hands, pedals, bicycle.crank)
    world = skeleton.to_world(joints, bicycle.x, bicycle.z, bicycle.heading, stature)
    return people.draw_body(canvas, camera, light, bicycle.rider, world, canvas.add_object("rider"))
