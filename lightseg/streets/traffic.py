"""Sampling of vehicles and street furniture: every kind in nearly every scene, near enough to be visible."""

from __future__ import annotations

import numpy as np

from lightseg.streets.camera import RGB, Camera
from lightseg.streets.furniture import Fixture
from lightseg.streets.ground import Street
from lightseg.streets.vehicles import Vehicle

Occupied = list[tuple[float, float, float]]  # x, z, radius (m) of the objects so far

SLOTS = ("ahead",) * 4 + ("oncoming",) * 4 + ("left",) * 3 + ("right",) * 3 + ("across",) * 4
PAINT: tuple[RGB, ...] = (
    (214, 214, 212), (26, 27, 30), (124, 128, 132), (172, 176, 180), (140, 24, 28), (30, 54, 112), (58, 62, 66),
    (196, 168, 40), (40, 84, 62), (150, 134, 112), (86, 112, 140), (206, 92, 36),
)  # fmt: skip
METAL: tuple[RGB, ...] = ((118, 120, 122), (84, 88, 90), (62, 66, 64), (150, 152, 152), (96, 90, 78))


def is_free(occupied: Occupied, x: float, z: float, radius: float) -> bool:
    for other_x, other_z, other_radius in occupied:
        if (x - other_x) ** 2 + (z - other_z) ** 2 <= (radius + other_radius) ** 2:
            return False
    return True


def pick(rng: np.random.Generator, colors: tuple[RGB, ...]) -> RGB:
    """A random color of `colors`, a little lighter or darker."""
    r, g, b = colors[rng.integers(len(colors))]
    tone = rng.uniform(0.85, 1.15)
    return r * tone, g * tone, b * tone


def sign(rng: np.random.Generator) -> int:
    return -1 if rng.random() < 0.5 else 1


def add_vehicles(rng: np.random.Generator, camera: Camera, street: Street, occupied: Occupied) -> list[Vehicle]:
    """Sample a bus, a truck and two to four cars in lanes, at the curbs, or on the crossing street."""
    vehicles: list[Vehicle] = []
    ahead_from = rng.uniform(6, 10)  # m, distance of the car in front
    big = ["bus"] * (rng.random() < 0.97) + ["truck"] * (rng.random() < 0.97)
    if rng.random() < 0.5:
        big.reverse()
    for kind in (*big, *("car",) * int(rng.integers(2, 5))):
        size = {
            "car": (rng.uniform(3.9, 4.7), rng.uniform(1.75, 1.9), rng.uniform(1.42, 1.85)),
            "truck": (rng.uniform(6.5, 8.5), 2.4, rng.uniform(3.0, 3.5)),
            "bus": (rng.uniform(8.5, 11), 2.5, rng.uniform(2.9, 3.2)),
        }[kind]
        colors, variant = (pick(rng, PAINT), pick(rng, PAINT)), int(rng.integers(8))
        for _ in range(120):
            slot = _slot(rng, street, kind, size, ahead_from)
            if slot and _fits(camera, street, vehicle := Vehicle(kind, *slot, *colors, size, variant), vehicles):
                vehicles.append(vehicle)
                break
    for vehicle in vehicles:
        half_x, half_z = vehicle.extent()
        long, short = max(half_x, half_z), min(half_x, half_z)
        for step in np.arange(-long, long + 0.1, 0.8).tolist():
            occupied.append(
                (vehicle.x + step, vehicle.z, short) if half_x > half_z else (vehicle.x, vehicle.z + step, short)
            )
    return vehicles


