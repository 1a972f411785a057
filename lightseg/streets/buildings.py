"""Houses along the street: a facade, an end wall and a roof.

The facade is drawn flat, window by window, and then warped into perspective.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from lightseg.streets.camera import NEAR, RGB, Camera, Light
from lightseg.streets.canvas import LABEL_IDS, Canvas, noise

BUILDING = LABEL_IDS["building"]
GLASS: tuple[RGB, ...] = ((58, 68, 82), (88, 104, 122), (44, 48, 54), (120, 136, 150))


@dataclass(frozen=True)
class House:
    """A house at the left or right side of the street. Its facade is at x, from z[0] to z[1]; lengths in m."""

    right: bool
    x: float  # > 0: distance of the facade from the road's middle
    z: tuple[float, float]
    floors: int
    floor_height: float
    depth: float
    wall: RGB
    trim: RGB
    roof: float  # m, the ridge above the eaves; 0: flat
    roof_rgb: RGB
    bays: int
    shop: bool
    shop_rgb: RGB
    balconies: bool
    brick: bool
    seed: int

    @property
    def height(self) -> float:
        return self.floors * self.floor_height + 0.6

    @property
    def sign(self) -> int:
        return 1 if self.right else -1

    def footprint(self) -> np.ndarray:
        near, far = self.x * self.sign, (self.x + self.depth) * self.sign
        return np.array([[near, self.z[0]], [near, self.z[1]], [far, self.z[1]], [far, self.z[0]]])


def draw_house(canvas: Canvas, camera: Camera, light: Light, house: House) -> None:
    near, far = max(house.z[0], NEAR), house.z[1]
    if far <= near:
        return
    inner, outer, top = house.x * house.sign, (house.x + house.depth) * house.sign, house.height
    middle = (inner + outer) / 2
    if house.roof:
        slope = np.array(
            [[inner, top, near], [inner, top, far], [middle, top + house.roof, far], [middle, top + house.roof, near]]
        )
        normal = (-house.sign * 0.7, 0.7, 0.0)
        canvas.polygon(camera.project(slope), light.color(house.roof_rgb, normal, near), BUILDING)
    if house.z[0] > NEAR:
        gable = np.array(
            [
                [inner, 0, near],
                [inner, top, near],
                [middle, top + house.roof, near],
                [outer, top, near],
                [outer, 0, near],
            ]
        )
        wall = (house.wall[0] * 0.93, house.wall[1] * 0.93, house.wall[2] * 0.93)
        canvas.polygon(camera.project(gable), light.color(wall, (0, 0, -1), near), BUILDING)
        rng = np.random.default_rng(house.seed + 1)
        for floor in range(house.floors):
            for fraction in (0.3, 0.7):
                if rng.random() < 0.5:
                    x, y = inner + (outer - inner) * fraction, house.floor_height * (floor + 0.35)
                    pane = np.array([[x, y, near], [x, y + 1.3, near], [x + 1.0, y + 1.3, near], [x + 1.0, y, near]])
                    canvas.polygon(
                        camera.project(pane), light.color(GLASS[rng.integers(4)], (0, 0, -1), near), BUILDING
                    )
    _warp_facade(canvas, camera, light, house, near)


def _warp_facade(canvas: Canvas, camera: Camera, light: Light, house: House, near: float) -> None:
    x, top = house.x * house.sign, house.height
    corners = np.array([[x, top, near], [x, top, house.z[1]], [x, 0, house.z[1]], [x, 0, near]])
    target = camera.project(corners)
    height, width = canvas.pixels.shape[:2]
    x0, y0 = (max(0, int(v)) for v in np.floor(target.min(axis=0)))
    x1, y1 = min(width, int(np.ceil(target[:, 0].max())) + 1), min(height, int(np.ceil(target[:, 1].max())) + 1)
    if x1 - x0 < 2 or y1 - y0 < 2:
        return
    # Pixels per meter of the flat facade: enough for the image, which is half as large as the canvas.
    per_meter = float(np.clip(camera.scale((near + house.z[1]) / 2) * 0.6, 5, 40))
    flat = _facade(house, house.z[1] - near, per_meter)
    normal = (-float(house.sign), 0.0, 0.0)
    facing = max(0.0, normal[0] * light.sun[0])
    gain = np.asarray(light.ambient_rgb) + np.asarray(light.sun_rgb) * facing
    clear = np.exp(-(near + house.z[1]) / 2 / light.haze_distance)
    lit = np.arange(256)[:, None] * gain * clear + np.asarray(light.haze_rgb) * (1 - clear)
    flat = cv2.LUT(flat, np.clip(lit, 0, 255).astype(np.uint8)[None])
    h, w = flat.shape[:2]
    source = np.array([[0, 0], [w, 0], [w, h], [0, h]], np.float32)
    homography = cv2.getPerspectiveTransform(source, (target - (x0, y0)).astype(np.float32))
    warped = cv2.warpPerspective(
        flat, homography, (x1 - x0, y1 - y0), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    inside = np.zeros((y1 - y0, x1 - x0), np.uint8)
    fixed = np.rint(np.clip(target - (x0, y0), -16000, 16000) * 16).astype(np.int32)
    cv2.fillConvexPoly(inside, fixed, 1, cv2.LINE_8, 4)
    mask = inside.astype(bool)
    window = canvas.pixels[y0:y1, x0:x1]
    window[..., :3][mask] = warped[mask]
    window[..., 3][mask] = BUILDING


def _facade(house: House, length: float, per_meter: float) -> np.ndarray:
    """The flat facade without light, uint8 RGB [h, w, 3]. Column 0 is the end nearer to the camera."""
    rng = np.random.default_rng(house.seed)
    w, h = max(8, round(length * per_meter)), max(8, round(house.height * per_meter))
    stain = noise(np.random.default_rng(house.seed + 2), h, w, cell=max(3.0, 1.5 * per_meter))
    tone = 1 + 0.035 * stain
    if house.brick:
        rows = (np.arange(h) // max(1, round(0.25 * per_meter))) % 2
        tone *= (1 - 0.08 * rows.astype(np.float32))[:, None]
    flat = cv2.merge([cv2.convertScaleAbs(tone, alpha=channel) for channel in house.wall])

    def paint(x: float, y: float, width: float, height: float, rgb: RGB) -> None:
        """A rectangle in meters, y upwards from the ground."""
        a = (round(x * per_meter), round(h - (y + height) * per_meter))
        b = (round((x + width) * per_meter) - 1, round(h - y * per_meter) - 1)
        cv2.rectangle(flat, a, b, rgb, cv2.FILLED)

    dark = (house.wall[0] * 0.6, house.wall[1] * 0.6, house.wall[2] * 0.6)
    paint(0, house.height - 0.45, length, 0.45, house.trim)
    paint(0, 0, length, 0.5, dark)
    bay = length / max(1, round(house.bays * length / (house.z[1] - house.z[0])))
    window_width, window_height = rng.uniform(0.4, 0.62), rng.uniform(0.5, 0.68)
    fine = per_meter > 7  # else a frame is narrower than a pixel
    pane_rgb = GLASS[rng.integers(4)]
    for floor in range(1 if house.shop else 0, house.floors):
        base = floor * house.floor_height
        if floor and rng.random() < 0.4:
            paint(0, base - 0.1, length, 0.2, house.trim)
        for i in range(max(1, round(length / bay))):
            x, y = (i + (1 - window_width) / 2) * bay, base + house.floor_height * 0.22
            width, height = window_width * bay, window_height * house.floor_height
            if fine:
                paint(x - 0.12, y - 0.12, width + 0.24, height + 0.24, house.trim)
            paint(x, y, width, height, pane_rgb)
            mood = rng.random()
            if mood < 0.25:  # curtains, blinds, or the sky in the glass
                paint(x, y + height * 0.45, width, height * 0.55, (205, 200, 188))
            elif mood < 0.5:
                paint(x, y, width, height * 0.5, (125, 145, 165))
            elif mood < 0.58:
                paint(x, y, width, height, (225, 190, 120))
            if fine:
                paint(x + width / 2 - 0.05, y, 0.1, height, house.trim)
            if house.balconies and floor and i % 2:
                paint(x - 0.3, base + 0.1, width + 0.6, 0.95, dark)
    if house.shop:
        _shop(house, length, paint, rng)
    return flat


def _shop(house: House, length: float, paint, rng: np.random.Generator) -> None:
    high = house.floor_height
    paint(0, 0, length, high, (house.shop_rgb[0] * 0.45, house.shop_rgb[1] * 0.45, house.shop_rgb[2] * 0.45))
    paint(0, high * 0.76, length, high * 0.2, house.shop_rgb)
    x = 0.4
    while x < length - 1.5:
        width = float(rng.uniform(1.4, 3.0))
        paint(x, 0.5, width, high * 0.62, GLASS[rng.integers(4)])
        for _ in range(3):  # goods in the window
            gx, gy = x + rng.random() * (width - 0.4), 0.6 + rng.random() * 0.8
            paint(gx, gy, 0.4, 0.5, tuple(float(c) for c in rng.integers(60, 220, 3)))
        paint(x + 0.2, high * 0.8, width * 0.7, high * 0.1, (235, 235, 230))
        x += width + 0.4
