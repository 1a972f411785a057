"""Solids of flat faces with decals: vehicles and boxes.

A part is convex, so its visible faces never hide each other and need no sorting. Parts are drawn from low to high and
from far to near.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from lightseg.streets.camera import RGB, Camera, Light
from lightseg.streets.canvas import Canvas


@dataclass
class Face:
    """A flat polygon [N, 3] in m and the polygons painted on it, in order."""

    points: np.ndarray
    rgb: RGB
    decals: list[tuple[np.ndarray, RGB]] = field(default_factory=list)

    def paint(self, points: Sequence[Sequence[float]] | np.ndarray, rgb: RGB) -> None:
        self.decals.append((np.asarray(points, dtype=np.float64), rgb))


@dataclass
class Part:
    faces: dict[str, Face]


def prism(
    profile_zy: Sequence[tuple[float, float]], half_width: float | Sequence[float], rgb: RGB, names: str = ""
) -> Part:
    """A convex profile in the (z, y) plane, extruded to x = +-half_width.

    Args:
        half_width: m; a sequence has a value for each corner, for a tapering cabin.
        names: of the faces of the edges, separated by spaces; edge i joins corners i and i + 1. The faces at both ends
            are `left` and `right`.
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
    """A box with the faces left, right, rear (small z), top, front (large z), bottom."""
    profile = [(z[0], y[0]), (z[0], y[1]), (z[1], y[1]), (z[1], y[0])]
    return prism(profile, half_width, rgb, "rear top front bottom")


def draw_solid(
    canvas: Canvas, camera: Camera, light: Light, parts: Sequence[Part], at: tuple[float, float], yaw: float, index: int
) -> None:
    """Draw the parts at (x, z) in m, turned by `yaw` rad (0: their +z points away from the camera, pi: towards it)."""
    shapes = [
        shape for part in parts for face in part.faces.values() for shape in (face.points, *(d for d, _ in face.decals))
    ]
    cos, sin = math.cos(yaw), math.sin(yaw)
    world = np.concatenate(shapes) @ np.array([[cos, 0, -sin], [0, 1, 0], [sin, 0, cos]]) + (at[0], 0, at[1])
    pixels = camera.project(world)
    eye = camera.x - camera.drift_at(at[1])
    stacked = []
    start = 0
    for part in parts:
        begin, polygons = start, []
        corners = np.concatenate([face.points for face in part.faces.values()])
        middle = corners.mean(axis=0)
        cx, cy, cz = middle[0] * cos + middle[2] * sin + at[0], middle[1], middle[2] * cos - middle[0] * sin + at[1]
        for face in part.faces.values():
            end = start + len(face.points)
            normal = _towards_camera(world[start:end].tolist(), pixels[start:end].tolist(), (cx, cy, cz))
            z = float(world[start, 2])
            for shape, rgb in ((face.points, face.rgb), *face.decals):
                if normal is not None:
                    polygons.append((pixels[start : start + len(shape)], light.color(rgb, normal, z)))
                start += len(shape)
        # A cabin stands on its body: higher parts are drawn later, and of equally high ones the nearer.
        lowest = round(float(corners[:, 1].min()), 1)
        stacked.append((lowest, -math.hypot(cx - eye, cz), begin, polygons))
    for _, _, _, polygons in sorted(stacked, key=lambda entry: entry[:3]):
        for points, rgb in polygons:
            canvas.polygon(points, rgb, index)


def _towards_camera(
    points: list[list[float]], pixels: list[list[float]], center: tuple[float, float, float]
) -> tuple[float, float, float] | None:
    """The outward unit normal of a face of the convex part around `center`; None if the camera sees its back."""
    (x0, y0, z0), (x1, y1, z1), (x2, y2, z2) = points[:3]
    ax, ay, az, bx, by, bz = x1 - x0, y1 - y0, z1 - z0, x2 - x1, y2 - y1, z2 - z1
    nx, ny, nz = ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx
    length = math.sqrt(nx * nx + ny * ny + nz * nz)
    if length == 0:
        return None
    outwards = nx * (x0 - center[0]) + ny * (y0 - center[1]) + nz * (z0 - center[2])
    sign = 1 if outwards >= 0 else -1
    area = 0.0
    for (u, v), (next_u, next_v) in zip(pixels, pixels[1:] + pixels[:1], strict=True):
        area += u * next_v - v * next_u
    if area * sign <= 0:  # (x right, y up, z away) is left-handed, and pixels run downwards
        return None
    return sign * nx / length, sign * ny / length, sign * nz / length
