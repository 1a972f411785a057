"""The predictions of classifiers, of a single class an image or of several."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from lightseg.predictions.base import Prediction, names_of, supervision

TOP = 5  # classes that are drawn and saved


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Classification(Prediction):
    """
    Attributes:
        probabilities: float32 [classes].
        labels: int64 [n], the classes from the call's `score` on, the most likely first; without it all.
        scores: float32 [n], their probabilities.
    """

    probabilities: np.ndarray
    labels: np.ndarray
    scores: np.ndarray

    @property
    def label(self) -> int:
        """The most likely class."""
        return int(self.probabilities.argmax())

    @property
    def name(self) -> str:
        """The most likely class."""
        return self.class_names[self.label]

    def top(self, count: int = TOP) -> list[tuple[str, float]]:
        """The first of `labels` as (name, probability)."""
        return list(zip(names_of(self.class_names, self.labels[:count]), self.scores[:count].tolist(), strict=True))

    def plot(self, min_score: float | None = None) -> np.ndarray:
        """The five most likely classes of `labels`, at the upper left. min_score: None: all five."""
        return draw_classes(self.image, [pair for pair in self.top() if min_score is None or pair[1] >= min_score])

    def to_dict(self) -> dict[str, Any]:
        top = [{"class": name, "probability": probability} for name, probability in self.top()]
        return {**self._origin(), "class": self.name, "top": top}

    def to_supervision(self) -> Any:
        return supervision().Classifications(class_id=self.labels, confidence=self.scores)

    def _summary(self) -> str:
        return f"{self.name} {self.probabilities[self.label]:.2f}"


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class MultiLabel(Classification):
    """Classes that an image has, of which each has a probability of its own. The attributes are `Classification`'s."""

    def present(self, min_score: float | None = None) -> list[tuple[str, float]]:
        """The classes from a probability on, as (name, probability). min_score: None: the call's `score`, or 0.3."""
        least = self._shown(min_score)
        return [pair for pair in self.top(len(self.labels)) if pair[1] >= least]

    def plot(self, min_score: float | None = None) -> np.ndarray:
        """The classes of `present`, at the upper left."""
        return draw_classes(self.image, self.present(min_score))

    def to_dict(self) -> dict[str, Any]:
        classes = [{"class": name, "probability": probability} for name, probability in self.present()]
        return {**self._origin(), "classes": classes}

    def _summary(self) -> str:
        return ", ".join(f"{name} {probability:.2f}" for name, probability in self.present())


def best_first(probabilities: np.ndarray) -> np.ndarray:
    """The labels int64 [C] by probability; of equal ones the smaller label is first."""
    return np.argsort(-probabilities, kind="stable")


def draw_classes(image: np.ndarray, top: Sequence[tuple[str, float]]) -> np.ndarray:
    """Draw classes (name, probability) at the upper left of uint8 [H, W, 3], as many as fit."""
    canvas = Image.fromarray(image)
    letters = max(10, round(canvas.width / 32))
    draw, font = ImageDraw.Draw(canvas), ImageFont.load_default(letters)
    line = letters + 4
    for row, (name, probability) in enumerate(top):
        text = f"{100 * probability:.1f} % {name}"
        if row and (row + 1) * line > canvas.height:
            break
        draw.rectangle((0, row * line, font.getlength(text) + 8, (row + 1) * line), fill=(24, 24, 24))
        draw.text((4, (row + 0.5) * line), text, "white", font, anchor="lm")
    return np.array(canvas)