def _slot(
    rng: np.random.Generator, street: Street, kind: str, size: tuple[float, float, float], ahead_from: float
) -> tuple[float, float, float] | None:
    """A random position and direction (x, z, yaw) for a vehicle; None if the street lacks the sampled slot."""
    length, width, _ = size
    slot = SLOTS[rng.integers(len(SLOTS))]
    near = rng.uniform(4.5, 18) if kind == "car" else rng.uniform(7.5, 13)
    z, yaw = near + length / 2, 0.0
    if slot == "ahead":
        x = street.lane + rng.uniform(-0.2, 0.2)
        if near < (ahead_from if kind == "car" else 10):
            return None
    elif slot == "oncoming":
        x, yaw = -street.lane + rng.uniform(-0.2, 0.2), np.pi
        if street.one_way:
            return None
    elif slot == "left" and street.parking[0]:
        x, yaw = -street.left.curb + width / 2 + 0.15, 0.0 if street.one_way else np.pi
    elif slot == "right" and street.parking[1]:
        x = street.right.curb - width / 2 - 0.15
    elif slot == "across" and street.crossing:
        x, z = rng.uniform(-6, 6), rng.uniform(street.crossing[0] + 1.8, street.crossing[1] - 1.8)
        yaw = sign(rng) * np.pi / 2
    else:
        return None
    return x, z, yaw + rng.normal(0, 0.03)


def _fits(camera: Camera, street: Street, vehicle: Vehicle, others: list[Vehicle]) -> bool:
    half_x, half_z = vehicle.extent()
    x, z = vehicle.x, vehicle.z
    drives_along = half_z > half_x
    if drives_along and street.zebra and z - half_z < street.zebra[1] and z + half_z > street.zebra[0]:
        return False
    if not camera.sees(x, z - half_z * 0.5, 0.4):
        return False
    for other in others:
        other_x, other_z = other.extent()
        if abs(x - other.x) < half_x + other_x + 0.15 and abs(z - other.z) < half_z + other_z + 0.8:
            return False
    return True


def add_fixtures(rng: np.random.Generator, camera: Camera, street: Street, occupied: Occupied) -> list[Fixture]:
    """Sample traffic lights and signs on poles, lamp posts, bollards and bins, at the inner edge of the sidewalks."""
    fixtures: list[Fixture] = []
    metal = METAL[rng.integers(len(METAL))]
    stands: list[tuple[bool, float]] = []  # (at the right side, z)
    kinds = (
        ("light", "sign", "light", "sign") + ("sign",) * int(rng.integers(0, 2)) + ("lamp",) * int(rng.integers(1, 3))
    )
    kinds += ("bollard",) * int(rng.integers(0, 4)) + ("bin",) * int(rng.integers(0, 4))
    for kind in kinds:
        for _ in range(25):
            right = rng.random() < 0.5
            side, outwards = street.side(right), 1 if right else -1
            # Lights and signs are high: too near, they would be above the frame.
            z = rng.uniform(7.0, 14.0) if kind == "light" else rng.uniform(5.5 if kind == "sign" else 4.5, 12.0)
            x = outwards * (side.curb + rng.uniform(0.45, 0.75))
            if kind == "bin":
                x = outwards * rng.uniform(side.curb + 0.6, side.walk[1] - 0.4)
            if street.crossing and street.crossing[0] - 1 < z < street.crossing[1] + 1:
                continue
            apart = 1.2 if kind in ("bollard", "bin") else 2.5
            if any(on_right == right and abs(z - other) < apart for on_right, other in stands):
                continue
            if camera.sees(x, z, 0.4) and is_free(occupied, x, z, 0.45):
                stands.append((right, z))
                occupied.append((x, z, 0.45))
                fixtures.append(_fixture(rng, kind, x, z, outwards, metal))
                break
    return fixtures


def _fixture(rng: np.random.Generator, kind: str, x: float, z: float, outwards: int, metal: RGB) -> Fixture:
    low, high = {"light": (3.0, 3.6), "sign": (2.6, 3.3), "lamp": (4.8, 6.5), "bollard": (0.9, 1.1), "bin": (0.9, 1.2)}[
        kind
    ]
    reach = 0.0  # of the arm over the road
    if kind == "lamp" and rng.random() < 0.6:
        reach = -outwards * rng.uniform(1.0, 1.8)
    if kind == "light" and rng.random() < 0.4:
        reach = -outwards * rng.uniform(2.0, 3.2)
    return Fixture(
        kind=kind, x=x, z=z, height=rng.uniform(low, high), thick=rng.uniform(0.28, 0.4), reach=reach,
        rgb=pick(rng, PAINT) if kind == "bin" else metal, variant=int(rng.integers(42)),
        turn=rng.normal(0, 0.3) if kind == "bin" else rng.uniform(0, 0.25),
    )  # fmt: skip
