"""People, drawn around their joints limb by limb from far to near.

The order tells which joints are covered by the person's other limbs. Limbs are a little thicker than real ones, because
images are small.
"""

# ruff: noqa: RUF005 - array + tuple is numpy's addition, not concatenation
from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from lightseg.streets.camera import RGB, Camera, Light
from lightseg.streets.canvas import Canvas
from lightseg.streets.skeleton import (
    L_ANK,
    L_EAR,
    L_ELB,
    L_EYE,
    L_HIP,
    L_KNE,
    L_SHO,
    L_WRI,
    NOSE,
    R_ANK,
    R_EAR,
    R_ELB,
    R_EYE,
    R_HIP,
    R_KNE,
    R_SHO,
    R_WRI,
    standing,
    to_world,
)  # fmt: skip

# End points of limbs that are no joints.
L_TOE, R_TOE, L_HAND, R_HAND, NECK, HEAD, CHIN, BROW, NAPE, CROWN, BAG_TOP, BAG_BASE = range(17, 29)
_CIRCLE = np.stack([np.cos(np.arange(10) * np.pi / 5), np.sin(np.arange(10) * np.pi / 5)], axis=1)
SHOES: RGB = (38, 34, 34)


@dataclass(frozen=True)
class Person:
    x: float
    z: float
    heading: float  # rad; 0 walks away from the camera, pi towards it, pi / 2 to the right
    stature: float  # m
    pose: str  # walk, stand, wave or ride
    phase: float  # rad of the stride
    skin: RGB
    hair: RGB  # or hat
    helmet: bool
    top: RGB
    legs: RGB
    skirt: bool
    bag: RGB | None

    def footprint(self) -> np.ndarray:
        return np.array([[-0.25, -0.2], [0.25, -0.2], [0.25, 0.2], [-0.25, 0.2]]) + (self.x, self.z)


@dataclass(frozen=True)
class Body:
    """A drawn person: joints [17, 2] in canvas pixels, and whether a nearer limb covers each (bool [17])."""

    index: int
    joints: np.ndarray
    covered: np.ndarray


@dataclass(frozen=True)
class Limb:
    """The hull of circles around `points` (indices) with `radii` (in statures), `depth` m from the camera."""

    points: tuple[int, ...]
    radii: tuple[float, ...]
    rgb: RGB
    depth: float
    carries: tuple[int, ...] = ()  # joints on the limb besides its end points


def draw_person(canvas: Canvas, camera: Camera, light: Light, person: Person) -> Body:
    joints = to_world(standing(person.pose, person.phase), person.x, person.z, person.heading, person.stature)
    return draw_body(canvas, camera, light, person, joints, canvas.add_object("person"))


def draw_body(canvas: Canvas, camera: Camera, light: Light, person: Person, joints: np.ndarray, index: int) -> Body:
    """Draw the person with world `joints` [17, 3] in m."""
    points = np.concatenate([joints, _end_points(person, joints)])
    pixels = camera.project(points)
    stature = camera.scale(person.z) * person.stature
    limbs = sorted(_limbs(person, points), key=lambda limb: -limb.depth)
    ids = [i for limb in limbs for i in limb.points]
    radii = np.array([radius for limb in limbs for radius in limb.radii]) * stature
    circles = (pixels[ids][:, None] + _CIRCLE * radii[:, None, None]).astype(np.float32)
    outlines, start = [], 0
    for limb in limbs:
        end = start + len(limb.points)
        outline = cv2.convexHull(circles[start:end].reshape(-1, 2)).reshape(-1, 2)
        canvas.polygon(outline, light.color(limb.rgb, None, person.z), index)
        outlines.append(outline)
        start = end

    covered = np.zeros(17, bool)
    for joint, at in enumerate(pixels[:17].tolist()):
        last = max((i for i, limb in enumerate(limbs) if joint in limb.points + limb.carries), default=-1)
        covered[joint] = any(cv2.pointPolygonTest(outline, at, False) >= 0 for outline in outlines[last + 1 :])
    # A head is a ball: joints at its far side are covered.
    out = joints[: R_EAR + 1, ::2] - points[HEAD, ::2]
    to_camera = np.array([camera.x - camera.drift_at(person.z) - points[HEAD, 0], -points[HEAD, 2]])
    covered[: R_EAR + 1] |= out @ to_camera < -0.15 * np.linalg.norm(out, axis=1) * np.linalg.norm(to_camera)
    return Body(index, pixels[:17], covered)


