"""What closes the view: the sky with its clouds, and the far end of the street."""

from __future__ import annotations

import cv2
import numpy as np

from lightseg.data.mini.camera import RGB, Camera, Light
from lightseg.data.mini.canvas import LABEL_IDS, Canvas, noise

FAR = 130.0  # m, where the far houses and woods stand


def draw_sky(canvas: Canvas, camera: Camera, light: Light, zenith: RGB, cloud: float, rng: np.random.Generator) -> None:
    """A gradient from `zenith` to the haze, with clouds over about the share `cloud` of it."""
    height, width = canvas.pixels.shape[:2]
    bottom = min(height, int(camera.horizon + abs(np.sin(camera.roll)) * width / 2) + 3)
    up = np.clip(1 - np.arange(bottom, dtype=np.float32) / np.float32(camera.horizon), 0, 1)[:, None, None] ** 0.7
    sky = np.asarray(light.haze_rgb, np.float32) * (1 - up) + np.asarray(zenith, np.float32) * up
    sky = np.repeat(sky, width, axis=1)
    drift = sum(noise(rng, bottom, width, width / n, stretch=3.0) / n * 6 for n in (6, 13, 28, 60))
    cover = np.clip(drift * 0.45 + (cloud - 0.5) * 3, 0, 1)[..., None] * 0.8
    bright = np.asarray(light.ambient_rgb, np.float32) * 0.5 + np.asarray(light.sun_rgb, np.float32) * 0.7
    belly = noise(rng, bottom, width, width / 20, stretch=3.0)[..., None] * 12
    sky = sky * (1 - cover) + np.clip(np.float32(225) * bright / bright.max() - belly, 0, 255) * cover
    canvas.pixels[:bottom, :, :3] = np.clip(sky, 0, 255).astype(np.uint8)
    canvas.pixels[:bottom, :, 3] = LABEL_IDS["sky"]


def draw_far_end(
    canvas: Canvas, camera: Camera, light: Light, walls: list[RGB], leaves: RGB, rng: np.random.Generator
) -> None:
    """Houses and trees FAR metres away, side by side over the whole width, and the ground before them."""
    span = FAR * camera.width / camera.focal
    middle = camera.x - float(camera.drift(np.asarray(FAR)))
    left = middle - span / 2 - 5
    while left < middle + span / 2 + 5:
        width = rng.uniform(8, 24)
        if rng.random() < 0.6:
            _far_house(canvas, camera, light, walls[rng.integers(len(walls))], left, width, rng)
        else:
            top = rng.uniform(4, 9)
            for _ in range(14):
                x, y = left + width * rng.random(), top * rng.uniform(0, 1)
                pixel = camera.project(np.array([x, y, FAR]))
                tone = rng.uniform(0.7, 1.1)
                rgb = light.colour((leaves[0] * tone, leaves[1] * tone, leaves[2] * tone), None, FAR * 0.6)
                radius = camera.scale(FAR) * rng.uniform(1.5, 3)
                canvas.circle(pixel[0], pixel[1], radius, rgb, LABEL_IDS["vegetation"])
        left += width * 0.9


def _far_house(
    canvas: Canvas, camera: Camera, light: Light, wall: RGB, left: float, width: float, rng: np.random.Generator
) -> None:
    height = rng.uniform(6, 20)
    corners = np.array([[left, -1, FAR], [left, height, FAR], [left + width, height, FAR], [left + width, -1, FAR]])
    rgb = light.colour(wall, (0, 0, -1), FAR * 0.7)
    canvas.polygon(camera.project(corners), rgb, LABEL_IDS["building"])
    dark = (int(rgb[0] * 0.8), int(rgb[1] * 0.8), int(rgb[2] * 0.82))
    for floor in np.arange(2.0, height - 1.5, 3.2):
        for x in np.arange(left + 1, left + width - 1.5, 3.0):
            window = np.array(
                [[x, floor, FAR], [x, floor + 1.8, FAR], [x + 1.3, floor + 1.8, FAR], [x + 1.3, floor, FAR]]
            )
            canvas.polygon(camera.project(window), dark, LABEL_IDS["building"])


def develop(
    image: np.ndarray,
    rng: np.random.Generator,
    brightness: float,
    contrast: float,
    tint: RGB,
    vignette: float,
    grain: float,
) -> np.ndarray:
    """The finished uint8 picture: exposed to a mean of `brightness`, white balance, a darker rim, a soft lens and the sensor's grain."""
    height, width = image.shape[:2]
    y = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    x = np.linspace(-1, 1, width, dtype=np.float32)[None, :]
    soft = cv2.GaussianBlur(image, (3, 3), 0.45)
    gain = brightness / max(float(image.mean()), 20.0)
    levels = np.clip(np.arange(256) * gain, 0, 400)
    curve = (brightness + (levels - brightness) * contrast).astype(np.float32)
    table = np.clip(curve[:, None] * np.asarray(tint, np.float32), 0, 255).astype(np.uint8)[None]
    picture = cv2.LUT(soft, table).astype(np.float32)
    picture *= (1 - vignette * (x * x + y * y) / 2)[..., None]
    picture += rng.standard_normal((height, width, 1), dtype=np.float32) * np.float32(grain)
    picture += rng.standard_normal((height, width, 3), dtype=np.float32) * np.float32(grain * 0.5)
    return np.clip(picture, 0, 255).astype(np.uint8)
