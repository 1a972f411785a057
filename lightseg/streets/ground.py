"""The ground, pixel by pixel: road with lanes and markings, curbs, slabs, grass, a crossing street, and shadows."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from lightseg.streets.camera import NEAR, RGB, Camera, Light
from lightseg.streets.canvas import LABEL_IDS, SUPERSAMPLING, Canvas, noise

ASPHALT, CYCLE_LANE, CURB, SLABS, GRASS = range(5)
_LABELS = [LABEL_IDS[name] for name in ("road", "road", "sidewalk", "sidewalk", "terrain")]


@dataclass(frozen=True)
class Side:
    """The left or right side of the street, from the curb outwards; lengths in m."""

    curb: float  # distance of the curb from the road's middle
    lawn: float  # grass between curb and sidewalk; 0: none
    sidewalk: float
    yard: float  # paved, with bushes, between sidewalk and houses; 0: houses stand at the sidewalk

    @property
    def walk(self) -> tuple[float, float]:
        """Distance of the sidewalk's two edges from the road's middle."""
        return self.curb + self.lawn, self.curb + self.lawn + self.sidewalk

    @property
    def houses(self) -> float:
        return self.walk[1] + self.yard


@dataclass(frozen=True)
class Street:
    left: Side
    right: Side
    one_way: bool
    lane: float  # x of the middle of the camera's lane
    parking: tuple[bool, bool]  # whether there is room to park at the left, right curb
    crossing: tuple[float, float] | None  # the z at which another street crosses
    zebra: tuple[float, float] | None  # the z of a zebra crossing
    lane_lines: tuple[float, ...]  # x of the lines
    solid_line: bool
    cycle_lane: float  # width in m at the right curb; 0: none
    asphalt: RGB
    cycle_rgb: RGB
    slabs: RGB
    slab: float  # m, the size of a slab
    curb_rgb: RGB
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
    """Draw the ground with its labels. shadows: convex polygons ([N, 2] of x, z in m) with their darkness 0..1."""
    x, z = camera.ground()
    top = int(np.argmax(np.isfinite(z).any(axis=1))) // SUPERSAMPLING * SUPERSAMPLING
    x, z = x[top:], z[top:]
    surface = _surfaces(x, z, street)
    seen = np.isfinite(z)

    # Brightness and markings at the size of the image, a quarter of the pixels: markings are antialiased.
    coarse = (slice(None, None, SUPERSAMPLING),) * 2
    x, z, below = x[coarse], np.minimum(z[coarse], np.float32(2000)), surface[coarse]
    pixel_size = np.maximum(z * np.float32(SUPERSAMPLING / camera.focal), np.float32(0.004))  # m on the ground
    clear = np.exp(-z / np.float32(light.haze_distance))
    tone = _texture(x, z, pixel_size, below, street, rng)
    tone *= (1 - _shadow_map(camera, shadows, top, z.shape)) * clear
    white = _markings(x, z, pixel_size, below, street)
    tone, white, clear = (np.repeat(np.repeat(a, SUPERSAMPLING, 0), SUPERSAMPLING, 1) for a in (tone, white, clear))
    tone, white, clear = (a[: surface.shape[0], : surface.shape[1]] for a in (tone, white, clear))

    ground = canvas.pixels[top:]
    bases = (street.asphalt, street.cycle_rgb, street.curb_rgb, street.slabs, street.grass)
    for i in range(3):  # channel by channel: three times as fast as [H, W, 3]
        plane = np.array([base[i] for base in bases], np.float32)[surface]
        plane += white * (np.float32(225) - plane)
        plane *= tone * np.float32(light.ambient_rgb[i] + light.sun_rgb[i] * light.sun[1])
        plane += (1 - clear) * np.float32(light.haze_rgb[i])
        np.copyto(ground[..., i], np.clip(plane, 0, 255, out=plane).astype(np.uint8), where=seen)
    np.copyto(ground[..., 3], np.array(_LABELS, np.uint8)[surface], where=seen)


def _surfaces(x: np.ndarray, z: np.ndarray, street: Street) -> np.ndarray:
    """The surface of each ground pixel, uint8 [H, W]: ASPHALT to GRASS."""
    out = np.abs(x)
    right = x > 0

    def by_side(on_left: float, on_right: float) -> np.ndarray:
        return np.where(right, np.float32(on_right), np.float32(on_left))

    curb = by_side(street.left.curb, street.right.curb)
    walk_in = by_side(street.left.walk[0], street.right.walk[0])
    is_road = out < curb
    if street.crossing:
        walk_in[(z > street.crossing[0] - 3) & (z < street.crossing[1] + 3)] = 0  # the sidewalks of the crossing street
        is_road |= (z > street.crossing[0]) & (z < street.crossing[1])
    surface = np.where(out < walk_in, GRASS, SLABS).astype(np.uint8)
    surface[out < curb + np.float32(0.25)] = CURB
    surface[is_road] = ASPHALT
    if street.cycle_lane:
        surface[is_road & (x > street.right.curb - street.cycle_lane) & (out < curb)] = CYCLE_LANE
    return surface


def _texture(
    x: np.ndarray, z: np.ndarray, pixel_size: np.ndarray, surface: np.ndarray, street: Street, rng: np.random.Generator
) -> np.ndarray:
    """Brightness of each ground pixel, float32 about 1: grain, slabs and joints, wheel tracks, repaired patches."""
    rough = np.array((0.025, 0.02, 0.03, 0.03, 0.1), np.float32)[surface]
    tone = rng.standard_normal(z.shape, dtype=np.float32) * rough
    tone += noise(rng, z.shape[0], z.shape[1], cell=z.shape[1] / 40, stretch=2.5) * np.float32(0.03)
    tone *= np.clip(np.float32(14) / z, 0.3, 1)
    tone += 1

    shade = rng.normal(1, 0.07, (32, 32)).astype(np.float32)
    sx, sz = x / np.float32(street.slab), z / np.float32(street.slab * 1.5)
    slab_tone = shade[np.floor(sx).astype(np.int32) & 31, np.floor(sz).astype(np.int32) & 31]
    joint = _line(np.abs(sx - np.round(sx)) * np.float32(street.slab), 0.03, pixel_size)
    joint = np.maximum(
        joint, _line(np.abs(sz - np.round(sz)) * np.float32(street.slab * 1.5), 0.03, pixel_size * z * 0.6)
    )
    slab_tone = slab_tone * (1 - np.float32(0.3) * joint) - 1
    slab_tone *= np.clip(np.float32(20) / z, 0, 1)
    track = np.float32(-0.06) * np.clip(np.cos(x * np.float32(2 * np.pi / 1.7)), 0, 1)  # wheel tracks
    tone *= 1 + np.where(surface == SLABS, slab_tone, np.where(surface <= CYCLE_LANE, track, np.float32(0)))
    for _ in range(rng.integers(1, 5)):
        px, pz = rng.uniform(-street.left.curb, street.right.curb), rng.uniform(4, 30)
        patch = (np.abs(x - px) < rng.uniform(0.4, 1.2)) & (np.abs(z - pz) < rng.uniform(0.5, 3)) & (surface == ASPHALT)
        tone[patch] *= np.float32(rng.uniform(0.75, 1.12))
    return tone


def _markings(x: np.ndarray, z: np.ndarray, pixel_size: np.ndarray, surface: np.ndarray, street: Street) -> np.ndarray:
    """Coverage of each pixel by white markings, float32 0..1."""
    white = np.zeros(z.shape, np.float32)
    for line in street.lane_lines:
        coverage = _line(np.abs(x - np.float32(line)), 0.14, pixel_size)
        if not street.solid_line:
            coverage *= (z % np.float32(6.0)) < 3.2
        white = np.maximum(white, coverage)
    if street.cycle_lane:
        white = np.maximum(
            white, _line(np.abs(x - np.float32(street.right.curb - street.cycle_lane)), 0.18, pixel_size)
        )
    if street.zebra:
        on = (z > street.zebra[0]) & (z < street.zebra[1])
        white = np.where(on, _line(np.abs((x % np.float32(1.0)) - np.float32(0.5)), 0.5, pixel_size), white)
        white[(z > street.zebra[0] - 1.6) & (z < street.zebra[0] - 1.1) & (x > 0)] = 1  # the stop line
    if street.crossing:
        white[(z > street.crossing[0]) & (z < street.crossing[1])] = 0
    white *= (surface <= CYCLE_LANE) * np.float32(0.85)
    return white


def _line(distance: np.ndarray, width: float, pixel_size: np.ndarray) -> np.ndarray:
    """Coverage (0..1) by a line `width` m wide of pixels `pixel_size` m wide, `distance` m from its middle."""
    return np.clip((np.float32(width / 2) - distance) / pixel_size + np.float32(0.5), 0, 1) * np.clip(
        np.float32(width) / pixel_size, 0, 1
    )


def _shadow_map(
    camera: Camera, shadows: list[tuple[np.ndarray, float]], top: int, shape: tuple[int, ...]
) -> np.ndarray:
    """Darkness of the shadow on each pixel of the image below canvas row `top`, float32 0..1, with soft edges."""
    dark = np.zeros(shape, np.uint8)
    for outline, strength in sorted(shadows, key=lambda shadow: shadow[1]):
        points = np.zeros((len(outline), 3))
        points[:, 0], points[:, 2] = outline[:, 0], np.maximum(outline[:, 1], NEAR)
        pixels = (camera.project(points) - (0, top)) * (16 / SUPERSAMPLING)
        cv2.fillConvexPoly(dark, pixels.astype(np.int32), round(strength * 255), cv2.LINE_8, 4)
    soft = max(3, shape[1] // 128 | 1)
    return cv2.GaussianBlur(dark, (soft, soft), 0) * np.float32(1 / 255)


def cast_shadow(light: Light, footprint: np.ndarray, height: float) -> np.ndarray:
    """The outline [M, 2] of the shadow of an object `height` m high on a convex footprint [N, 2] of (x, z) in m."""
    moved = footprint + np.asarray(light.shadow_reach(height))
    hull = cv2.convexHull(np.concatenate([footprint, moved]).astype(np.float32))
    return hull.reshape(-1, 2).astype(np.float64)
