"""LabelStatistics: the counts of a split's labels, and what is wrong with them."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from lightseg.errors import DataError
from lightseg.text import shorten

RARE = 20  # times as many labels of the most frequent class make a class rare
FEW = 10  # images of a class, below which its figures are chance


@dataclass
class LabelStatistics:
    """
    Attributes:
        class_names: of the C classes; pose: of the keypoints.
        unit: what `counts` counts, in the plural: "pixels", "boxes", "images", "keypoints" or, of images with several
            classes, "labels of images".
        counts: int64 [C], labels of every class in the samples that were counted.
        images: int64 [C], the number of those samples with a label of the class.
        counted, total: samples whose labels were counted; all samples.
        ignored: share of the labels that no class has, 0..1; None where that is not known.
        unlabeled: indices of samples without any label that counts.
        box_sides: float32 [N, 2], width and height of all boxes in pixels at the network's size; None without boxes.
        stride: of the finest feature map that boxes are predicted from, in pixels; None where that is not known.
        marks: lengths in pixels to compare the boxes with, and what they are.
        unreadable: indices of samples whose labels cannot be read, and why.
        faults: what makes training and evaluation meaningless, with the cure.
        of_training: what makes a training meaningless, but not an evaluation.
        warnings: what is odd, a line each, with the key to set, and the samples that it is about.
        notes: what is good to know, likewise.
    """

    class_names: Sequence[str]
    unit: str
    counts: np.ndarray
    images: np.ndarray
    counted: int
    total: int
    ignored: float | None = None
    unlabeled: list[int] = field(default_factory=list)
    box_sides: np.ndarray | None = None
    stride: int | None = None
    marks: list[tuple[int, str]] = field(default_factory=list)
    unreadable: list[tuple[int, DataError]] = field(default_factory=list)
    faults: list[DataError] = field(default_factory=list)
    of_training: list[DataError] = field(default_factory=list)
    warnings: dict[str, list[int]] = field(default_factory=dict)
    notes: dict[str, list[int]] = field(default_factory=dict)

    def check(self, *, training: bool) -> None:
        """Raise DataError for the first label that cannot be read, or the first fault."""
        for error in (*(error for _, error in self.unreadable), *self.faults, *(self.of_training if training else ())):
            raise error

    @property
    def of(self) -> str:
        """Which samples were counted."""
        return f"{self.total}" if self.counted == self.total else f"{self.counted} of {self.total}"

    def line(self) -> str:
        """The numbers that matter, in a line."""
        total = max(1, int(self.counts.sum()))
        order = np.argsort(-self.counts, kind="stable")
        most, least = order[0], order[self.counts[order] > 0][-1] if self.counts.any() else order[0]
        extremes = f"{self._share(least, total)} to {self._share(most, total)}"
        number = (
            f"{int(self.counts.sum()):,} {self.unit}" if self.unit != "pixels" else f"the masks of {self.of} images"
        )
        if len(self.counts) == 1:
            return f"{number} of {self.class_names[0]}"
        ignored = "" if not self.ignored else f", {percent(self.ignored)} ignored"
        kinds = "points" if self.unit == "keypoints" else "classes"
        return f"{number} of {len(self.counts)} {kinds}, {extremes}{ignored}"

    def _share(self, label: int, total: int) -> str:
        return f"{percent(self.counts[label] / total)} {self.class_names[label]}"

    def absent(self) -> list[str]:
        """The classes without a label."""
        return [name for name, count in zip(self.class_names, self.counts.tolist(), strict=True) if not count]

    def imbalance(self) -> str | None:
        """A line on classes that have less than 1/RARE of the labels of the most frequent class."""
        most = int(self.counts.max(initial=0))
        rare = [i for i in np.argsort(self.counts, kind="stable").tolist() if 0 < self.counts[i] * RARE < most]
        if not rare:
            return None
        names = shorten([f"{self.class_names[i]} ({int(self.counts[i]):,})" for i in rare], 4)
        first = f"{self.class_names[int(self.counts.argmax())]} ({most:,})"
        return (
            f"{len(rare)} of {len(self.counts)} classes have less than 1/{RARE} of the {self.unit} of {first}: {names}"
        )

    def few(self) -> list[int]:
        """The classes that fewer than FEW samples have, but at least one, the rarest first."""
        order = np.argsort(self.images, kind="stable").tolist()
        return [label for label in order if 0 < self.images[label] < FEW]


def percent(share: float) -> str:
    """0.1234 -> 12 %; 0.0123 -> 1.2 %; 0.000123 -> 0.012 %."""
    value = 100 * float(share)
    return f"{value:.0f} %" if value >= 9.95 or value == 0 else f"{value:.2g} %"
