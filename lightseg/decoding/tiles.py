"""The boxes of the tiles of a large image as those of the image, in NumPy only.

An object in the pixels that tiles share is detected in each of them, and may be cut by the edge of one. A box that ends
at such an edge is dropped where another tile has a box of its class over most of it. Then non-maximum suppression is
done per class over the whole image.
"""

from collections.abc import Sequence

import numpy as np

from lightseg.decoding.boxes import nms

EDGE = 0.01  # of a tile's side, at least 2 px: a box that ends nearer to an inner edge is cut by it
COVERED = 0.5  # share of a cut box under a box of another tile
SURE = 0.5  # least score of that box, relative to that of the cut one

Box = tuple[int, int, int, int]  # top, left, height, width in pixels


def merged_boxes(
    parts: Sequence[dict[str, np.ndarray]], tiles: Sequence[Box], image_size: tuple[int, int], nms_threshold: float
) -> dict[str, np.ndarray]:
    """The predictions of tiles, each with `boxes` [n, 4] xyxy in pixels of its tile, `labels` [n] and `scores` [n], as
    one prediction in pixels of the image of (height, width), best first.

    nms_threshold: IoU above which the box with the lower score, of two boxes of a class, is dropped.
    """
    offsets = [np.array([left, top, left, top], np.float32) for top, left, _, _ in tiles]
    boxes = np.concatenate([part["boxes"] + offset for part, offset in zip(parts, offsets, strict=True)])
    labels, scores = (np.concatenate([part[key] for part in parts]) for key in ("labels", "scores"))
    owners = np.repeat(np.arange(len(parts)), [len(part["labels"]) for part in parts])
    cut = np.concatenate([_cut(part["boxes"], tile, image_size) for part, tile in zip(parts, tiles, strict=True)])
    kept: list[np.ndarray] = []
    for label in np.unique(labels):
        of_class = np.flatnonzero(labels == label)
        of_class = of_class[~_covered(boxes[of_class], scores[of_class], owners[of_class], cut[of_class])]
        kept.append(of_class[nms(boxes[of_class], scores[of_class], nms_threshold)])
    chosen = np.concatenate(kept) if kept else np.zeros(0, np.int64)
    chosen = chosen[np.argsort(-scores[chosen], kind="stable")]
    return {"boxes": boxes[chosen], "labels": labels[chosen], "scores": scores[chosen]}


def _cut(boxes: np.ndarray, tile: Box, image_size: tuple[int, int]) -> np.ndarray:
    """bool [n]: boxes that end at an edge of the tile which is not the image's."""
    top, left, height, width = tile
    margins = np.array([max(2, EDGE * width), max(2, EDGE * height)])
    starts = (boxes[:, :2] <= margins) & (np.array([left, top]) > 0)
    ends = (boxes[:, 2:] >= np.array([width, height]) - margins) & (
        np.array([left + width, top + height]) < np.array(image_size[::-1])
    )
    return (starts | ends).any(1)


def _covered(boxes: np.ndarray, scores: np.ndarray, owners: np.ndarray, cut: np.ndarray) -> np.ndarray:
    """bool [n]: cut boxes that a larger box of another tile covers."""
    covered = np.zeros(len(boxes), bool)
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(1)
    for index in np.flatnonzero(cut):
        corners = np.maximum(boxes[index, :2], boxes[:, :2]), np.minimum(boxes[index, 2:], boxes[:, 2:])
        shared = (corners[1] - corners[0]).clip(0).prod(1)
        others = (owners != owners[index]) & (areas > areas[index]) & (scores >= SURE * scores[index])
        covered[index] = bool((others & (shared >= COVERED * areas[index])).any())
    return covered
