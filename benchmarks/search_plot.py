"""The plot of benchmarks/search.py: memory and time of a training step against the number of choices."""

from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

PANEL, MARGIN = (300, 190), (62, 34)  # pixels: width and height; left, and above and below
COLORS = {"masking": (0, 90, 181), "branches": (220, 50, 32)}
UNITS = {"mb": "living tensors, MB", "resident": "resident memory, MB", "ms": "time of a step, ms"}


def draw_steps(counts: list[int], kinds: dict[str, dict[str, list[dict[str, float]]]]) -> np.ndarray:
    """uint8 [H, W, 3], a row per kind of choices and a column per unit. Axes begin at 0; counts are equidistant."""
    font = ImageFont.load_default(12)
    cell = PANEL[0] + MARGIN[0] + 20, PANEL[1] + 2 * MARGIN[1]
    sheet = Image.new("RGB", (cell[0] * len(UNITS), cell[1] * len(kinds)), "white")
    draw = ImageDraw.Draw(sheet)
    for row, (kind, systems) in enumerate(kinds.items()):
        for column, unit in enumerate(UNITS):
            left, top = column * cell[0] + MARGIN[0], row * cell[1] + MARGIN[1]
            _panel(draw, (left, top), counts, systems, unit, f"{UNITS[unit]}, by {kind}", font)
    return np.asarray(sheet)


def _panel(
    draw: ImageDraw.ImageDraw,
    corner: tuple[int, int],
    counts: list[int],
    systems: dict[str, list[dict[str, float]]],
    unit: str,
    title: str,
    font: Any,
) -> None:
    left, top = corner
    right, low = left + PANEL[0], top + PANEL[1]
    upper = 1.05 * max(figures[unit] for system in systems.values() for figures in system)
    columns = [left + 15 + (PANEL[0] - 30) * i / max(1, len(counts) - 1) for i in range(len(counts))]
    draw.text((left, top - 18), title, "black", font)
    draw.rectangle((left, top, right, low), outline="grey")
    for fraction in (0.0, 0.5, 1.0):
        height = low - (low - top) * fraction / 1.05
        draw.text((left - 5, height), f"{upper / 1.05 * fraction:.0f}", "black", font, anchor="rm")
    for x, count in zip(columns, counts, strict=True):
        draw.text((x, low + 4), str(count), "black", font, anchor="ma")
    for number, (name, system) in enumerate(systems.items()):
        points = [(x, low - (low - top) * figures[unit] / upper) for x, figures in zip(columns, system, strict=True)]
        draw.line(points, fill=COLORS[name], width=2)
        for x, y in points:
            draw.ellipse((x - 3, y - 3, x + 3, y + 3), fill=COLORS[name])
        draw.text((left + 8, top + 6 + 15 * number), name, COLORS[name], font)
