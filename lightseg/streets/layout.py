"""The plan of a scene: street, camera, light, houses, trees, fixtures, vehicles and people.

All of it is sampled from the seed in meters, so a seed gives the same street at any image size.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lightseg.streets.bicycles import Bicycle
from lightseg.streets.buildings import House
from lightseg.streets.camera import RGB, Camera, Light, sample_camera, sample_light
from lightseg.streets.crowd import add_people
from lightseg.streets.furniture import Fixture
from lightseg.streets.ground import Side, Street
from lightseg.streets.people import Person
from lightseg.streets.plants import Tree
from lightseg.streets.traffic import add_fixtures, add_vehicles
from lightseg.streets.vehicles import Vehicle

HOUSES_END = 75.0  # m; beyond it there is only the far end (backdrop.py)
WALLS: tuple[RGB, ...] = (
    (186, 172, 150), (204, 196, 182), (168, 104, 82), (150, 86, 70), (176, 178, 180), (132, 134, 138), (214, 186, 134),
    (196, 158, 122), (166, 178, 186), (142, 158, 138), (188, 152, 142), (120, 108, 98), (226, 218, 200),
    (154, 168, 190), (98, 100, 106), (206, 170, 150),
)  # fmt: skip
LEAVES: tuple[RGB, ...] = (
    (74, 104, 48), (92, 118, 56), (58, 88, 50), (110, 122, 54), (84, 96, 64), (142, 124, 50), (150, 98, 44),
    (66, 98, 66),
)  # fmt: skip
ROOFS: tuple[RGB, ...] = ((142, 74, 56), (112, 62, 50), (88, 84, 86), (104, 92, 84), (70, 74, 82))


@dataclass(frozen=True)
class Plan:
    camera: Camera
    light: Light
    street: Street
    zenith: RGB
    cloud: float
    walls: list[RGB]
    leaves: RGB
    far_end: int  # seed of the far end
    houses: list[House]
    trees: list[Tree]
    fixtures: list[Fixture]
    vehicles: list[Vehicle]
    people: list[Person]
    bicycles: list[Bicycle]
    hood: tuple[float, RGB] | None  # fraction of the frame's height that the ego vehicle covers, and its color
    brightness: float  # mean of the image, 0..255
    contrast: float
    tint: RGB
    vignette: float
    grain: float


def sample_plan(rng: np.random.Generator, height: int, width: int, extra_people: int = 0) -> Plan:
    """Sample a plan.

    Args:
        height, width: of the canvas in pixels. They scale the camera and change nothing else.
        extra_people: number of people on top of the usual ones.
    """
    street = _street(rng)
    camera = sample_camera(rng, height, width, street.lane)
    light = sample_light(rng)
    walls = [WALLS[i] for i in rng.permutation(len(WALLS))[:6]]
    leaves = LEAVES[rng.integers(len(LEAVES))]
    houses, gaps = _houses(rng, street, walls)
    occupied: list[tuple[float, float, float]] = []  # x, z, radius in m of all objects so far
    vehicles = add_vehicles(rng, camera, street, occupied)
    fixtures = add_fixtures(rng, camera, street, occupied)
    people, bicycles = add_people(rng, camera, street, occupied, extra_people)
    trees = _trees(rng, street, leaves, gaps, occupied)
    pale = rng.uniform(0, 1)
    clear = (70 + 70 * pale, 120 + 50 * pale, 195 + 25 * pale)
    dull = (165 + 30 * pale, 172 + 28 * pale, 184 + 26 * pale)
    return Plan(
        camera=camera, light=light, street=street, walls=walls, leaves=leaves,
        far_end=int(rng.integers(1 << 31)), houses=houses, trees=trees,
        fixtures=fixtures, vehicles=vehicles, people=people, bicycles=bicycles,
        zenith=clear if light.shadow > 0.25 else dull,
        cloud=rng.uniform(0.0, 0.75),
        hood=(rng.uniform(0.05, 0.11), _gray(rng, 20, 150, 12)) if rng.random() < 0.45 else None,
        brightness=rng.uniform(88, 132), contrast=rng.uniform(0.9, 1.2),
        tint=(1 + rng.normal(0, 0.03), 1.0, 1 + rng.normal(0, 0.03)),
        vignette=rng.uniform(0.0, 0.3), grain=rng.uniform(1.0, 4.0),
    )  # fmt: skip


def _gray(rng: np.random.Generator, low: float, high: float, color_noise: float) -> RGB:
    tone = rng.uniform(low, high)
    r, g, b = (float(np.clip(tone + c, 0, 255)) for c in rng.normal(0, color_noise, 3))
    return r, g, b


def _street(rng: np.random.Generator) -> Street:
    one_way = rng.random() < 0.35
    cycle_lane = 1.4 if rng.random() < 0.25 else 0.0
    parking = (one_way or rng.random() < 0.3, not cycle_lane and rng.random() < 0.25)

    def side(curb: float, lawn: float) -> Side:
        return Side(
            curb=curb,
            lawn=lawn,
            sidewalk=rng.uniform(3.5, 6.0),
            yard=rng.uniform(2.5, 6.0) if rng.random() < 0.5 else 0.0,
        )

    lawn = rng.uniform(2.5, 4.0)  # at one side: the left only where no parked cars would hide it
    lawn_left = rng.random() < 0.7 and not parking[0]
    half = rng.uniform(1.5, 1.9) if one_way else rng.uniform(2.4, 2.9)
    left = side(half + rng.uniform(0, 0.4) + 2.3 * parking[0], lawn if lawn_left else 0.0)
    right = side(half + cycle_lane + 2.3 * parking[1], 0.0 if lawn_left else lawn)
    crossing = zebra = None
    if rng.random() < 0.4:
        start = rng.uniform(14, 20)
        crossing = (start, start + rng.uniform(7, 11))
    if crossing or rng.random() < 0.3:
        begin = crossing[0] - 5 if crossing else rng.uniform(7, 12)
        zebra = (begin, begin + rng.uniform(3, 4))
    gray = rng.uniform(78, 128)
    return Street(
        left=left,
        right=right,
        one_way=one_way,
        lane=rng.uniform(-0.3, 0.3) if one_way else half * rng.uniform(0.5, 0.65),
        parking=parking,
        crossing=crossing,
        zebra=zebra,
        lane_lines=() if one_way else (0.0,) if rng.random() < 0.75 else (-0.15, 0.2),
        solid_line=rng.random() < 0.25,
        cycle_lane=cycle_lane,
        asphalt=(gray, gray, gray + rng.uniform(-4, 8)),
        cycle_rgb=((150, 78, 66), (84, 122, 92), (104, 104, 106))[rng.integers(3)],
        slabs=_gray(rng, 125, 185, 8),
        slab=rng.uniform(0.5, 1.1),
        curb_rgb=_gray(rng, 150, 205, 4),
        grass=((96, 122, 58), (112, 124, 66), (84, 106, 58), (128, 128, 74))[rng.integers(4)],
    )


def _houses(
    rng: np.random.Generator, street: Street, walls: list[RGB]
) -> tuple[list[House], list[tuple[float, float, bool]]]:
    """Houses along both sides, and the gaps between them (z0, z1, right)."""
    houses, gaps = [], []
    for right in (False, True):
        side = street.side(right)
        z = rng.uniform(-6, 2)
        typical_floors = rng.integers(2, 5)
        while z < HOUSES_END:
            length = rng.uniform(7, 16)
            if street.crossing and z < street.crossing[1] + 4 and z + length > street.crossing[0] - 4:
                if z > street.crossing[0] - 9:
                    z = street.crossing[1] + 4
                    continue
                length = street.crossing[0] - 4 - z
            if rng.random() < 0.16 and z > 4:
                gaps.append((z, z + length, right))
            else:
                shop = not side.yard and rng.random() < 0.6
                houses.append(
                    House(
                        right=right, x=side.houses + 0.05 + rng.uniform(0, 0.4), z=(z, z + length),
                        floors=int(np.clip(typical_floors + rng.integers(-1, 2), 2, 5)),
                        floor_height=rng.uniform(2.8, 3.6),
                        depth=rng.uniform(8, 11), wall=walls[rng.integers(len(walls))], trim=_gray(rng, 150, 235, 6),
                        roof=rng.uniform(2, 4) if rng.random() < 0.55 else 0.0,
                        roof_rgb=ROOFS[rng.integers(len(ROOFS))],
                        bays=max(2, round(length / rng.uniform(2.4, 3.6))), shop=shop,
                        shop_rgb=tuple(float(c) for c in rng.integers(40, 220, 3)),  # type: ignore[arg-type]
                        balconies=rng.random() < 0.3, brick=rng.random() < 0.4, seed=int(rng.integers(1 << 31)),
                    )
                )  # fmt: skip
            z += length + (rng.uniform(1.5, 4) if rng.random() < 0.2 else 0.0)
    return houses, gaps


def _trees(
    rng: np.random.Generator,
    street: Street,
    leaves: RGB,
    gaps: list[tuple[float, float, bool]],
    occupied: list[tuple[float, float, float]],
) -> list[Tree]:
    trees: list[Tree] = []

    def grow(x: float, z: float, bush: bool, room: float) -> None:
        if street.crossing and street.crossing[0] - 2 < z < street.crossing[1] + 2:
            return
        for other_x, other_z, radius in occupied:
            if abs(x - other_x) < radius + room and abs(z - other_z) < radius + 0.8:
                return
        tone = rng.uniform(0.85, 1.15)
        if bush:
            trunk, crown = 0.0, (rng.uniform(0.7, 1.3), rng.uniform(0.45, 0.8))
        else:
            trunk, crown = rng.uniform(2.3, 3.2), (rng.uniform(1.7, 2.9), rng.uniform(1.6, 2.6))
        conifer = not bush and rng.random() < 0.12
        if conifer:
            trunk, crown = 0.6, (crown[0] * 0.7, crown[1] * 1.4)
        trees.append(
            Tree(
                x,
                z,
                trunk,
                crown,
                conifer,
                (leaves[0] * tone, leaves[1] * tone, leaves[2] * tone),
                int(rng.integers(1 << 31)),
            )
        )

    for right, sign in ((False, -1), (True, 1)):
        side = street.side(right)
        z = rng.uniform(6, 14)
        avenue = rng.random() < (0.85 if side.lawn else 0.4)
        while avenue and z < 42:
            grow(sign * (side.curb + max(0.8, side.lawn / 2)), z, False, 0.3)
            z += rng.uniform(7, 13)
        if side.yard:
            z = rng.uniform(4, 8)
            while z < 34:
                x = sign * (side.walk[1] + rng.uniform(0.7, side.yard * 0.6))
                grow(x, z, rng.random() < 0.75, 0.2)
                z += rng.uniform(1.5, 5)
    for start, end, right in gaps:
        side, sign = street.side(right), 1 if right else -1
        for _ in range(3):
            grow(sign * (side.houses + rng.uniform(1, 8)), rng.uniform(start + 1, end), rng.random() < 0.3, 0.3)
    return trees
