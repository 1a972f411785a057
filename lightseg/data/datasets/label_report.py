"""The lines that say which labels of a format were left out, and where the first of them stands."""

import re
from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lightseg.data.datasets.labeled import Labels

_ANNOTATION = re.compile(r"(the first: )(?:id|annotation) (\d+)")  # of the reports on COCO's annotations


class LeftOut:
    """Counts of labels that were left out, by reason, and of what else is odd."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[str, str]] = Counter()
        self._first: dict[tuple[str, str], str] = {}

    def add(self, reason: str, where: str, *, of: str = "") -> None:
        """reason: completes "3 labels ...". where: the file and line. of: "images", for a remark."""
        self._counts[reason, of] += 1
        self._first.setdefault((reason, of), where)

    def report(self) -> list[str]:
        return [self._line(key) for key in self._counts if not key[1]]

    def notes(self) -> list[str]:
        return [self._line(key) for key in self._counts if key[1]]

    def most(self) -> str:
        """The line of the commonest reason, "" if nothing was left out."""
        reasons = [key for key in self._counts if not key[1]]
        return self._line(max(reasons, key=lambda key: self._counts[key])) if reasons else ""

    def _line(self, key: tuple[str, str]) -> str:
        reason, of = key
        end = "" if of else " and are left out"
        return f"{self._counts[key]} {of or 'labels'} {reason}{end}, the first: {self._first[key]}"


def located(line: str, labels: "Labels") -> str:
    """A line on COCO's annotations, which are numbered from 1 in the order of the objects, with the file and line."""

    def place(match: re.Match[str]) -> str:
        number = int(match[2])
        for index, labeled in enumerate(labels.objects(), start=1):
            if index == number:
                return match[1] + labeled.where
        return match[0]

    return _ANNOTATION.sub(place, line)