def _end_points(person: Person, joints: np.ndarray) -> np.ndarray:
    """World points [12, 3] in m, L_TOE to BAG_BASE."""
    s = person.stature
    forward = np.array([np.sin(person.heading), 0, np.cos(person.heading)])
    up = np.array([0, s, 0])
    head = (joints[L_EAR] + joints[R_EAR]) / 2
    shoulders = (joints[L_SHO] + joints[R_SHO]) / 2
    face, back = head + forward * (0.025 * s), head - forward * (0.014 * s)
    bag = (shoulders + (joints[L_HIP] + joints[R_HIP]) / 2) / 2 - forward * (0.09 * s)
    return np.array(
        [
            joints[L_ANK] + forward * (0.11 * s) - up * 0.02,
            joints[R_ANK] + forward * (0.11 * s) - up * 0.02,
            joints[L_WRI] + (joints[L_WRI] - joints[L_ELB]) * 0.18,
            joints[R_WRI] + (joints[R_WRI] - joints[R_ELB]) * 0.18,
            shoulders * 0.9 + head * 0.1,
            head,
            face - up * 0.034,
            face + up * 0.005,
            back + up * 0.006,
            back + up * 0.026,
            bag + up * 0.1,
            bag - up * 0.05,
        ]
    )


def _limbs(person: Person, points: np.ndarray) -> list[Limb]:
    def depth(*ids: int) -> float:
        return float(points[list(ids), 2].mean())

    def shade(rgb: RGB, factor: float) -> RGB:
        return rgb[0] * factor, rgb[1] * factor, rgb[2] * factor

    limbs = []
    for factor, shoulder, elbow, wrist, hand, hip, knee, ankle, toe in (
        (0.82, L_SHO, L_ELB, L_WRI, L_HAND, L_HIP, L_KNE, L_ANK, L_TOE),
        (0.95, R_SHO, R_ELB, R_WRI, R_HAND, R_HIP, R_KNE, R_ANK, R_TOE),
    ):
        leg, arm = depth(hip, knee, ankle), depth(shoulder, elbow, wrist)
        trousers, sleeve = shade(person.legs, factor), shade(person.top, factor * 0.95)
        limbs += [
            Limb((ankle, toe), (0.036, 0.022), SHOES, leg),
            Limb((knee, ankle), (0.045, 0.032), person.skin if person.skirt else trousers, leg - 0.001),
            Limb((hip, knee), (0.062, 0.046), trousers, leg - 0.002),
            Limb((shoulder, elbow), (0.043, 0.034), sleeve, arm),
            Limb((elbow, wrist), (0.033, 0.026), sleeve, arm - 0.001),
            Limb((wrist, hand), (0.025, 0.021), person.skin, arm - 0.002),
        ]
    trunk = depth(L_SHO, R_SHO, L_HIP, R_HIP)
    limbs.append(Limb((L_SHO, R_SHO, L_HIP, R_HIP), (0.045, 0.045, 0.06, 0.06), person.top, trunk - 0.004))
    if person.skirt:
        limbs.append(Limb((L_HIP, R_HIP, L_KNE, R_KNE), (0.06, 0.06, 0.07, 0.07), person.legs, trunk - 0.003))
    away = float(np.cos(person.heading))
    if person.bag is not None:  # on the back
        limbs.append(Limb((BAG_TOP, BAG_BASE), (0.09, 0.1), person.bag, trunk - 0.2 * away))
    head = depth(HEAD)
    cap = (0.07, 0.075) if person.helmet else (0.06, 0.056)
    seen_from_behind = away > 0.35
    limbs += [
        Limb((NECK, HEAD), (0.036, 0.032), person.skin, head + 0.02),
        Limb(
            (CHIN, BROW), (0.04, 0.052), person.skin, head - (0.03 if seen_from_behind else 0.04), (NOSE, L_EYE, R_EYE)
        ),
        Limb((NAPE, CROWN), cap, person.hair, head - (0.04 if seen_from_behind else 0.03), (L_EAR, R_EAR)),
    ]
    return limbs
