"""The background: the sky with its clouds, the far end of the street, and the sensor's processing of the image."""

from __future__ import annotations

import math

import cv2
import numpy as np

from lightseg.streets.camera import RGB, Camera, Light
from lightseg.streets.canvas import LABEL_IDS, Canvas, noise

FAR = 130.0  # m, distance of the far houses and woods


def draw_sky(canvas: Canvas, camera: Camera, light: Light, zenith: RGB, cloud: float, rng: np.random.Generator) -> None:
    """A gradient from `zenith` to the haze, with clouds over about the fraction `cloud` of it, 0..1."""
    height, width = canvas.pixels.shape[:2]
    bottom = min(height, int(camera.horizon + abs(math.sin(camera.roll)) * width / 2) + 3)
    rows, columns = -(-bottom // 2), -(-width // 2)  # at half the size: a sky is smooth
    up = np.clip(1 - np.arange(rows, dtype=np.float32) * np.float32(2 / camera.horizon), 0, 1)[:, None] ** 0.7
    drift = sum(noise(rng, rows, columns, columns / n, stretch=3.0) * np.float32(2.7 / n) for n in (6, 13, 28))
    cover = np.clip(drift + np.float32((cloud - 0.5) * 3), 0, 1) * np.float32(0.8)
    belly = noise(rng, rows, columns, columns / 20, stretch=3.0) * 12
    bright = [a * 0.5 + s * 0.7 for a, s in zip(light.ambient_rgb, light.sun_rgb, strict=True)]
    planes = []
    for channel in range(3):
        clear = light.haze_rgb[channel] * (1 - up) + zenith[channel] * up
        planes.append(clear + cover * (np.float32(225 * bright[channel] / max(bright)) - belly - clear))
    sky = np.clip(cv2.merge(planes), 0, 255).astype(np.uint8)
    canvas.pixels[:bottom, :, :3] = cv2.resize(sky, (columns * 2, rows * 2))[:bottom, :width]
    canvas.pixels[:bottom, :, 3] = LABEL_IDS["sky"]


def draw_far_end(
    canvas: Canvas, camera: Camera, light: Light, walls: list[RGB], leaves: RGB, rng: np.random.Generator
) -> None:
    """Houses and trees FAR meters away, side by side over the whole width, and the ground before them."""
    span = FAR * camera.width / camera.focal
    left = camera.x - camera.drift_at(FAR) - span / 2 - 5
    end = left + span + 10
    woods: list[tuple[np.ndarray, np.ndarray]] = []
    rectangles: list[tuple[float, float, float, float, tuple[int, int, int]]] = []  # x0, y0, x1, y1 in m
    woods_fraction = rng.choice((0.0, 0.3, 1.0))
    while left < end:
        width = rng.uniform(8, 24)
        if rng.random() >= woods_fraction:
            height = rng.uniform(6, 20)
            rgb = light.color(walls[rng.integers(len(walls))], (0, 0, -1), FAR * 0.7)
            rectangles.append((left, -1, left + width, height, rgb))
            dark = (int(rgb[0] * 0.8), int(rgb[1] * 0.8), int(rgb[2] * 0.82))
            for floor in np.arange(2.0, height - 1.5, 3.2).tolist():
                for x in np.arange(left + 1, left + width - 1.5, 3.0).tolist():
                    rectangles.append((x, floor, x + 1.3, floor + 1.8, dark))
        else:
            count = 14
            points = np.full((count, 3), FAR)
            points[:, 0], points[:, 1] = left + width * rng.random(count), rng.uniform(0, rng.uniform(4, 9), count)
            radii = camera.scale(FAR) * rng.uniform(1.5, 3, count)
            rgbs = light.colors(np.asarray(leaves) * rng.uniform(0.7, 1.1, (count, 1)), FAR * 0.6)
            woods.append((np.column_stack([camera.project(points), radii]), rgbs))
        left += width * 0.9
    corners = [[(x0, y0, FAR), (x0, y1, FAR), (x1, y1, FAR), (x1, y0, FAR)] for x0, y0, x1, y1, _ in rectangles]
    for outline, rectangle in zip(camera.project(np.array(corners).reshape(-1, 4, 3)), rectangles, strict=True):
        canvas.polygon(outline, rectangle[4], LABEL_IDS["building"])
    for xyr, rgbs in woods:
        canvas.circles(xyr, rgbs, LABEL_IDS["vegetation"])


def develop(
    image: np.ndarray,
    rng: np.random.Generator,
    brightness: float,
    contrast: float,
    tint: RGB,
    vignette: float,
    grain: float,
) -> np.ndarray:
    """Apply exposure to a mean of `brightness`, white balance, vignette, blur of the lens and sensor noise.

    image: uint8 [H, W, 3]; returns the same type and shape.
    """
    height, width = image.shape[:2]
    y = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    x = np.linspace(-1, 1, width, dtype=np.float32)[None, :]
    soft = cv2.GaussianBlur(image, (3, 3), 0.45)
    gain = brightness / max(float(image.mean()), 20.0)
    levels = np.clip(np.arange(256) * gain, 0, 400)
    curve = (brightness + (levels - brightness) * contrast).astype(np.float32)
    table = np.clip(curve[:, None] * np.asarray(tint, np.float32), 0, 255).astype(np.uint8)[None]
    exposed = cv2.LUT(soft, table).astype(np.float32)
    exposed *= (1 - vignette * (x * x + y * y) / 2)[..., None]
    exposed += rng.standard_normal((height, width, 1), dtype=np.float32) * np.float32(grain)
    exposed += rng.standard_normal((height, width, 3), dtype=np.float32) * np.float32(grain * 0.5)
    return np.clip(exposed, 0, 255).astype(np.uint8)
