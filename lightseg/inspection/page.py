"""The HTML page of a DataReport: findings first, then samples, classes, image and box sizes. Images are embedded."""

import base64
from collections import Counter
from datetime import datetime
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from lightseg.data.io.images import read_image
from lightseg.draw import resize_to_width
from lightseg.errors import DataError
from lightseg.html_page import render, save_page
from lightseg.inspection.findings import Example, Finding
from lightseg.inspection.report import DataReport, SplitReport

ASSETS = Path(__file__).parent / "assets"
EXAMPLE_WIDTH = 220  # pixels of the images of findings
QUALITY = 82  # of JPEG
MOST_SIZES = 400  # different image sizes of a split in the plot
BINS = np.arange(-1, 13.01, 0.5)  # log2 of pixels: half octaves from 0.5 to 8192


def write_page(report: DataReport, path: Path) -> Path:
    """Write the page and return its path. Raises LightsegError if the file cannot be written."""
    text = render(ASSETS, "data.html", ["data.css"], ["charts.js", "data.js"], page_data(report))
    save_page(text, path)
    return path


def page_data(report: DataReport) -> dict[str, Any]:
    """The JSON that the script reads."""
    counts = [f"{split.samples:,} {name} {report.unit}" for name, split in report.splits.items()]
    return {
        "title": report.name,
        "task": report.title,
        "summary": " · ".join((*counts, f"made {datetime.now():%Y-%m-%d %H:%M}")),
        "network": None if report.network is None else list(report.network),
        "findings": [_finding(finding, report) for finding in report.findings],
        "samples": [
            {"name": one.name, "labels": one.labels, "before": embedded(one.before), "after": embedded(one.after)}
            for one in report.samples
        ],
        "splits": {name: _split(split) for name, split in report.splits.items()},
        "classes": _classes(report),
    }


def _finding(finding: Finding, report: DataReport) -> dict[str, Any]:
    return {
        "level": finding.level,
        "text": finding.line(),
        "examples": [_example(example, finding.split, report) for example in finding.examples],
    }


def _example(example: Example, split: str, report: DataReport) -> dict[str, Any]:
    image = report.drawn.get((split, example.index)) if example.index is not None else None
    paths = [path for path in (example.path, example.other) if path is not None]
    shown = [image] if image is not None else [_thumbnail(path) for path in paths]
    return {
        "names": [_relative(path, report.root) for path in paths],
        "text": example.text,
        "images": [embedded(one) for one in shown if one is not None],
    }


def _thumbnail(path: Path) -> np.ndarray | None:
    try:
        return resize_to_width(read_image(path), EXAMPLE_WIDTH)
    except DataError:
        return None


def _relative(path: Path, root: Path) -> str:
    return str(path.relative_to(root)) if path.is_relative_to(root) else str(path)


def _split(split: SplitReport) -> dict[str, Any]:
    common = Counter(map(tuple, split.sizes.tolist())).most_common(MOST_SIZES)
    counted = split.statistics
    sides = None if counted is None else counted.box_sides
    boxes: dict[str, Any] | None = None
    if counted is not None and sides is not None and len(sides):
        logs = np.log2(np.sqrt(sides.astype(np.float64).prod(1)).clip(2.0 ** BINS[0], 2.0 ** BINS[-1] * 0.999))
        boxes = {
            "edges": [2.0**edge for edge in BINS.tolist()],
            "counts": np.histogram(logs, BINS)[0].tolist(),
            "marks": [list(mark) for mark in counted.marks],
            "network": counted.stride is not None,
        }
    return {
        "samples": split.samples,
        "images": split.images,
        "unreadable": len(split.unreadable),
        "sizes": [[width, height, count] for (height, width), count in common],
        "ignored": None if counted is None else counted.ignored,
        "counted": None if counted is None else counted.of,
        "boxes": boxes,
    }


def _classes(report: DataReport) -> dict[str, Any] | None:
    counted = {name: split.statistics for name, split in report.splits.items() if split.statistics is not None}
    if not counted:
        return None
    first = next(iter(counted.values()))
    return {
        "unit": first.unit,
        "samples": report.unit,
        "splits": list(counted),
        "rows": [
            {
                "name": str(name),
                "color": "#{:02x}{:02x}{:02x}".format(*report.class_colors[label]),
                "counts": [int(one.counts[label]) for one in counted.values()],
                "images": [int(one.images[label]) for one in counted.values()],
            }
            for label, name in enumerate(first.class_names)
        ],
    }


def embedded(image: np.ndarray) -> str:
    """A uint8 RGB image as the address of a JPEG."""
    content = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1].tobytes()
    return f"data:image/jpeg;base64,{base64.b64encode(content).decode()}"
