"""The camera and the light: projection of points to pixels, and shading of surfaces.

World coordinates are road coordinates in meters: x to the right of the road's middle, y up from the ground, z along
the road, away from the camera. The road's bend and the camera's yaw are part of the projection, so all other modules
use a straight road. Pixel coordinates are (x right, y down) with pixel centers at integers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

NEAR = 0.7  # m; nearer points are moved to this distance (they are outside the frame in every layout)
FAR_OUT = 16000.0  # px; coordinates are clipped to it, because cv2's fixed-point coordinates overflow at 32768
BEND_END = 70.0  # m; the road is straight beyond it, or far objects would leave the frame sideways

RGB = tuple[float, float, float]


@dataclass(frozen=True)
class Camera:
    """A pinhole camera `eye` meters above the road at lateral position `x`, looking along +z.

    Pixels are those of the canvas.
    """

    width: int
    height: int
    focal: float  # px
    horizon: float  # px below the top edge, at the middle column
    eye: float  # m
    x: float  # m
    yaw: float  # m of sideways drift per m ahead
    bend: float  # 1/m, the road's curvature
    roll: float  # rad

    def drift(self, z: np.ndarray) -> np.ndarray:
        """Sideways offset (m) of the road's middle at distance z (m)."""
        bent = np.minimum(z, BEND_END)
        return self.yaw * z + self.bend * bent * (z - bent / 2)

    def drift_at(self, z: float) -> float:
        bent = min(z, BEND_END)
        return self.yaw * z + self.bend * bent * (z - bent / 2)

    def project(self, points: np.ndarray) -> np.ndarray:
        """World points [..., 3] in m -> pixels [..., 2]."""
        z = np.maximum(points[..., 2], NEAR)
        bent = np.minimum(z, BEND_END)
        per_meter = self.focal / z
        right = (points[..., 0] - self.x + self.yaw * z + self.bend * bent * (z - bent / 2)) * per_meter
        down = (self.eye - points[..., 1]) * per_meter
        cos, sin = math.cos(self.roll), math.sin(self.roll)
        pixels = np.empty((*z.shape, 2))
        pixels[..., 0] = self.width / 2 - 0.5 + right * cos - down * sin
        pixels[..., 1] = self.horizon - 0.5 + right * sin + down * cos
        return np.minimum(np.maximum(pixels, -FAR_OUT, out=pixels), FAR_OUT, out=pixels)

    def ground(self) -> tuple[np.ndarray, np.ndarray]:
        """The ground point x, z (m, each float32 [H, W]) in every pixel; z is inf above the horizon."""
        right = np.arange(self.width, dtype=np.float32)[None, :] - (self.width / 2 - 0.5)
        down = np.arange(self.height, dtype=np.float32)[:, None] - (self.horizon - 0.5)
        cos, sin = np.float32(np.cos(self.roll)), np.float32(np.sin(self.roll))
        below = down * cos - right * sin
        with np.errstate(divide="ignore"):
            z = np.where(below > 0.5, np.float32(self.focal * self.eye) / below, np.float32(np.inf)).astype(np.float32)
        reach = np.minimum(z, np.float32(1e4))
        x = (right * cos + down * sin) * reach / np.float32(self.focal) + np.float32(self.x) - self.drift(reach)
        return x.astype(np.float32), z

    def scale(self, z: float) -> float:
        """Pixels per meter at distance z."""
        return self.focal / max(z, NEAR)

    def sees(self, x: float, z: float, margin: float = 0.0) -> bool:
        """Whether the ground point (x, z) lies between the frame's left and right edge, `margin` meters inside."""
        offset = abs(x - self.x + self.drift_at(z)) + margin
        return z > NEAR and offset * self.focal / z < self.width / 2


