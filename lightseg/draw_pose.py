"""Visualization of poses as uint8 RGB arrays [H, W, 3]. A person's left is orange, right blue, the middle green."""

from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image, ImageDraw

SIDES = (("left", (255, 140, 0)), ("right", (40, 130, 255)), ("middle", (60, 230, 90)))  # a legend of `contact_sheet`
_LEFT, _RIGHT, _MIDDLE = range(3)
_SUPERSAMPLING = 3  # lines are drawn at this multiple of the size, so that their edges are smooth
Pairs = Sequence[Sequence[int]]


def draw_pose(
    image: np.ndarray,
    keypoints: np.ndarray,
    visible_or_scores: np.ndarray,
    edges: Pairs,
    pairs: Pairs,
    min_score: float = 0.3,
    width: int | None = None,
) -> np.ndarray:
    """Draw the poses of one or several persons on an image.

    Everything is drawn after resizing, so it is sharp on small images too.

    Args:
        keypoints: [K, 2] or [N, K, 2], xy in pixel indices of `image`.
        visible_or_scores: [K] or [N, K]. Integers are visibilities: keypoints with 0 are not drawn, those with 1
            (covered) are rings. Floats are scores: keypoints below `min_score` are not drawn.
        edges: pairs of keypoints to join; a line needs both of its keypoints.
        pairs: (left, right) keypoints, for the colors. A line with an end in the middle has the color of its other end.
        width: of the result in pixels; None: that of the image.
    """
    height = image.shape[0] if width is None else max(1, round(image.shape[0] * width / image.shape[1]))
    size = (image.shape[1] if width is None else width, height)
    canvas = Image.fromarray(image)
    if size != canvas.size:
        canvas = canvas.resize(size, Image.Resampling.BILINEAR)
    canvas = canvas.resize((size[0] * _SUPERSAMPLING, size[1] * _SUPERSAMPLING), Image.Resampling.NEAREST)
    draw = ImageDraw.Draw(canvas)
    scale = np.array(canvas.size) / [image.shape[1], image.shape[0]]

    marks = np.asarray(visible_or_scores)
    people = np.asarray(keypoints, np.float64).reshape(-1, marks.shape[-1], 2)
    marks = marks.reshape(people.shape[:2])
    scores = np.issubdtype(marks.dtype, np.floating)
    shown = (marks >= min_score) if scores else (marks > 0)
    covered = np.zeros_like(shown) if scores else (marks == 1)
    sides = _sides(marks.shape[1], pairs)
    shown &= np.isfinite(people).all(2)
    for points, drawn, rings in zip((people + 0.5) * scale - 0.5, shown, covered, strict=True):
        if drawn.any():
            extent = np.ptp(points[drawn], 0).max() if drawn.sum() > 1 else np.inf
            line = max(2, round(min(*canvas.size, 2 * extent) / 110 / _SUPERSAMPLING)) * _SUPERSAMPLING
            _draw_person(draw, points, drawn, rings, edges, sides, line)
    return np.asarray(canvas.reduce(_SUPERSAMPLING))


def heatmap_overlay(image: np.ndarray, heatmaps: np.ndarray, width: int | None = None) -> np.ndarray:
    """Overlay the maximum of heatmaps [K, h, w] on the image in gray.

    Colors go from transparent at 0 over dark red and yellow to white at 1 and above.
    width: of the result in pixels; None: that of the image.
    """
    height = image.shape[0] if width is None else max(1, round(image.shape[0] * width / image.shape[1]))
    size = (image.shape[1] if width is None else width, height)
    gray = np.asarray(Image.fromarray(image).convert("L").resize(size, Image.Resampling.BILINEAR), np.float32)
    highest = np.nan_to_num(np.asarray(heatmaps, np.float32).max(0)).clip(0, 1)
    heat = np.asarray(Image.fromarray(highest).resize(size, Image.Resampling.BILINEAR))[..., None]
    colors = 255 * np.clip(heat * 3 - [0, 1, 2], 0, 1)
    opacity = np.sqrt(heat)  # so that low values are visible
    return (gray[..., None] * 0.7 * (1 - opacity) + colors * opacity).round().astype(np.uint8)


def pose_row(
    image: np.ndarray,
    truth: Mapping[str, np.ndarray],
    prediction: Mapping[str, np.ndarray],
    edges: Pairs,
    pairs: Pairs,
    heatmaps: np.ndarray | None = None,
    min_score: float = 0.3,
    width: int = 320,
) -> list[np.ndarray]:
    """The crop with its true keypoints, with the predicted keypoints, and with its heatmaps; all `width` pixels wide.

    Args:
        truth: keypoints [K, 2] in pixel indices of `image`, visible [K] (0, 1, 2).
        prediction: keypoints [K, 2], scores [K]; keypoints below `min_score` are not drawn.
        heatmaps: [K, h, w]; None: no third image.
    """
    visible = np.asarray(truth["visible"]).astype(np.int64)
    scores = np.asarray(prediction["scores"], np.float32)
    row = [
        draw_pose(image, truth["keypoints"], visible, edges, pairs, width=width),
        draw_pose(image, prediction["keypoints"], scores, edges, pairs, min_score, width),
    ]
    return row if heatmaps is None else [*row, heatmap_overlay(image, heatmaps, width)]


def _draw_person(
    draw: ImageDraw.ImageDraw,
    points: np.ndarray,
    drawn: np.ndarray,
    rings: np.ndarray,
    edges: Pairs,
    sides: Sequence[int],
    line: int,
) -> None:
    for start, end in edges:
        if drawn[start] and drawn[end]:
            draw.line((*points[start], *points[end]), SIDES[_side_of_edge(sides[start], sides[end])][1], line)
    radius = line * 1.1
    for point in np.flatnonzero(drawn).tolist():
        x, y = points[point]
        frame, color = (x - radius, y - radius, x + radius, y + radius), SIDES[sides[point]][1]
        if rings[point]:
            draw.ellipse(frame, "black", color, max(1, line // 2))
        else:
            draw.ellipse(frame, color, "white", max(1, line // 4))


def _sides(count: int, pairs: Pairs) -> list[int]:
    sides = [_MIDDLE] * count
    for left, right in pairs:
        sides[left], sides[right] = _LEFT, _RIGHT
    return sides


def _side_of_edge(start: int, end: int) -> int:
    if start == end or end == _MIDDLE:
        return start
    return end if start == _MIDDLE else _MIDDLE
