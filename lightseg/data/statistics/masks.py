"""Pixels of every class in the masks of a segmentation split.

Masks are decoded until a number of pixels is reached, evenly over the split: all masks of small sets, a sample of large
ones. All are decoded where the sample holds a single class.
"""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from lightseg.data.datasets.segmentation import IGNORE, SegmentationDataset
from lightseg.data.io.images import read_mask
from lightseg.data.statistics.base import LabelStatistics, percent
from lightseg.errors import DataError
from lightseg.text import shorten

BUDGET = 64_000_000  # pixels of the sample: a second of decoding
LEAST = 32  # masks of the sample
UNKNOWN_AREA = 250_000  # pixels of a mask whose header was not read
PALETTES = 32  # palettes that are compared
MOSTLY_IGNORED = 0.9
_ROWS = 1 << 23  # pixels a call: OpenCV counts in float32, which is exact up to 2^24


def mask_statistics(dataset: SegmentationDataset, budget: int = BUDGET) -> LabelStatistics:
    """The pixels of a split's classes. Masks with an id of no class are unreadable.

    budget: pixels that are decoded, at least those of LEAST masks.
    """
    total = len(dataset)
    chosen = _sample(dataset, budget)
    counts, unreadable = _count(dataset, chosen)
    if len(chosen) < total and (counts[:, :IGNORE].sum(0) > 0).sum() < 2:
        chosen = range(total)
        counts, unreadable = _count(dataset, chosen)
    classes = counts[:, : dataset.num_classes]
    pixels, labeled = int(counts.sum()), classes.sum(1)
    result = LabelStatistics(
        dataset.class_names,
        "pixels",
        classes.sum(0),
        (classes > 0).sum(0),
        len(chosen),
        total,
        ignored=1 - float(labeled.sum()) / max(1, pixels),
        unlabeled=[index for index, count in zip(chosen, labeled.tolist(), strict=True) if not count],
        unreadable=unreadable,
    )
    if unreadable:
        broken = dict(unreadable)
        result.unlabeled = [index for index in result.unlabeled if index not in broken]
    pairs = dataset.pairs
    _add_faults(dataset, result, [path for index in chosen if (path := pairs[index].label) is not None])
    if not (result.faults or result.of_training):
        result.warnings |= _warnings(result)
    return result


def _sample(dataset: SegmentationDataset, budget: int) -> range:
    """Indices of samples, evenly over the split."""
    total = len(dataset)
    height, width = dataset.image_sizes.max(0).tolist()
    wanted = max(LEAST, budget // (height * width or UNKNOWN_AREA))
    return range(0, total, -(-total // wanted)) if wanted < total else range(total)


def _count(dataset: SegmentationDataset, chosen: Sequence[int]) -> tuple[np.ndarray, list[tuple[int, DataError]]]:
    """int64 [N, 256], the pixels of every class id in the masks of these samples; the samples whose masks cannot be
    read, and why. Their counts are 0."""

    def count(index: int) -> np.ndarray | DataError:
        try:
            flat = dataset.mask(index).reshape(-1, 1)
        except DataError as error:
            return error
        parts = (flat[start : start + _ROWS] for start in range(0, len(flat), _ROWS))
        counts = (cv2.calcHist([part], [0], None, [256], [0, 256]).ravel().astype(np.int64) for part in parts)
        return sum(counts, np.zeros(256, np.int64))

    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        results = list(pool.map(count, chosen))
    unreadable = [(index, row) for index, row in zip(chosen, results, strict=True) if isinstance(row, DataError)]
    return np.stack([np.zeros(256, np.int64) if isinstance(row, DataError) else row for row in results]), unreadable


def _add_faults(dataset: SegmentationDataset, result: LabelStatistics, paths: list[Path]) -> None:
    where, names = paths[0].parent if dataset.masks_of_ids else paths[0], dataset.class_names
    present = np.flatnonzero(result.counts)
    if len(names) == 1:
        error = DataError(
            f"data.classes names {names[0]} alone, which is every pixel that counts: give the other pixels a name too, "
            "as in data.classes=[background,object]"
        )
        result.faults.append(error)
    elif (conflict := palette_conflict(dataset, paths)) is not None:
        result.faults.append(conflict)
    elif result.unreadable or len(present) > 1:
        return
    elif not len(present):
        error = DataError(
            f"{where}: all {len(paths)} masks have ignored pixels alone{_ids_of(dataset, paths)}: set data.classes and "
            "data.ignore as the labels have them"
        )
        result.faults.append(error)
    else:
        text = f"{where}: every pixel that counts in its {len(paths)} masks is {names[int(present[0])]}"
        if len(names) == 2 and _has_ids(dataset) and _file_ids(paths) == [0, IGNORE]:
            error = DataError(
                f"{text}, because 255 is ignored: set data.classes={{{names[0]}: 0, {names[1]}: 255}} data.ignore=[]"
            )
            result.faults.append(error)
            return
        error = DataError(f"{text}{_ids_of(dataset, paths)}: set data.classes and data.ignore as the labels have them")
        result.of_training.append(error)


def _warnings(result: LabelStatistics) -> dict[str, list[int]]:
    lines: dict[str, list[int]] = {}
    if absent := result.absent():
        where = "the masks" if result.counted == result.total else f"{result.of} masks"
        line = (
            f"no pixel of {shorten(absent)} in {where}: nothing is learned of them; see data.classes, where it is a key"
        )
        lines[line] = []
    if (result.ignored or 0) > MOSTLY_IGNORED:
        lines[f"{percent(result.ignored or 0)} of the pixels are ignored: see data.ignore and data.classes"] = []
    if result.unlabeled:
        lines[f"{len(result.unlabeled)} of {result.counted} masks have ignored pixels alone"] = result.unlabeled
    return lines


def palette_conflict(dataset: SegmentationDataset, paths: list[Path]) -> DataError | None:
    """An error where an index means another color from mask to mask: then indices are not class ids."""
    if not _has_ids(dataset):
        return None
    first: dict[int, tuple[tuple[int, ...], Path]] = {}
    for path in paths[:: max(1, len(paths) // PALETTES)][:PALETTES]:
        for index, color in _palette(path).items():
            expected, earlier = first.setdefault(index, (color, path))
            if expected != color:
                return DataError(
                    f"{path}: its palette differs from that of {earlier}: index {index} is RGB {list(color)} here and "
                    f"{list(expected)} there, so an index is no class: set data.colors, the color of each class"
                )
    return None


def _palette(path: Path) -> dict[int, tuple[int, ...]]:
    """The RGB colors of the indices that a palette image uses; empty for other images."""
    try:
        with Image.open(path) as image:
            palette = image.getpalette() if image.mode == "P" else None
            if not palette:
                return {}
            used = [index for _, index in image.getcolors(256) or ()]
    except OSError:
        return {}
    return {index: tuple(palette[3 * index : 3 * index + 3]) for index in used if 3 * index + 2 < len(palette)}


def _file_ids(paths: list[Path]) -> list[int]:
    """The ids in a few masks, ascending; empty where they are stored as colors."""
    try:
        few = paths[:: max(1, len(paths) // 8)][:8]
        return np.unique(np.concatenate([np.unique(read_mask(path)) for path in few])).tolist()
    except DataError:
        return []


def _has_ids(dataset: SegmentationDataset) -> bool:
    return dataset.masks_of_ids and getattr(dataset, "color_table", None) is None


def _ids_of(dataset: SegmentationDataset, paths: list[Path]) -> str:
    ids = _file_ids(paths) if _has_ids(dataset) else []
    return f" (the masks have the ids {shorten(ids)})" if ids else ""
