"""How a search went: the expected cost at every step of the choices, their probabilities after every epoch."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

WIDTH, STRIP, LABEL, VALUES, GAP = 260, 24, 190, 170, 6  # pixels
COLOURS = (
    (68, 119, 170), (238, 102, 119), (34, 136, 51), (204, 187, 68), (102, 204, 238), (170, 51, 119), (187, 187, 187),
)  # fmt: skip  # Paul Tol's bright scheme, which the colour-blind can tell apart


@dataclass
class History:
    """costs: one a step of the choices. probabilities: by the decision's place, one list of shares an epoch."""

    costs: list[float] = field(default_factory=list)
    probabilities: dict[str, list[list[float]]] = field(default_factory=dict)

    def note(self, probabilities: Mapping[str, list[float]]) -> None:
        for name, shares in probabilities.items():
            self.probabilities.setdefault(name, []).append(shares)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def search_picture(
    history: History,
    choices: Mapping[str, Sequence[Any]],
    chosen: Mapping[str, int],
    target: float,
    say: Callable[[float], str],
) -> np.ndarray:
    """uint8 [H, W, 3]: cost against step, and below a strip a decision, whose bands are the choices' probabilities from
    the first epoch to the last, the first choice below; before a strip its decision with what was chosen, behind it all
    choices in their colours.

    Args:
        choices: of each decision, by its place.
        chosen: the number of the chosen one.
        say: a cost in words.
    """
    font = ImageFont.load_default(12)
    columns = 1 if len(choices) <= 12 else 2 if len(choices) <= 60 else 3
    rows = -(-len(choices) // columns)
    plot = 200
    column = LABEL + WIDTH + VALUES + 3 * GAP
    sheet = Image.new("RGB", (columns * column, plot + 2 * GAP + rows * (STRIP + GAP)), "white")
    draw = ImageDraw.Draw(sheet)
    _cost_curve(draw, history.costs, target, say, (LABEL, GAP + 16, columns * column - 2 * GAP, plot - 24), font)
    for number, (name, values) in enumerate(choices.items()):
        left = number // rows * column + GAP
        top = plot + number % rows * (STRIP + GAP)
        label = f"{name}: {_short(values[chosen[name]])}"
        draw.text((left, top + STRIP / 2), label, "black", font, anchor="lm")
        shares = np.asarray(history.probabilities.get(name, []), np.float64).reshape(-1, len(values))
        if len(shares):
            strip = Image.fromarray(_bands(shares))
            sheet.paste(strip, (left + LABEL, top))
        at = left + LABEL + WIDTH + GAP
        for index, value in enumerate(values):
            draw.text((at, top + STRIP / 2), _short(value), COLOURS[index % len(COLOURS)], font, anchor="lm")
            at += round(font.getlength(_short(value))) + GAP
    return np.asarray(sheet)


def _bands(shares: np.ndarray) -> np.ndarray:
    """shares [epochs, n] of sum 1 -> uint8 [STRIP, WIDTH, 3]."""
    epochs = np.minimum(np.arange(WIDTH) * len(shares) // WIDTH, len(shares) - 1)
    heights = (np.arange(STRIP)[::-1] + 0.5) / STRIP
    upper = np.cumsum(shares, 1)[epochs]  # [WIDTH, n]
    index = (heights[:, None, None] > upper[None]).sum(2).clip(0, shares.shape[1] - 1)
    return np.asarray(COLOURS, np.uint8)[index % len(COLOURS)]


def _cost_curve(
    draw: ImageDraw.ImageDraw,
    costs: Sequence[float],
    target: float,
    say: Callable[[float], str],
    box: tuple[int, int, int, int],
    font: Any,
) -> None:
    """A line in the box (left, top, right, low), which ends at the highest cost, and the target as another."""
    left, top, right, low = box
    most = max([*costs, target]) * 1.05

    def height(cost: float) -> float:
        return low - (low - top) * cost / most

    draw.text((left, top - 14), "expected cost at each step of the choices", "black", font)
    draw.rectangle((left, top, right, low), outline="grey")
    draw.line((left, height(target), right, height(target)), fill=COLOURS[1])
    draw.text((left - 4, height(target)), f"target {say(target)}", COLOURS[1], font, anchor="rm")
    draw.text((right, low + 2), f"step {len(costs)}", "black", font, anchor="ra")
    if len(costs) > 1:
        steps = np.linspace(0, len(costs) - 1, min(len(costs), right - left)).astype(int)
        points = [(left + (right - left) * step / (len(costs) - 1), height(costs[step])) for step in steps]
        draw.line(points, fill=COLOURS[0], width=2)


def _short(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)
