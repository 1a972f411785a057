"""What is suspicious in a data set, the worst first."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from lightseg.data.io.integrity import copy_notes
from lightseg.data.io.near_duplicates import near_duplicates
from lightseg.data.statistics.base import FEW, LabelStatistics, percent
from lightseg.errors import DataError, one_line

LEVELS = ("error", "warning", "note")  # training is refused or fails; figures suffer; good to know
CURES = {"pixels": "; see loss.class_weights=auto", "images": "; see data.sampler=balanced"}  # of rare classes, by unit
EXAMPLES = 8  # files of a finding that are kept
MOST_COMPARED = 200_000  # images that near-duplicates are looked for among


@dataclass(frozen=True)
class Example:
    """A file of a finding. other: the one that it looks like. index: of the sample in its split, None: no sample."""

    path: Path
    text: str = ""
    index: int | None = None
    other: Path | None = None


@dataclass(frozen=True)
class Finding:
    """
    Attributes:
        level: "error": training is refused, or fails; "warning": figures suffer; "note": good to know.
        split: "train" or "val"; "" for both together.
        text: what it is, and what to do.
        examples: the first of its files.
    """

    level: str
    split: str
    text: str
    examples: list[Example] = field(default_factory=list, repr=False)

    def line(self) -> str:
        return f"{self.split}: {self.text}" if self.split else self.text


@dataclass
class Looked:
    """A split that was read. small: gray images of `read_small` by path, of the readable images."""

    dataset: Any
    unreadable: list[tuple[Path, str]]
    small: dict[str, np.ndarray]
    sizes: dict[str, tuple[int, int]]
    statistics: LabelStatistics | None = None


def find_all(looked: Mapping[str, Looked], check_splits: Callable[[Any, Any], None]) -> list[Finding]:
    """The findings of the splits, sorted by level.

    check_splits: raises DataError where the classes of the splits differ.
    """
    findings = [finding for split, one in looked.items() for finding in _of_split(split, one)]
    if {"train", "val"} <= set(looked):
        train, val = looked["train"], looked["val"]
        findings += _refusals(train, val, check_splits)
        findings += _shared(train, val)
    return sorted(findings, key=lambda finding: LEVELS.index(finding.level))


def _refusals(train: Looked, val: Looked, check_splits: Callable[[Any, Any], None]) -> Iterator[Finding]:
    for split, check in (("", lambda: check_splits(train.dataset, val.dataset)), ("val", val.dataset.check_evaluable)):
        if split == "val" and val.statistics is not None and val.statistics.faults:
            continue  # the same fault, said with its numbers
        try:
            check()
        except DataError as error:
            yield Finding("error", split, one_line(error))


def _shared(train: Looked, val: Looked) -> Iterator[Finding]:
    yield from (Finding("warning", "", line) for line in copy_notes(train.dataset.paths, val.dataset.paths, "val"))
    if len(train.small) + len(val.small) > MOST_COMPARED:
        yield Finding("note", "", f"more than {MOST_COMPARED} images: near-duplicates were not looked for")
        return
    theirs, mine = list(train.small), list(val.small)
    matches = near_duplicates(list(val.small.values()), list(train.small.values()))
    if matches:
        matches.sort(key=lambda match: match.bits)
        examples = [
            Example(Path(mine[match.image]), f"{match.bits} of 256 bits differ", other=Path(theirs[match.other]))
            for match in matches[:EXAMPLES]
        ]
        yield Finding(
            "warning",
            "",
            f"{len(matches)} of {len(mine)} val images look like a training image: figures are too good where they are "
            "of the same scene",
            examples,
        )


def _of_split(split: str, one: Looked) -> Iterator[Finding]:
    paths, counted = one.dataset.paths, one.statistics
    if one.unreadable:
        examples = [Example(path, reason) for path, reason in one.unreadable[:EXAMPLES]]
        total = len(one.unreadable) + len(paths)
        yield Finding(
            "error", split, f"{len(one.unreadable)} of {total} samples cannot be read{_first(examples)}", examples
        )
    if counted is None:
        yield Finding("note", split, "no labels to count")
        return
    if counted.unreadable:
        examples = [Example(paths[index], one_line(error), index) for index, error in counted.unreadable[:EXAMPLES]]
        count = len(counted.unreadable)
        yield Finding("error", split, f"{count} of {counted.counted} labels cannot be read{_first(examples)}", examples)
    yield from (Finding("error", split, one_line(error)) for error in counted.faults)
    level = "error" if split == "train" else "warning"
    yield from (Finding(level, split, one_line(error)) for error in counted.of_training)
    yield from (Finding("warning", split, line) for line in one.dataset.report)
    for level, lines in (("warning", counted.warnings), ("note", counted.notes)):
        for line, indices in lines.items():
            yield Finding(level, split, line, [Example(paths[index], "", index) for index in indices[:EXAMPLES]])
    yield from _on_classes(split, counted)
    if counted.box_sides is not None and len(counted.box_sides) and counted.stride:
        small = float((np.sqrt(counted.box_sides.prod(1)) < counted.stride).mean())
        if small >= 0.1:
            yield Finding(
                "note",
                split,
                f"{percent(small)} of the boxes are smaller than the finest stride ({counted.stride} px): raise "
                "data.augment.size and data.eval.size",
            )
    yield from (Finding("note", split, line) for line in one.dataset.notes)


def _on_classes(split: str, counted: LabelStatistics) -> Iterator[Finding]:
    few = counted.few()
    if few and split == "train" and "images" not in counted.unit:  # of images a warning says it
        names = ", ".join(f"{counted.class_names[label]} ({int(counted.images[label])})" for label in few[:6])
        more = f" and {len(few) - 6} more" if len(few) > 6 else ""
        text = f"{len(few)} of {len(counted.counts)} classes are in fewer than {FEW} samples: {names}{more}"
        yield Finding("warning", split, text)
    line = counted.imbalance()
    if line and split == "train":
        yield Finding("note", split, f"{line}{CURES.get(counted.unit, '')}")


def _first(examples: list[Example]) -> str:
    return f", the first: {examples[0].text}"