@dataclass(frozen=True)
class Light:
    """A sun of color `sun_rgb`, an ambient sky `ambient_rgb` (both factors), and haze."""

    sun: tuple[float, float, float]  # unit vector towards it
    sun_rgb: RGB
    ambient_rgb: RGB
    haze_rgb: RGB  # 0..255
    haze_distance: float  # m, where haze contributes 63 % of the color
    shadow: float  # 0..1, darkness of a cast shadow

    def color(self, rgb: RGB, normal: tuple[float, float, float] | None = None, z: float = 0.0) -> tuple[int, int, int]:
        """The pixel color of a surface `rgb` (0..255) at distance z (m).

        normal: unit vector; None: the mean over all directions, for round surfaces.
        """
        sun = self.sun
        facing = 0.55 if normal is None else max(0.0, normal[0] * sun[0] + normal[1] * sun[1] + normal[2] * sun[2])
        clear = math.exp(-max(z, 0.0) / self.haze_distance)
        (ar, ag, ab), (sr, sg, sb), (hr, hg, hb) = self.ambient_rgb, self.sun_rgb, self.haze_rgb
        r = rgb[0] * (ar + sr * facing) * clear + hr * (1 - clear)
        g = rgb[1] * (ag + sg * facing) * clear + hg * (1 - clear)
        b = rgb[2] * (ab + sb * facing) * clear + hb * (1 - clear)
        return min(255, max(0, int(r))), min(255, max(0, int(g))), min(255, max(0, int(b)))

    def colors(self, rgb: np.ndarray, z: float) -> np.ndarray:
        """As `color` without a normal, for surfaces [N, 3]; uint8 [N, 3]."""
        clear = math.exp(-max(z, 0.0) / self.haze_distance)
        gain = (np.asarray(self.ambient_rgb) + np.asarray(self.sun_rgb) * 0.55) * clear
        return np.clip(rgb * gain + np.asarray(self.haze_rgb) * (1 - clear), 0, 255).astype(np.uint8)

    def shadow_reach(self, height: float) -> tuple[float, float]:
        """Offset (dx, dz) in m of the shadow of a point `height` m above the ground."""
        x, y, z = self.sun
        stretch = min(height / max(y, 0.2), 14.0)
        return -x * stretch, -z * stretch


def sample_camera(rng: np.random.Generator, height: int, width: int, x: float) -> Camera:
    """A car's camera: 54 to 68 degrees of view, 1.25 to 1.75 m above the road, with a small yaw and roll."""
    return Camera(
        width=width,
        height=height,
        focal=width * rng.uniform(0.74, 0.98),
        horizon=height * rng.uniform(0.36, 0.5),
        eye=rng.uniform(1.25, 1.75),
        x=x,
        yaw=rng.uniform(-0.14, 0.05),  # more often to the right, where the sidewalk is nearer
        bend=rng.uniform(-0.005, 0.005),
        roll=rng.normal(0, 0.012),
    )


def sample_light(rng: np.random.Generator) -> Light:
    """Sunny (1/2 of the scenes), overcast (1/3) or dusk (1/6)."""
    kind = ("sunny", "sunny", "sunny", "overcast", "overcast", "dusk")[rng.integers(6)]
    elevation = {"sunny": rng.uniform(0.6, 1.1), "overcast": 1.2, "dusk": rng.uniform(0.2, 0.4)}[kind]
    azimuth = rng.uniform(0, 2 * np.pi)
    flat = np.cos(elevation)
    sun = (float(flat * np.sin(azimuth)), float(np.sin(elevation)), float(-flat * np.cos(azimuth)))
    if kind == "sunny":
        haze = (rng.uniform(185, 220), rng.uniform(205, 225), rng.uniform(225, 240))
        return Light(sun, (0.62, 0.59, 0.53), (0.48, 0.51, 0.56), haze, rng.uniform(90, 260), rng.uniform(0.4, 0.55))
    if kind == "overcast":
        gray = rng.uniform(190, 225)
        return Light(
            sun,
            (0.22, 0.22, 0.22),
            (0.7, 0.71, 0.73),
            (gray, gray, gray + 5),
            rng.uniform(60, 160),
            rng.uniform(0.1, 0.2),
        )
    haze = (rng.uniform(200, 240), rng.uniform(150, 180), rng.uniform(120, 160))
    return Light(sun, (0.66, 0.5, 0.34), (0.36, 0.36, 0.44), haze, rng.uniform(90, 200), rng.uniform(0.3, 0.45))
