"""The ground, pixel by pixel: road with lanes and markings, kerbs, slabs, grass, a crossing street, and the shadows on
all of it.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from lightseg.streets.camera import NEAR, RGB, Camera, Light
from lightseg.streets.canvas import LABEL_IDS, SUPERSAMPLING, Canvas, noise

ASPHALT, CYCLE_LANE, KERB, SLABS, GRASS = range(5)
_LABELS = [LABEL_IDS[name] for name in ("road", "road", "sidewalk", "sidewalk", "terrain")]


@dataclass(frozen=True)
class Side:
    """One side of the street, from the kerb outwards; widths in m."""

    kerb: float  # distance of the kerb from the road's middle
    lawn: float  # grass between kerb and sidewalk; 0: none
    sidewalk: float
    yard: float  # paved, with bushes, between sidewalk and houses; 0: houses stand at the sidewalk

    @property
    def walk(self) -> tuple[float, float]:
        """Where the sidewalk begins and ends."""
        return self.kerb + self.lawn, self.kerb + self.lawn + self.sidewalk

    @property
    def houses(self) -> float:
        return self.walk[1] + self.yard


@dataclass(frozen=True)
class Street:
    left: Side
    right: Side
    one_way: bool
    lane: float  # x of the middle of the camera's lane
    parking: tuple[bool, bool]  # whether there is room to park at the left, right kerb
    crossing: tuple[float, float] | None  # the z at which another street crosses
    zebra: tuple[float, float] | None  # the z of a zebra crossing
    lane_lines: tuple[float, ...]  # x of the lines
    solid_line: bool
    cycle_lane: float  # width in m at the right kerb; 0: none
    asphalt: RGB
    cycle_rgb: RGB
    slabs: RGB
    slab: float  # m, the size of a slab
    kerb_rgb: RGB
    grass: RGB

    def side(self, right: bool) -> Side:
        return self.right if right else self.left


def draw_ground(
    canvas: Canvas,
    camera: Camera,
    light: Light,
    street: Street,
    shadows: list[tuple[np.ndarray, float]],
    rng: np.random.Generator,
) -> None:
    """`shadows` are convex ground polygons ([N, 2] of x, z in m) with their darkness 0..1."""
    x, z = camera.ground()
    top = int(np.argmax(np.isfinite(z).any(axis=1))) // SUPERSAMPLING * SUPERSAMPLING
    x, z = x[top:], z[top:]
    surface = _surfaces(x, z, street)
    seen = np.isfinite(z)

    # Brightness and paint at the finished picture's size (paint has soft edges of its own): a quarter of the pixels.
    coarse = (slice(None, None, SUPERSAMPLING),) * 2
    x, z, below = x[coarse], np.minimum(z[coarse], np.float32(2000)), surface[coarse]
    metre = np.maximum(z * np.float32(SUPERSAMPLING / camera.focal), np.float32(0.004))  # a pixel's width on the ground
    clear = np.exp(-z / np.float32(light.haze_distance))
    tone = _texture(x, z, metre, below, street, rng)
    tone *= (1 - _shadow_map(camera, shadows, top, z.shape)) * clear
    white = _markings(x, z, metre, below, street)
    tone, white, clear = (np.repeat(np.repeat(a, SUPERSAMPLING, 0), SUPERSAMPLING, 1) for a in (tone, white, clear))
    tone, white, clear = (a[: surface.shape[0], : surface.shape[1]] for a in (tone, white, clear))

    ground = canvas.pixels[top:]
    bases = (street.asphalt, street.cycle_rgb, street.kerb_rgb, street.slabs, street.grass)
    for i in range(3):  # plane by plane: three times as fast as [H, W, 3]
        plane = np.array([base[i] for base in bases], np.float32)[surface]
        plane += white * (np.float32(225) - plane)
        plane *= tone * np.float32(light.ambient_rgb[i] + light.sun_rgb[i] * light.sun[1])
        plane += (1 - clear) * np.float32(light.haze_rgb[i])
        np.copyto(ground[..., i], np.clip(plane, 0, 255, out=plane).astype(np.uint8), where=seen)
    np.copyto(ground[..., 3], np.array(_LABELS, np.uint8)[surface], where=seen)


def _surfaces(x: np.ndarray, z: np.ndarray, street: Street) -> np.ndarray:
    """Which surface (uint8, ASPHALT..) each ground pixel shows."""
    out = np.abs(x)
    right = x > 0

    def by_side(on_left: float, on_right: float) -> np.ndarray:
        return np.where(right, np.float32(on_right), np.float32(on_left))

    kerb = by_side(street.left.kerb, street.right.kerb)
    walk_in = by_side(street.left.walk[0], street.right.walk[0])
    is_road = out < kerb
    if street.crossing:
        walk_in[(z > street.crossing[0] - 3) & (z < street.crossing[1] + 3)] = 0  # the other street's sidewalks
        is_road |= (z > street.crossing[0]) & (z < street.crossing[1])
    surface = np.where(out < walk_in, GRASS, SLABS).astype(np.uint8)
    surface[out < kerb + np.float32(0.25)] = KERB
    surface[is_road] = ASPHALT
    if street.cycle_lane:
        surface[is_road & (x > street.right.kerb - street.cycle_lane) & (out < kerb)] = CYCLE_LANE
    return surface


def _texture(
    x: np.ndarray, z: np.ndarray, metre: np.ndarray, surface: np.ndarray, street: Street, rng: np.random.Generator
) -> np.ndarray:
    """Brightness (float32, about 1) of each ground pixel: grain, blotches, slabs and their joints, wheel tracks,
    repaired patches.
    """
    rough = np.array((0.025, 0.02, 0.03, 0.03, 0.1), np.float32)[surface]
    tone = rng.standard_normal(z.shape, dtype=np.float32) * rough
    tone += noise(rng, z.shape[0], z.shape[1], cell=z.shape[1] / 40, stretch=2.5) * np.float32(0.03)
    tone *= np.clip(np.float32(14) / z, 0.3, 1)
    tone += 1

    shade = rng.normal(1, 0.07, (32, 32)).astype(np.float32)
    sx, sz = x / np.float32(street.slab), z / np.float32(street.slab * 1.5)
    slab_tone = shade[np.floor(sx).astype(np.int32) & 31, np.floor(sz).astype(np.int32) & 31]
    joint = _line(np.abs(sx - np.round(sx)) * np.float32(street.slab), 0.03, metre)
    joint = np.maximum(joint, _line(np.abs(sz - np.round(sz)) * np.float32(street.slab * 1.5), 0.03, metre * z * 0.6))
    slab_tone = slab_tone * (1 - np.float32(0.3) * joint) - 1
    slab_tone *= np.clip(np.float32(20) / z, 0, 1)
    track = np.float32(-0.06) * np.clip(np.cos(x * np.float32(2 * np.pi / 1.7)), 0, 1)  # where the wheels run
    tone *= 1 + np.where(surface == SLABS, slab_tone, np.where(surface <= CYCLE_LANE, track, np.float32(0)))
    for _ in range(rng.integers(1, 5)):
        px, pz = rng.uniform(-street.left.kerb, street.right.kerb), rng.uniform(4, 30)
        patch = (np.abs(x - px) < rng.uniform(0.4, 1.2)) & (np.abs(z - pz) < rng.uniform(0.5, 3)) & (surface == ASPHALT)
        tone[patch] *= np.float32(rng.uniform(0.75, 1.12))
    return tone


def _markings(x: np.ndarray, z: np.ndarray, metre: np.ndarray, surface: np.ndarray, street: Street) -> np.ndarray:
    """How much (float32, 0..1) white paint covers each pixel."""
    white = np.zeros(z.shape, np.float32)
    for line in street.lane_lines:
        coverage = _line(np.abs(x - np.float32(line)), 0.14, metre)
        if not street.solid_line:
            coverage *= (z % np.float32(6.0)) < 3.2
        white = np.maximum(white, coverage)
    if street.cycle_lane:
        white = np.maximum(white, _line(np.abs(x - np.float32(street.right.kerb - street.cycle_lane)), 0.18, metre))
    if street.zebra:
        on = (z > street.zebra[0]) & (z < street.zebra[1])
        white = np.where(on, _line(np.abs((x % np.float32(1.0)) - np.float32(0.5)), 0.5, metre), white)
        white[(z > street.zebra[0] - 1.6) & (z < street.zebra[0] - 1.1) & (x > 0)] = 1  # the stop line
    if street.crossing:
        white[(z > street.crossing[0]) & (z < street.crossing[1])] = 0
    white *= (surface <= CYCLE_LANE) * np.float32(0.85)
    return white


def _line(distance: np.ndarray, width: float, metre: np.ndarray) -> np.ndarray:
    """How much (0..1) of a pixel `metre` m wide, `distance` m from the middle of a line `width` m wide, the line
    covers.
    """
    return np.clip((np.float32(width / 2) - distance) / metre + np.float32(0.5), 0, 1) * np.clip(
        np.float32(width) / metre, 0, 1
    )


def _shadow_map(
    camera: Camera, shadows: list[tuple[np.ndarray, float]], top: int, shape: tuple[int, ...]
) -> np.ndarray:
    """Float32, the darkest shadow on each pixel of the finished picture below canvas row `top`, with soft edges."""
    dark = np.zeros(shape, np.uint8)
    for outline, strength in sorted(shadows, key=lambda shadow: shadow[1]):
        points = np.zeros((len(outline), 3))
        points[:, 0], points[:, 2] = outline[:, 0], np.maximum(outline[:, 1], NEAR)
        pixels = (camera.project(points) - (0, top)) * (16 / SUPERSAMPLING)
        cv2.fillConvexPoly(dark, pixels.astype(np.int32), round(strength * 255), cv2.LINE_8, 4)
    soft = max(3, shape[1] // 128 | 1)
    return cv2.GaussianBlur(dark, (soft, soft), 0) * np.float32(1 / 255)


def cast_shadow(light: Light, footprint: np.ndarray, height: float) -> np.ndarray:
    """The ground outline of the shadow of something `height` m high on a convex footprint [N, 2] (x, z)."""
    moved = footprint + np.asarray(light.shadow_reach(height))
    hull = cv2.convexHull(np.concatenate([footprint, moved]).astype(np.float32))
    return hull.reshape(-1, 2).astype(np.float64)
