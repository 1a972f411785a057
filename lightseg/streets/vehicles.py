"""Cars, trucks and buses as solids with windows, wheels and lights. z runs from the rear to the front of a vehicle."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from lightseg.streets.camera import RGB, Camera, Light
from lightseg.streets.canvas import Canvas
from lightseg.streets.solids import Part, box, draw_solid, prism

GLASS, RUBBER, RIM = (52.0, 62.0, 74.0), (26.0, 26.0, 28.0), (150.0, 152.0, 155.0)
_ANGLES = np.linspace(0, 2 * np.pi, 14, endpoint=False)
_CIRCLE = np.stack([np.zeros(14), np.cos(_ANGLES), np.sin(_ANGLES)], axis=1)
TAIL, HEAD, PLATE = (196.0, 24.0, 22.0), (240.0, 240.0, 226.0), (228.0, 226.0, 205.0)


@dataclass(frozen=True)
class Vehicle:
    """A vehicle at (x, z) in m. `kind`: car, truck or bus; `yaw` rad: 0 drives away from the camera, pi towards it."""

    kind: str
    x: float
    z: float
    yaw: float
    rgb: RGB
    second_rgb: RGB
    size: tuple[float, float, float]  # length, width, height in m
    variant: int

    def extent(self) -> tuple[float, float]:
        """Half of its size in x and in z, m."""
        length, width, _ = self.size
        cos, sin = abs(math.cos(self.yaw)), abs(math.sin(self.yaw))
        return (width * cos + length * sin) / 2, (width * sin + length * cos) / 2

    def footprint(self) -> np.ndarray:
        length, width, _ = self.size
        corners = np.array([[-width, -length], [width, -length], [width, length], [-width, length]]) / 2
        cos, sin = np.cos(self.yaw), np.sin(self.yaw)
        return corners @ np.array([[cos, -sin], [sin, cos]]) + (self.x, self.z)


def draw_vehicle(canvas: Canvas, camera: Camera, light: Light, vehicle: Vehicle) -> None:
    parts = {"car": _car, "truck": _truck, "bus": _bus}[vehicle.kind](vehicle)
    draw_solid(canvas, camera, light, parts, (vehicle.x, vehicle.z), vehicle.yaw, canvas.add_object(vehicle.kind))


def _disc(x: float, y: float, z: float, radius: float) -> np.ndarray:
    return _CIRCLE * (1, radius, radius) + (x, y, z)


def _wheels(part: Part, half_width: float, at: list[float], radius: float) -> None:
    for side, sign in (("left", -1), ("right", 1)):
        for z in at:
            part.faces[side].paint(_disc(sign * half_width, radius, z, radius), RUBBER)
            part.faces[side].paint(_disc(sign * half_width, radius, z, radius * 0.6), RIM)


def _across(half: float, y: tuple[float, float], z: float | tuple[float, float], x: float = 0.0) -> list[list[float]]:
    """A rectangle on a front or rear face, `half` wide to either side of x; two z for a slanted face."""
    low, high = z if isinstance(z, tuple) else (z, z)
    return [[x - half, y[0], low], [x - half, y[1], high], [x + half, y[1], high], [x + half, y[0], low]]


def _along(part: Part, half_width: float, z: tuple[float, float], y: tuple[float, float], rgb: RGB) -> None:
    """A rectangle on both sides."""
    for side, sign in (("left", -1), ("right", 1)):
        x = sign * half_width
        part.faces[side].paint([[x, y[0], z[0]], [x, y[1], z[0]], [x, y[1], z[1]], [x, y[0], z[1]]], rgb)


def _chassis(half_width: float, length: float, top: float) -> Part:
    return box(half_width * 0.92, (0.02, top), (-length / 2 + 0.25, length / 2 - 0.25), (20, 20, 22))


def _car(vehicle: Vehicle) -> list[Part]:
    length, width, high = vehicle.size
    end, half, belt = length / 2, width / 2, 0.58 * high + 0.05
    dark = (vehicle.rgb[0] * 0.45, vehicle.rgb[1] * 0.45, vehicle.rgb[2] * 0.45)
    body = prism(
        [(-end + 0.06, 0.22), (-end, 0.55), (-end + 0.1, belt), (end - 1.25, belt), (end - 0.12, belt * 0.84),
         (end, 0.5), (end - 0.06, 0.22)],
        half, vehicle.rgb, "bumper_rear rear deck hood front bumper_front bottom",
    )  # fmt: skip
    _wheels(body, half + 0.01, [-end + 0.75, end - 0.8], 0.34)
    _along(body, half + 0.005, (-0.06, -0.03), (0.3, belt), dark)
    slant = (-end + 0.02, -end + 0.1)
    for x in (-half + 0.22, half - 0.22):
        body.faces["rear"].paint(_across(0.2, (belt - 0.3, belt - 0.08), slant, x), TAIL)
        body.faces["front"].paint(_across(0.22, (belt * 0.84 - 0.22, belt * 0.84 - 0.03), end - 0.08, x), HEAD)
    body.faces["rear"].paint(_across(0.27, (0.56, 0.7), -end), PLATE)
    body.faces["front"].paint(_across(half * 0.5, (0.5, 0.64), end - 0.02), (30, 30, 32))
    body.faces["bumper_rear"].paint(_across(half, (0.22, 0.4), -end + 0.04), dark)
    body.faces["bumper_front"].paint(_across(0.27, (0.36, 0.48), end - 0.02), PLATE)
    # Hatchback, saloon, estate: where the roof ends.
    base, roof = ((-end + 0.12, -end + 0.5), (-end + 0.75, -end + 1.35), (-end + 0.12, -end + 0.3))[vehicle.variant % 3]
    front, screen = (end - 1.2, end - 1.9) if vehicle.variant < 6 else (end - 0.75, end - 1.35)
    low, top = half - 0.05, half - 0.22
    cabin = prism(
        [(base, belt - 0.01), (roof, high), (screen, high), (front, belt - 0.01)],
        [low, top, top, low],
        vehicle.rgb,
        "rear roof screen",
    )
    tint = (
        GLASS[0] + 6 * (vehicle.variant % 4),
        GLASS[1] + 7 * (vehicle.variant % 4),
        GLASS[2] + 9 * (vehicle.variant % 4),
    )
    b, t = belt + 0.05, high - 0.09
    for side, sign in (("left", -1), ("right", 1)):
        xb, xt = sign * (low - 0.02), sign * (top + 0.02)
        middle = (base + front) / 2
        cabin.faces[side].paint(
            [[xb, b, base + 0.15], [xt, t, roof + 0.1], [xt, t, middle - 0.04], [xb, b, middle - 0.04]], tint
        )
        cabin.faces[side].paint(
            [[xb, b, middle + 0.04], [xt, t, middle + 0.04], [xt, t, screen - 0.08], [xb, b, front - 0.22]], tint
        )
    for name, z0, z1 in (("rear", base, roof), ("screen", front, screen)):
        pane = [
            [-low + 0.12, b, z0 + (z1 - z0) * 0.1],
            [-top + 0.08, t, z1],
            [top - 0.08, t, z1],
            [low - 0.12, b, z0 + (z1 - z0) * 0.1],
        ]
        cabin.faces[name].paint(pane, tint)
        glare = [[-top * 0.2, t, z1], [top * 0.3, t, z1], [top * 0.1, b, z0], [-top * 0.5, b, z0]]
        cabin.faces[name].paint(glare, (tint[0] * 1.35, tint[1] * 1.35, tint[2] * 1.35))
    return [_chassis(half, length, 0.4), body, cabin]


def _truck(vehicle: Vehicle) -> list[Part]:
    length, width, high = vehicle.size
    end, half, cab = length / 2, width / 2, 2.0
    chassis = _chassis(half, length, 1.0)
    cab_part = prism([(end - cab, 0.55), (end - cab, high * 0.86), (end - 0.25, high * 0.86), (end, 1.5), (end, 0.45)],
                     half - 0.04, vehicle.rgb, "rear roof screen front bottom")  # fmt: skip
    cab_part.faces["screen"].paint(_across(half - 0.22, (1.6, high * 0.8), (end - 0.02, end - 0.22)), GLASS)
    cab_part.faces["front"].paint(_across(half - 0.45, (0.8, 1.35), end), (40, 40, 42))
    cab_part.faces["front"].paint(_across(half, (0.45, 0.72), end), (70, 70, 72))
    for x in (-half + 0.3, half - 0.3):
        cab_part.faces["front"].paint(_across(0.17, (0.74, 0.96), end, x), HEAD)
    _along(cab_part, half - 0.03, (end - cab + 0.6, end - 0.25), (1.6, high * 0.78), GLASS)
    _wheels(cab_part, half - 0.02, [end - 1.0], 0.52)
    back = -end
    load_top = high if vehicle.variant % 4 else 1.9
    load = box(half, (1.0, load_top), (back, end - cab - 0.15), vehicle.second_rgb)
    dark = (vehicle.second_rgb[0] * 0.62, vehicle.second_rgb[1] * 0.62, vehicle.second_rgb[2] * 0.62)
    _wheels(load, half - 0.02, [back + 0.9, back + 2.05], 0.52)
    if vehicle.variant % 4 == 1:  # a tarpaulin
        for z in np.arange(back + 0.3, end - cab - 0.4, 0.7):
            _along(load, half + 0.005, (z, z + 0.14), (1.05, load_top - 0.1), dark)
    elif vehicle.variant % 4 == 2:  # a company's colors
        _along(load, half + 0.005, (back + 0.5, end - cab - 0.6), (1.6, 2.3), vehicle.rgb)
        load.faces["rear"].paint(_across(half * 0.7, (1.7, 2.3), back), vehicle.rgb)
    elif vehicle.variant % 4 == 0:  # a tipper
        for z in np.arange(back + 0.2, end - cab - 0.4, 1.1):
            _along(load, half + 0.005, (z, z + 0.22), (1.0, load_top), dark)
    rear = load.faces["rear"]
    rear.paint(_across(0.05, (1.05, load_top - 0.08), back), dark)
    for x in (-half + 0.06, half - 0.06):
        rear.paint(_across(0.06, (1.0, load_top), back, x), dark)
    for x in (-half * 0.4, half * 0.4):
        rear.paint(_across(0.035, (1.1, load_top - 0.1), back, x), dark)
    bumper = box(half * 0.95, (0.5, 0.98), (back + 0.02, back + 0.3), (48, 48, 50))
    for x in (-half + 0.3, half - 0.3):
        bumper.faces["rear"].paint(_across(0.2, (0.68, 0.9), back + 0.02, x), TAIL)
    bumper.faces["rear"].paint(_across(0.28, (0.6, 0.74), back + 0.02), PLATE)
    return [chassis, bumper, load, cab_part]


def _bus(vehicle: Vehicle) -> list[Part]:
    length, width, high = vehicle.size
    end, half = length / 2, width / 2
    body = prism([(-end, 0.35), (-end, high - 0.1), (-end + 0.2, high), (end - 0.2, high), (end, high - 0.5),
                  (end, 0.35)], half, vehicle.rgb, "rear back roof brow front bottom")  # fmt: skip
    _along(body, half + 0.004, (-end, end), (0.35, 0.95), vehicle.second_rgb)
    _along(body, half + 0.006, (-end + 0.3, end - 0.15), (1.3, high - 0.55), GLASS)
    for z in np.arange(-end + 1.6, end - 0.8, 1.45):
        _along(body, half + 0.008, (z, z + 0.12), (1.3, high - 0.55), (30, 32, 36))
    for z in (end - 1.3, 0.0):
        _along(body, half + 0.01, (z - 0.6, z + 0.6), (0.45, high - 0.55), (38, 46, 56))
        _along(body, half + 0.012, (z - 0.03, z + 0.03), (0.45, high - 0.55), vehicle.rgb)
    _wheels(body, half + 0.014, [-end + 2.0, end - 2.4], 0.5)
    rear, front = body.faces["rear"], body.faces["front"]
    rear.paint(_across(half - 0.2, (1.6, high - 0.45), -end), GLASS)
    rear.paint(
        _across(half - 0.4, (0.7, 1.35), -end),
        (vehicle.second_rgb[0] * 0.5, vehicle.second_rgb[1] * 0.5, vehicle.second_rgb[2] * 0.5),
    )
    rear.paint(_across(half, (0.35, 0.55), -end), (50, 50, 52))
    rear.paint(_across(half - 0.5, (high - 0.42, high - 0.16), -end), (22, 22, 24))
    rear.paint(_across(half - 0.75, (high - 0.37, high - 0.21), -end), (250, 166, 40))
    front.paint(_across(half - 0.08, (1.15, high - 0.55), end), GLASS)
    front.paint(_across(0.03, (1.15, high - 0.55), end), (24, 24, 26))
    front.paint(_across(half, (0.35, 0.6), end), vehicle.second_rgb)
    brow = body.faces["brow"]
    slant = (end - 0.02, end - 0.17)
    brow.paint(_across(half - 0.15, (high - 0.46, high - 0.08), slant), (22, 22, 24))
    brow.paint(_across(half - 0.55, (high - 0.38, high - 0.16), slant), (250, 166, 40))
    for x in (-half + 0.18, half - 0.18):
        rear.paint(_across(0.1, (0.75, 1.5), -end, x), TAIL)
        front.paint(_across(0.2, (0.66, 0.9), end, x), HEAD)
    return [_chassis(half, length, 0.5), body]
