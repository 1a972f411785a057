"""Who and what is on the street, and where: every kind in nearly every scene, near enough to be seen at 128 x 256."""

from __future__ import annotations

import numpy as np

from lightseg.data.mini.bicycles import Bicycle
from lightseg.data.mini.camera import RGB, Camera
from lightseg.data.mini.furniture import Fixture
from lightseg.data.mini.ground import Street
from lightseg.data.mini.people import Person
from lightseg.data.mini.vehicles import Vehicle

Taken = list[tuple[float, float, float]]  # x, z, radius (m) of what already stands

PAINT: tuple[RGB, ...] = (
    (214, 214, 212), (26, 27, 30), (124, 128, 132), (172, 176, 180), (140, 24, 28), (30, 54, 112), (58, 62, 66), (196, 168, 40),
    (40, 84, 62), (150, 134, 112), (86, 112, 140), (206, 92, 36),
)  # fmt: skip
CLOTH: tuple[RGB, ...] = (
    (34, 36, 46), (58, 72, 104), (120, 40, 44), (196, 192, 184), (84, 96, 70), (150, 130, 100), (28, 28, 30), (176, 120, 40),
    (92, 62, 104), (64, 120, 130), (204, 90, 84), (110, 112, 116), (220, 206, 90), (46, 60, 52),
)  # fmt: skip
SKIN: tuple[RGB, ...] = ((224, 178, 148), (198, 146, 112), (150, 102, 76), (104, 70, 54), (236, 196, 170))
HAIR: tuple[RGB, ...] = ((40, 30, 26), (74, 52, 36), (128, 94, 56), (26, 24, 26), (150, 146, 142), (168, 132, 78))


def _free(taken: Taken, x: float, z: float, radius: float) -> bool:
    return all((x - tx) ** 2 + (z - tz) ** 2 > (radius + r) ** 2 for tx, tz, r in taken)


def _pick(rng: np.random.Generator, colours: tuple[RGB, ...]) -> RGB:
    r, g, b = colours[rng.integers(len(colours))]
    tone = rng.uniform(0.85, 1.15)
    return r * tone, g * tone, b * tone


def add_vehicles(rng: np.random.Generator, camera: Camera, street: Street, taken: Taken) -> list[Vehicle]:
    """A bus, a truck and two to four cars in lanes, at the kerbs, or on the crossing street."""
    vehicles: list[Vehicle] = []
    ahead = camera.x + rng.uniform(-0.2, 0.2)
    oncoming = -street.left.kerb * rng.uniform(0.38, 0.5)
    ahead_from = rng.uniform(8, 22)
    kinds = ["bus"] * (rng.random() < 0.93) + ["truck"] * (rng.random() < 0.93) + ["car"] * int(rng.integers(2, 5))
    big_ahead = False
    for kind in kinds:
        size = {
            "car": (rng.uniform(3.9, 4.7), rng.uniform(1.75, 1.9), rng.uniform(1.42, 1.85)),
            "truck": (rng.uniform(6.5, 8.5), 2.4, rng.uniform(3.0, 3.5)),
            "bus": (rng.uniform(8.5, 11), 2.5, rng.uniform(2.9, 3.2)),
        }[kind]
        for _ in range(30):
            slot = rng.choice(["ahead", "oncoming", "left", "right", "across"], p=[0.25, 0.27, 0.18, 0.18, 0.12])
            near = rng.uniform(6.0, 26) if kind == "car" else rng.uniform(8.5, 19)
            z, yaw = near + size[0] / 2, 0.0
            if slot == "ahead":
                x = ahead
                if near < (ahead_from if kind == "car" else 12) or (kind != "car" and big_ahead):
                    continue
            elif slot == "oncoming":
                x, yaw = oncoming, np.pi
            elif slot == "left":
                x, yaw = -street.left.kerb + size[1] / 2 + 0.2, np.pi
            elif slot == "right":
                x = street.right.kerb - street.cycle_lane - size[1] / 2 - 0.2
                if x - camera.x < 2.2 and near < 12:
                    continue  # it would stand in the camera's own lane
            elif street.crossing:
                x, z = rng.uniform(-7, 7), rng.uniform(street.crossing[0] + 1.8, street.crossing[1] - 1.8)
                yaw = rng.choice([-1, 1]) * np.pi / 2
            else:
                continue
            across = slot == "across"
            half_x, half_z = (size[0] / 2, size[1] / 2) if across else (size[1] / 2, size[0] / 2)
            if not across and street.zebra and z - half_z < street.zebra[1] and z + half_z > street.zebra[0]:
                continue
            if not camera.sees(x, z - half_z * 0.5, 0.4) or any(
                abs(x - v.x) < half_x + _extent(v)[0] + 0.15 and abs(z - v.z) < half_z + _extent(v)[1] + 0.8
                for v in vehicles
            ):
                continue
            big_ahead |= slot == "ahead" and kind != "car"
            turn = yaw + rng.normal(0, 0.03)
            vehicles.append(Vehicle(kind, x, z, turn, _pick(rng, PAINT), _pick(rng, PAINT), size, int(rng.integers(8))))
            steps = np.arange(-max(half_x, half_z), max(half_x, half_z) + 0.1, 0.8)
            taken.extend((x + s, z, half_z) if across else (x, z + s, half_x) for s in steps)
            break
    return vehicles


