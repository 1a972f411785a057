"""DataReport: what `lightseg.inspect_data` returns."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from lightseg.data.statistics.base import LabelStatistics, percent
from lightseg.inspection.findings import Finding
from lightseg.text import align

SHOWN_CLASSES = 40  # rows of the table in a terminal


@dataclass(frozen=True)
class Sample:
    """A training sample: uint8 images [H, W, 3] with labels, as on disk and after the augmentation."""

    name: str
    labels: str
    before: np.ndarray = field(repr=False)
    after: np.ndarray = field(repr=False)


@dataclass(frozen=True)
class SplitReport:
    """
    Attributes:
        samples: number of samples. images: number of image files.
        unreadable: files that cannot be read, and why.
        sizes: int64 [images, 2], height and width of the readable images.
        statistics: counts of the labels; None for a split without labels.
    """

    samples: int
    images: int
    unreadable: list[tuple[Path, str]]
    sizes: np.ndarray = field(repr=False)
    statistics: LabelStatistics | None = field(repr=False)


@dataclass(frozen=True)
class DataReport:
    """
    Attributes:
        name: of the data choice. task: its short name, title: in words. unit: of the samples, "images" or "persons".
        splits: "train" and "val".
        findings: what is suspicious, the worst first.
        samples: some training samples.
        network: (height, width) of the training images; None where they have the size of their files.
        root: the folder of the data.
        class_colors: an RGB color a class.
        drawn: by split and index, the samples of the findings, with their labels.
    """

    name: str
    task: str
    title: str
    unit: str
    splits: dict[str, SplitReport]
    findings: list[Finding]
    samples: list[Sample] = field(repr=False)
    network: tuple[int, int] | None
    root: Path
    class_colors: Sequence[Sequence[int]] = field(repr=False)
    drawn: dict[tuple[str, int], np.ndarray] = field(default_factory=dict, repr=False)

    def __str__(self) -> str:
        """The tables and the findings, as `lightseg data` prints them."""
        parts = ["\n".join(align(self._split_rows(), {0})), "\n".join(align(self._class_rows(), {0}))]
        findings = [f"{finding.level}: {finding.line()}" for finding in self.findings]
        return "\n\n".join(part for part in (*parts, "\n".join(findings)) if part)

    def save(self, path: str | Path) -> Path:
        """Write the HTML page. Raises LightsegError if the file cannot be written."""
        from lightseg.inspection.page import write_page

        return write_page(self, Path(path))

    def _split_rows(self) -> list[list[str]]:
        rows = [[f"{self.task}: {self.name}", self.unit, "unreadable", "sizes, width x height", "labels", "ignored"]]
        for split, report in self.splits.items():
            counted = report.statistics
            labels = "none" if counted is None else f"{int(counted.counts.sum()):,} {counted.unit}"
            ignored = "" if counted is None or counted.ignored is None else percent(counted.ignored)
            number = f"{report.samples:,}"
            rows.append([split, number, str(len(report.unreadable)), size_range(report.sizes), labels, ignored])
        return rows

    def _class_rows(self) -> list[list[str]]:
        counted = {split: report.statistics for split, report in self.splits.items() if report.statistics}
        if not counted:
            return []
        first = next(iter(counted.values()))
        heading = ["keypoint" if first.unit == "keypoints" else "class"]
        for split in counted:
            heading += [f"{split} {first.unit}", "share", self.unit]
        rows = [heading]
        order = np.argsort(-first.counts, kind="stable").tolist()
        hidden = max(0, len(order) - SHOWN_CLASSES)
        half = SHOWN_CLASSES // 2
        for label in order[:half] + order[half + hidden :]:
            row = [str(first.class_names[label])]
            for statistics in counted.values():
                count = int(statistics.counts[label])
                share = percent(count / max(1, int(statistics.counts.sum())))
                row += [f"{count:,}", share, f"{int(statistics.images[label]):,}"]
            rows.append(row)
        if hidden:
            rows.insert(half + 1, [f"... {hidden} more", *[""] * (len(heading) - 1)])
        return rows


def size_range(sizes: np.ndarray) -> str:
    """640x480; or the median and the extremes of each side."""
    if not len(sizes):
        return ""
    if (sizes == sizes[0]).all():
        return f"{sizes[0, 1]}x{sizes[0, 0]}"
    (low_h, low_w), (high_h, high_w) = sizes.min(0).tolist(), sizes.max(0).tolist()
    height, width = np.median(sizes, axis=0).astype(int).tolist()
    return f"{width}x{height} ({low_w}..{high_w} x {low_h}..{high_h})"
