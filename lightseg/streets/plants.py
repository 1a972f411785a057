"""Trees and bushes: a trunk, and a crown of leaf clumps, brighter towards the sun and darker inside."""

# ruff: noqa: RUF005 - array + tuple is numpy's addition, not concatenation
from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lightseg.streets.camera import RGB, Camera, Light
from lightseg.streets.canvas import LABEL_IDS, Canvas

VEGETATION = LABEL_IDS["vegetation"]


@dataclass(frozen=True)
class Tree:
    x: float
    z: float
    trunk: float  # m up to the crown; a bush has 0
    crown: tuple[float, float]  # half width and half height, m
    conifer: bool
    leaves: RGB
    seed: int

    @property
    def height(self) -> float:
        return self.trunk + 2 * self.crown[1]

    def footprint(self) -> np.ndarray:
        """[4, 2] (x, z) in m: of the trunk; of a bush, of all of it."""
        half = self.crown[0] * (0.25 if self.trunk else 0.9)
        return np.array([[-half, -half], [half, -half], [half, half], [-half, half]]) + (self.x, self.z)

    def crown_disc(self) -> np.ndarray:
        angle = np.linspace(0, 2 * np.pi, 12, endpoint=False)
        return np.stack([self.x + self.crown[0] * np.cos(angle), self.z + self.crown[0] * np.sin(angle)], axis=1)


def draw_tree(canvas: Canvas, camera: Camera, light: Light, tree: Tree) -> None:
    rng = np.random.default_rng(tree.seed)
    scale = camera.scale(tree.z)
    base = camera.project(np.array([tree.x, 0, tree.z]))
    reach = (tree.crown[0] * 1.3 + 0.5) * scale
    if base[0] + reach < 0 or base[0] - reach > camera.width:
        return
    if tree.trunk:
        bark = (92 + rng.uniform(-20, 20), 78 + rng.uniform(-15, 10), 64 + rng.uniform(-15, 10))
        thick = (0.16 + 0.03 * tree.crown[0]) * scale
        fork = camera.project(np.array([tree.x, tree.trunk + tree.crown[1] * 0.6, tree.z]))
        for side, rgb in ((0.0, bark), (0.35, (bark[0] * 0.7, bark[1] * 0.7, bark[2] * 0.7))):
            trunk = np.array(
                [
                    base + (thick, 0),
                    fork + (thick * 0.6, 0),
                    fork + (thick * (side * 2 - 1) * 0.6, 0),
                    base + (thick * (side * 2 - 1), 0),
                ]
            )
            canvas.polygon(trunk, light.color(rgb, None, tree.z), VEGETATION)
    _draw_crown(canvas, camera, light, tree, base, scale, rng)


def _draw_crown(
    canvas: Canvas, camera: Camera, light: Light, tree: Tree, base: np.ndarray, scale: float, rng: np.random.Generator
) -> None:
    half_width, half_height = tree.crown
    count = int(np.clip(half_width * scale * 2, 14, 110))
    if tree.conifer:
        up = rng.random(count) ** 1.5
        across = rng.uniform(-1, 1, count) * (1 - up) * 0.95
        up = up * 2 - 1
        size = rng.uniform(0.1, 0.2, count) * (1.2 - 0.5 * (up + 1) / 2)
    else:
        angle, radius = rng.uniform(0, 2 * np.pi, count), np.sqrt(rng.random(count)) * rng.uniform(0.75, 1.0, count)
        across, up = radius * np.cos(angle), radius * np.sin(angle)
        size = rng.uniform(0.13, 0.3, count) * (1.15 - 0.5 * radius) * (1 + 6 / count)
    towards_sun = across * light.sun[0] + up * max(light.sun[1], 0.5)
    bright = 0.8 + 0.32 * towards_sun + rng.uniform(-0.13, 0.13, count)
    order = np.argsort(bright - rng.uniform(0, 0.25, count))
    center_y = base[1] - (tree.trunk + half_height) * scale
    leaves = np.asarray(tree.leaves)
    if not tree.conifer:  # a dark core, so that no sky shows through the middle
        core = light.color(tuple(leaves * 0.55), None, tree.z)
        outline = np.linspace(0, 2 * np.pi, 14, endpoint=False)
        shape = np.stack(
            [
                base[0] + np.cos(outline) * half_width * 0.72 * scale,
                center_y + np.sin(outline) * half_height * 0.72 * scale,
            ],
            1,
        )
        canvas.polygon(shape, core, VEGETATION)
    xyr = np.empty((count, 3))
    xyr[:, 0] = base[0] + across * half_width * scale
    xyr[:, 1] = np.minimum(center_y - up * half_height * scale, base[1])
    xyr[:, 2] = size * half_width * scale
    canvas.circles(xyr[order], light.colors(leaves * bright[order, None], tree.z), VEGETATION)