def _extent(vehicle: Vehicle) -> tuple[float, float]:
    corners = vehicle.footprint()
    half = (corners.max(axis=0) - corners.min(axis=0)) / 2
    return float(half[0]), float(half[1])


def add_fixtures(rng: np.random.Generator, camera: Camera, street: Street, taken: Taken) -> list[Fixture]:
    """Traffic lights and signs on poles, lamp posts, bollards and bins, at the inner edge of the sidewalks."""
    fixtures: list[Fixture] = []
    metal = ((118, 120, 122), (84, 88, 90), (62, 66, 64), (150, 152, 152), (96, 90, 78))[rng.integers(5)]
    stands: list[tuple[bool, float]] = []  # which side, z
    counts = {
        "light": rng.integers(2, 4),
        "sign": rng.integers(2, 5),
        "lamp": rng.integers(2, 4),
        "bollard": rng.integers(0, 5),
        "bin": rng.integers(0, 3),
    }
    for kind, count in counts.items():
        for _ in range(int(count)):
            for _ in range(25):
                right = rng.random() < 0.55
                side, sign = street.side(right), 1 if right else -1
                z = rng.uniform(6.0, 17.0) if kind != "lamp" else rng.uniform(5.5, 22.0)
                x = sign * (side.kerb + rng.uniform(0.45, 0.75))
                if kind == "bin":
                    x = sign * (side.walk[1] - 0.6)
                if street.crossing and street.crossing[0] - 1 < z < street.crossing[1] + 1:
                    continue
                apart = 2.2 if kind != "bollard" else 1.2
                if any(on_right == right and abs(z - other) < apart for on_right, other in stands):
                    continue
                if camera.sees(x, z, 0.4) and _free(taken, x, z, 0.45):
                    break
            else:
                continue
            stands.append((right, z))
            taken.append((x, z, 0.45))
            thick = rng.uniform(0.24, 0.34)
            reach, height = (
                0.0,
                {
                    "light": rng.uniform(3.0, 3.6),
                    "sign": rng.uniform(2.6, 3.3),
                    "lamp": rng.uniform(4.8, 6.5),
                    "bollard": 1.0,
                    "bin": rng.uniform(0.9, 1.2),
                }[kind],
            )
            if kind == "lamp" and rng.random() < 0.6:
                reach = -sign * rng.uniform(1.0, 1.8)
            if kind == "light" and rng.random() < 0.4:
                reach = -sign * rng.uniform(2.0, 3.2)
            rgb = _pick(rng, PAINT) if kind == "bin" else metal
            turn = rng.uniform(0, 0.25) if kind != "bin" else rng.normal(0, 0.3)
            fixtures.append(Fixture(kind, x, z, height, thick, reach, rgb, int(rng.integers(7)), turn))
    return fixtures


