"""The history of a search: expected cost at every step of the choices, and probabilities after every epoch."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

WIDTH, STRIP, LABEL, VALUES, GAP = 260, 24, 190, 170, 6  # pixels
COLORS = (
    (68, 119, 170), (238, 102, 119), (34, 136, 51), (204, 187, 68), (102, 204, 238), (170, 51, 119), (187, 187, 187),
)  # fmt: skip  # Paul Tol's bright scheme, safe for color blindness


@dataclass
class History:
    """costs: expected cost of each step. probabilities: decision -> a list of probabilities for each epoch."""

    costs: list[float] = field(default_factory=list)
    probabilities: dict[str, list[list[float]]] = field(default_factory=dict)

    def append(self, probabilities: Mapping[str, list[float]]) -> None:
        """Add the probabilities after an epoch."""
        for name, values in probabilities.items():
            self.probabilities.setdefault(name, []).append(values)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def plot_search(
    history: History,
    choices: Mapping[str, Sequence[Any]],
    chosen: Mapping[str, int],
    target: float,
    format_cost: Callable[[float], str],
) -> np.ndarray:
    """Plot a search as uint8 [H, W, 3]: the cost over the steps, and a strip for each decision.

    The bands of a strip are the probabilities of the choices over the epochs, with the first choice at the bottom. The
    decision and the chosen value are to the left of the strip, all choices in their colors to the right.

    Args:
        choices: decision -> its choices.
        chosen: decision -> index of the chosen one.
        target: of the cost.
        format_cost: a cost as text with its unit.
    """
    font = ImageFont.load_default(12)
    columns = 1 if len(choices) <= 12 else 2 if len(choices) <= 60 else 3
    rows = -(-len(choices) // columns)
    plot = 200
    column = LABEL + WIDTH + VALUES + 3 * GAP
    sheet = Image.new("RGB", (columns * column, plot + 2 * GAP + rows * (STRIP + GAP)), "white")
    draw = ImageDraw.Draw(sheet)
    _cost_curve(
        draw, history.costs, target, format_cost, (LABEL, GAP + 16, columns * column - 2 * GAP, plot - 24), font
    )
    for number, (name, values) in enumerate(choices.items()):
        left = number // rows * column + GAP
        top = plot + number % rows * (STRIP + GAP)
        label = f"{name}: {_short(values[chosen[name]])}"
        draw.text((left, top + STRIP / 2), label, "black", font, anchor="lm")
        probabilities = np.asarray(history.probabilities.get(name, []), np.float64).reshape(-1, len(values))
        if len(probabilities):
            strip = Image.fromarray(_bands(probabilities))
            sheet.paste(strip, (left + LABEL, top))
        x = left + LABEL + WIDTH + GAP
        for index, value in enumerate(values):
            draw.text((x, top + STRIP / 2), _short(value), COLORS[index % len(COLORS)], font, anchor="lm")
            x += round(font.getlength(_short(value))) + GAP
    return np.asarray(sheet)


def _bands(probabilities: np.ndarray) -> np.ndarray:
    """Probabilities [epochs, n] -> uint8 [STRIP, WIDTH, 3]."""
    epochs = np.minimum(np.arange(WIDTH) * len(probabilities) // WIDTH, len(probabilities) - 1)
    heights = (np.arange(STRIP)[::-1] + 0.5) / STRIP
    upper = np.cumsum(probabilities, 1)[epochs]  # [WIDTH, n]
    index = (heights[:, None, None] > upper[None]).sum(2).clip(0, probabilities.shape[1] - 1)
    return np.asarray(COLORS, np.uint8)[index % len(COLORS)]


def _cost_curve(
    draw: ImageDraw.ImageDraw,
    costs: Sequence[float],
    target: float,
    format_cost: Callable[[float], str],
    box: tuple[int, int, int, int],
    font: Any,
) -> None:
    """Draw the cost curve and the line of the target in the box (left, top, right, bottom)."""
    left, top, right, bottom = box
    max_cost = max([*costs, target]) * 1.05

    def height(cost: float) -> float:
        return bottom - (bottom - top) * cost / max_cost

    draw.text((left, top - 14), "expected cost at each step of the choices", "black", font)
    draw.rectangle((left, top, right, bottom), outline="grey")
    draw.line((left, height(target), right, height(target)), fill=COLORS[1])
    draw.text((left - 4, height(target)), f"target {format_cost(target)}", COLORS[1], font, anchor="rm")
    draw.text((right, bottom + 2), f"step {len(costs)}", "black", font, anchor="ra")
    if len(costs) > 1:
        steps = np.linspace(0, len(costs) - 1, min(len(costs), right - left)).astype(int)
        points = [(left + (right - left) * step / (len(costs) - 1), height(costs[step])) for step in steps]
        draw.line(points, fill=COLORS[0], width=2)


def _short(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)
