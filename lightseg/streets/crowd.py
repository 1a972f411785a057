"""Sampling of people, riders and parked bicycles and their positions in the street."""

from __future__ import annotations

import numpy as np

from lightseg.streets.bicycles import Bicycle
from lightseg.streets.camera import RGB, Camera
from lightseg.streets.ground import Street
from lightseg.streets.people import Person
from lightseg.streets.traffic import PAINT, Occupied, is_free, pick, sign

POSES = ("walk",) * 6 + ("stand",) * 3 + ("wave",)
CLOTH: tuple[RGB, ...] = (
    (34, 36, 46), (58, 72, 104), (120, 40, 44), (196, 192, 184), (84, 96, 70), (150, 130, 100), (28, 28, 30),
    (176, 120, 40), (92, 62, 104), (64, 120, 130), (204, 90, 84), (110, 112, 116), (220, 206, 90), (46, 60, 52),
)  # fmt: skip
SKIN: tuple[RGB, ...] = ((224, 178, 148), (198, 146, 112), (150, 102, 76), (104, 70, 54), (236, 196, 170))
HAIR: tuple[RGB, ...] = ((40, 30, 26), (74, 52, 36), (128, 94, 56), (26, 24, 26), (150, 146, 142), (168, 132, 78))


def add_people(
    rng: np.random.Generator, camera: Camera, street: Street, occupied: Occupied, extra_people: int = 0
) -> tuple[list[Person], list[Bicycle]]:
    """Sample one or two riders, one or two parked bicycles, and four to eight people on sidewalks and crossings.

    `extra_people`: number of people anywhere on top of that, mostly seen from the front or from behind.
    """
    bicycles: list[Bicycle] = []
    for i in range(int(rng.integers(1, 3))):
        near, far = (4.5, 7.5) if i == 0 else (5.0, 9.0)
        position = _free_position(
            rng, camera, occupied, near, far, (-street.left.curb + 0.6, street.right.curb - 0.5), 0.6
        )
        if position:
            heading = sign(rng) * rng.uniform(0.7, 2.4)  # turning or crossing, seen from the side
            if rng.random() < 0.3:
                heading = rng.integers(2) * np.pi + rng.normal(0, 0.25)
            rider = _person(rng, *position, heading, "ride")
            bicycles.append(_bicycle(rng, *position, heading, rider))
    for _ in range(int(rng.integers(1, 3))):
        position = _free_position(rng, camera, occupied, 4.5, 9.0, _sidewalk(rng, street, 0.7), 0.6)
        if position:
            bicycles.append(_bicycle(rng, *position, sign(rng) * rng.uniform(0.6, 2.2), None))
    people: list[Person] = []
    for i in range(int(rng.integers(5, 9))):
        if street.zebra and rng.random() < 0.3:
            span = (-street.left.curb, street.right.curb)
            position = _free_position(rng, camera, occupied, *street.zebra, span, 0.35, margin=0.0)
            heading, pose = sign(rng) * np.pi / 2 + rng.normal(0, 0.2), "walk"
        else:
            near, far = (4.0, 7.0) if i < 3 else (5.5, 9.5)
            position = _free_position(rng, camera, occupied, near, far, _sidewalk(rng, street, 0.3), 0.35, margin=0.0)
            heading, pose = rng.integers(2) * np.pi + rng.normal(0, 0.4), POSES[rng.integers(len(POSES))]
        if position:
            people.append(_person(rng, *position, heading, pose))
    for i in range(extra_people):
        x_range = (-street.left.curb, street.right.curb) if i % 2 else _sidewalk(rng, street, 0.3)
        position = _free_position(rng, camera, occupied, 4.0, 9.5, x_range, 0.5)
        if position:
            heading = rng.integers(2) * np.pi + rng.normal(0, 0.5)
            people.append(_person(rng, *position, heading, POSES[rng.integers(len(POSES))]))
    return people, bicycles


def _sidewalk(rng: np.random.Generator, street: Street, margin: float) -> tuple[float, float]:
    """The range of x (m) of the left or right sidewalk, `margin` m inside it."""
    if rng.random() < 0.55:
        return street.right.curb + margin, street.right.walk[1] - 0.3
    return -street.left.walk[1] + 0.3, -street.left.curb - margin


def _free_position(
    rng: np.random.Generator,
    camera: Camera,
    occupied: Occupied,
    near: float,
    far: float,
    x_range: tuple[float, float],
    radius: float,
    margin: float = 0.4,
) -> tuple[float, float] | None:
    """A free position (x, z) in view, `margin` m inside the frame, which is then occupied; None after 30 tries."""
    for _ in range(30):
        x, z = rng.uniform(*x_range), rng.uniform(near, far)
        if camera.sees(x, z, margin) and is_free(occupied, x, z, radius):
            occupied.append((x, z, radius))
            return x, z
    return None


def _person(rng: np.random.Generator, x: float, z: float, heading: float, pose: str) -> Person:
    return Person(
        x=x, z=z, heading=heading, stature=float(np.clip(rng.normal(1.73, 0.1), 1.35, 1.98)), pose=pose,
        phase=rng.uniform(0, 2 * np.pi), skin=pick(rng, SKIN),
        hair=pick(rng, HAIR if rng.random() < 0.8 and pose != "ride" else PAINT),
        helmet=pose == "ride" and rng.random() < 0.75, top=pick(rng, CLOTH),
        legs=pick(rng, CLOTH), skirt=rng.random() < 0.2,
        bag=pick(rng, CLOTH) if rng.random() < 0.3 else None,
    )  # fmt: skip


def _bicycle(rng: np.random.Generator, x: float, z: float, heading: float, rider: Person | None) -> Bicycle:
    return Bicycle(x, z, heading, pick(rng, PAINT), rng.random() < 0.3, rng.uniform(0, 2 * np.pi), rider)
