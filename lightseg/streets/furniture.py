"""Street furniture on the sidewalk: lamp posts, bollards, traffic lights and signs on poles, bins (label: static)."""

# ruff: noqa: RUF005 - array + tuple is numpy's addition, not concatenation
from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lightseg.streets.camera import RGB, Camera, Light
from lightseg.streets.canvas import LABEL_IDS, Canvas, capsule
from lightseg.streets.solids import box, draw_solid

POLE = LABEL_IDS["pole"]
SIGN_RED, SIGN_BLUE, SIGN_WHITE, SIGN_YELLOW = (190, 32, 36), (28, 72, 160), (232, 232, 228), (236, 196, 40)


@dataclass(frozen=True)
class Fixture:
    """A fixture at the ground point (x, z) in m. `kind`: lamp, bollard, light, sign or bin."""

    kind: str
    x: float
    z: float
    height: float
    thick: float  # m
    reach: float  # m in x, signed: of the arm over the road; 0: no arm
    rgb: RGB
    variant: int
    turn: float  # rotation of a sign's plate or a bin; of a traffic light, which lamp is lit

    def footprint(self) -> np.ndarray:
        half = self.thick / 2
        return np.array([[-half, -half], [half, -half], [half, half], [-half, half]]) + (self.x, self.z)


def draw_fixture(canvas: Canvas, camera: Camera, light: Light, fixture: Fixture) -> None:
    if fixture.kind == "bin":
        _draw_bin(canvas, camera, light, fixture)
        return
    _draw_pole(canvas, camera, light, fixture)
    if fixture.kind == "lamp":
        _draw_lamp_head(canvas, camera, light, fixture)
    elif fixture.kind == "light":
        index = canvas.add_object("traffic light")
        _draw_signals(canvas, camera, light, fixture, fixture.x, fixture.height - 0.7, index)
        if fixture.reach:
            index = canvas.add_object("traffic light")
            _draw_signals(canvas, camera, light, fixture, fixture.x + fixture.reach, fixture.height + 1.4, index)
    elif fixture.kind == "sign":
        index = canvas.add_object("traffic sign")
        _draw_plate(canvas, camera, light, fixture, fixture.height - 0.45, fixture.variant % 7, index)
        if fixture.turn > 0.12:  # a second plate below
            index = canvas.add_object("traffic sign")
            _draw_plate(canvas, camera, light, fixture, fixture.height - 1.5, (fixture.variant + 3) % 7, index)


def _draw_pole(canvas: Canvas, camera: Camera, light: Light, fixture: Fixture) -> None:
    """The pole as three strips of different brightness, so that it looks round, and the arm."""
    top = fixture.height + (1.4 if fixture.kind == "light" and fixture.reach else 0)
    half = fixture.thick / 2
    for left, right, shade in ((-1, 1, 0.78), (-0.75, 0.3, 1.0), (-0.5, -0.05, 1.2)):
        flip = -1 if light.sun[0] > 0 else 1
        strip = [
            [fixture.x + flip * side * half, y, fixture.z]
            for side, y in ((left, 0), (left, top), (right, top), (right, 0))
        ]
        rgb = light.color((fixture.rgb[0] * shade, fixture.rgb[1] * shade, fixture.rgb[2] * shade), None, fixture.z)
        canvas.polygon(camera.project(np.array(strip)), rgb, POLE)
    if fixture.reach:
        ends = camera.project(
            np.array([[fixture.x, top, fixture.z], [fixture.x + fixture.reach, top + 0.25, fixture.z]])
        )
        thick = camera.scale(fixture.z) * half
        canvas.polygon(capsule(ends[0], ends[1], thick, thick * 0.7), light.color(fixture.rgb, None, fixture.z), POLE)


def _draw_lamp_head(canvas: Canvas, camera: Camera, light: Light, fixture: Fixture) -> None:
    x, y = fixture.x + fixture.reach, fixture.height + (0.25 if fixture.reach else 0.2)
    head = camera.project(np.array([[x - 0.45, y, fixture.z], [x + 0.45, y, fixture.z]]))
    thick = camera.scale(fixture.z) * 0.16
    canvas.polygon(capsule(head[0], head[1], thick, thick), light.color((95, 96, 98), None, fixture.z), POLE)