def _person(rng: np.random.Generator, x: float, z: float, heading: float, pose: str) -> Person:
    return Person(
        x=x,
        z=z,
        heading=heading,
        stature=float(np.clip(rng.normal(1.73, 0.1), 1.35, 1.98)),
        pose=pose,
        phase=rng.uniform(0, 2 * np.pi),
        skin=_pick(rng, SKIN),
        hair=_pick(rng, HAIR if rng.random() < 0.8 else CLOTH),
        top=_pick(rng, CLOTH),
        legs=_pick(rng, CLOTH),
        skirt=rng.random() < 0.2,
        bag=_pick(rng, CLOTH) if rng.random() < 0.3 else None,
    )


def add_people(
    rng: np.random.Generator, camera: Camera, street: Street, taken: Taken
) -> tuple[list[Person], list[Bicycle]]:
    """Three to seven people on sidewalks and crossings, one or two riders, one or two parked bicycles."""
    people: list[Person] = []
    bicycles: list[Bicycle] = []
    for i in range(int(rng.integers(1, 3))):  # riders
        for _ in range(30):
            z = rng.uniform(5.5, 11) if i == 0 else rng.uniform(6, 15)
            x = rng.uniform(-street.left.kerb + 0.6, street.right.kerb - 0.5)
            if camera.sees(x, z, 0.6) and _free(taken, x, z, 0.7):
                heading = rng.choice([-1, 1]) * rng.uniform(0.7, 2.4)  # they turn or cross: seen from the side
                if rng.random() < 0.3:
                    heading = rng.choice([0, np.pi]) + rng.normal(0, 0.25)
                rider = _person(rng, x, z, heading, "stand")
                bicycles.append(
                    Bicycle(x, z, heading, _pick(rng, PAINT), rng.random() < 0.3, rng.uniform(0, 6.28), rider)
                )
                taken.append((x, z, 0.7))
                break
    for _ in range(int(rng.integers(1, 4))):  # parked bicycles
        for _ in range(30):
            right = rng.random() < 0.6
            side, sign = street.side(right), 1 if right else -1
            z = rng.uniform(6, 14)
            x = sign * (rng.uniform(side.kerb + 0.9, side.walk[1] - 0.4))
            if camera.sees(x, z, 0.7) and _free(taken, x, z, 0.6):
                heading = rng.choice([-1, 1]) * rng.uniform(0.6, 2.2)
                bicycles.append(
                    Bicycle(x, z, heading, _pick(rng, PAINT), rng.random() < 0.3, rng.uniform(0, 6.28), None)
                )
                taken.append((x, z, 0.6))
                break
    for i in range(int(rng.integers(4, 9))):
        for _ in range(30):
            z = rng.uniform(5.5, 10) if i < 2 else rng.uniform(6, 18)
            crosses = street.zebra is not None and rng.random() < 0.3
            if crosses and street.zebra:
                z, x = rng.uniform(*street.zebra), rng.uniform(-street.left.kerb, street.right.kerb)
            else:
                right = rng.random() < 0.55
                side, sign = street.side(right), 1 if right else -1
                x = sign * rng.uniform(side.kerb + 0.4, side.walk[1] - 0.3)
            if camera.sees(x, z, 0.3) and _free(taken, x, z, 0.35):
                along = rng.choice([0, np.pi]) + rng.normal(0, 0.35)
                heading = rng.choice([-1, 1]) * np.pi / 2 + rng.normal(0, 0.2) if crosses else along
                pose = "walk" if crosses else str(rng.choice(["walk", "stand", "wave"], p=[0.65, 0.25, 0.1]))
                people.append(_person(rng, x, z, heading, pose))
                taken.append((x, z, 0.35))
                break
    return people, bicycles
