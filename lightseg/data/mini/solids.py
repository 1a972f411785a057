"""Solids of flat faces with drawings on them: vehicles, house walls, boxes.

A part is convex, so its visible faces never hide each other and need no sorting; parts are drawn far to near by their owner.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from lightseg.data.mini.camera import RGB, Camera, Light
from lightseg.data.mini.canvas import Canvas


@dataclass
class Face:
    """A flat polygon [N, 3] in metres and the polygons painted on it, in order."""

    points: np.ndarray
    rgb: RGB
    decals: list[tuple[np.ndarray, RGB]] = field(default_factory=list)

    def paint(self, points: Sequence[Sequence[float]] | np.ndarray, rgb: RGB) -> None:
        self.decals.append((np.asarray(points, dtype=np.float64), rgb))


@dataclass
class Part:
    faces: dict[str, Face]

    def centre(self) -> np.ndarray:
        return np.concatenate([face.points for face in self.faces.values()]).mean(axis=0)


def prism(
    profile_zy: Sequence[tuple[float, float]], half_width: float | Sequence[float], rgb: RGB, names: str = ""
) -> Part:
    """A convex profile in the (z, y) plane drawn out to x = +-half_width (one number, or one for each corner: a tapering cabin).

    Faces: `left`, `right`, and one for each edge of the profile, named by the words of `names` (edge i joins corners i and i + 1).
    """
    zy = np.asarray(profile_zy, dtype=np.float64)
    half = np.broadcast_to(np.asarray(half_width, dtype=np.float64), len(zy))
    right = np.stack([half, zy[:, 1], zy[:, 0]], axis=1)
    left = right * (-1, 1, 1)
    faces = {"left": Face(left, rgb), "right": Face(right, rgb)}
    edge_names = names.split()
    for i in range(len(zy)):
        j = (i + 1) % len(zy)
        name = edge_names[i] if i < len(edge_names) else f"edge{i}"
        faces[name] = Face(np.stack([left[i], right[i], right[j], left[j]]), rgb)
    return Part(faces)


def box(half_width: float, y: tuple[float, float], z: tuple[float, float], rgb: RGB) -> Part:
    """Faces left, right, rear (small z), top, front (large z), bottom."""
    profile = [(z[0], y[0]), (z[0], y[1]), (z[1], y[1]), (z[1], y[0])]
    return prism(profile, half_width, rgb, "rear top front bottom")


def place(parts: Sequence[Part], x: float, z: float, yaw: float) -> list[Part]:
    """The parts turned by `yaw` (0: their +z away from the camera; pi: towards it) and moved to (x, z)."""
    cos, sin = np.cos(yaw), np.sin(yaw)
    turn = np.array([[cos, 0, -sin], [0, 1, 0], [sin, 0, cos]])
    at = np.array([x, 0, z])
    return [
        Part(
            {
                n: Face(f.points @ turn + at, f.rgb, [(p @ turn + at, c) for p, c in f.decals])
                for n, f in part.faces.items()
            }
        )
        for part in parts
    ]


def draw_part(canvas: Canvas, camera: Camera, light: Light, part: Part, index: int) -> None:
    """Draw the faces of a convex part that are turned to the camera."""
    centre = part.centre()
    for face in part.faces.values():
        points = face.points
        (ax, ay, az), (bx, by, bz) = (points[1] - points[0]).tolist(), (points[2] - points[1]).tolist()
        normal = (ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx)
        length = math.hypot(*normal)
        if length == 0:
            continue
        middle = points.mean(axis=0)
        out = 1.0 if float(np.dot(normal, middle - centre)) >= 0 else -1.0
        shapes = [points, *(shape for shape, _ in face.decals)]
        pixels = camera.project(np.concatenate(shapes))
        x, y = pixels[: len(points)].T
        area = float(x @ np.roll(y, -1) - y @ np.roll(x, -1))
        if area * out <= 0:  # (x right, y up, z away) is left-handed, and pixels run downwards
            continue
        z = float(middle[2])
        towards = (out * normal[0] / length, out * normal[1] / length, out * normal[2] / length)
        start = 0
        for shape, rgb in zip(shapes, (face.rgb, *(rgb for _, rgb in face.decals)), strict=True):
            canvas.polygon(pixels[start : start + len(shape)], light.colour(rgb, towards, z), index)
            start += len(shape)