def _draw_signals(
    canvas: Canvas, camera: Camera, light: Light, fixture: Fixture, x: float, y: float, index: int
) -> None:
    """A housing 0.55 m x 1.5 m around (x, y) with three lamps, of which one is lit."""
    scale = camera.scale(fixture.z)
    housing = ((34, 36, 36), (30, 52, 40), (196, 160, 44))[fixture.variant % 3]
    case = [[x + dx, y + dy, fixture.z] for dx, dy in ((-0.3, -0.8), (-0.3, 0.8), (0.3, 0.8), (0.3, -0.8))]
    canvas.polygon(camera.project(np.array(case)), light.color(housing, None, fixture.z), index)
    lit = int(fixture.turn * 30) % 3
    for i, (rgb, dy) in enumerate((((238, 40, 30), 0.5), ((246, 176, 30), 0.0), ((40, 224, 130), -0.5))):
        at = camera.project(np.array([x, y + dy, fixture.z]))
        canvas.circle(at[0], at[1] - 0.04 * scale, 0.23 * scale, (16, 16, 16), index)
        if i == lit:
            canvas.circle(at[0], at[1], 0.2 * scale, rgb, index)
            canvas.circle(
                at[0], at[1], 0.1 * scale, (min(255, rgb[0] + 60), min(255, rgb[1] + 60), min(255, rgb[2] + 60)), index
            )
        else:
            canvas.circle(at[0], at[1], 0.18 * scale, (rgb[0] // 4, rgb[1] // 4, rgb[2] // 4), index)


def _draw_plate(
    canvas: Canvas, camera: Camera, light: Light, fixture: Fixture, y: float, variant: int, index: int
) -> None:
    """Seven plates: no entry, limit, give way, priority, one way, parking, direction."""

    def disc(radius: float, corners: int, first: float = 0.0) -> np.ndarray:
        angle = np.linspace(0, 2 * np.pi, corners, endpoint=False) + first
        return np.stack([np.sin(angle), np.cos(angle)], axis=1) * radius

    def rectangle(width: float, height: float) -> np.ndarray:
        return np.array([[-1, -1], [-1, 1], [1, 1], [1, -1]]) * (width / 2, height / 2)

    layers: list[tuple[np.ndarray, RGB]]
    if variant == 0:
        layers = [(disc(0.46, 20), SIGN_RED), (rectangle(0.62, 0.16), SIGN_WHITE)]
    elif variant == 1:
        layers = [(disc(0.46, 20), SIGN_RED), (disc(0.34, 20), SIGN_WHITE),
                  (rectangle(0.1, 0.3) + (0.1, 0), (30, 30, 30)),
                  (rectangle(0.1, 0.3) - (0.1, 0), (30, 30, 30))]  # fmt: skip
    elif variant == 2:
        layers = [(disc(0.55, 3, np.pi), SIGN_RED), (disc(0.34, 3, np.pi), SIGN_WHITE)]
    elif variant == 3:
        layers = [(disc(0.52, 4), SIGN_WHITE), (disc(0.42, 4), SIGN_YELLOW)]
    elif variant == 4:
        layers = [(disc(0.46, 20), SIGN_BLUE), (disc(0.24, 3), SIGN_WHITE), (rectangle(0.1, 0.5), SIGN_WHITE)]
    elif variant == 5:
        layers = [
            (rectangle(0.85, 0.85), SIGN_BLUE),
            (rectangle(0.12, 0.56) - (0.12, 0), SIGN_WHITE),
            (disc(0.17, 12) + (0.06, 0.12), SIGN_WHITE),
        ]
    else:
        ground = (SIGN_YELLOW, SIGN_WHITE, (30, 110, 70))[round(fixture.turn * 50) % 3]
        layers = [(rectangle(1.35, 0.7), (40, 40, 40)), (rectangle(1.27, 0.62), ground),
                  (rectangle(0.8, 0.1) + (0, 0.12), (60, 60, 60)),
                  (rectangle(0.6, 0.1) - (0.1, 0.12), (60, 60, 60))]  # fmt: skip
    for shape, rgb in layers:
        points = np.empty((len(shape), 3))
        points[:, 0], points[:, 1], points[:, 2] = (
            fixture.x + shape[:, 0] * (1 - abs(fixture.turn)),
            y + shape[:, 1],
            fixture.z,
        )
        canvas.polygon(camera.project(points), light.color(rgb, None, fixture.z), index)


def _draw_bin(canvas: Canvas, camera: Camera, light: Light, fixture: Fixture) -> None:
    body = box(0.35, (0, fixture.height), (-0.3, 0.3), fixture.rgb)
    dark = (fixture.rgb[0] * 0.5, fixture.rgb[1] * 0.5, fixture.rgb[2] * 0.5)
    height = fixture.height
    body.faces["rear"].paint(
        [[-0.35, height * 0.8, -0.3], [-0.35, height, -0.3], [0.35, height, -0.3], [0.35, height * 0.8, -0.3]], dark
    )
    draw_solid(canvas, camera, light, [body], (fixture.x, fixture.z), fixture.turn, LABEL_IDS["static"])
