"""Pictures of poses as uint8 RGB arrays [H, W, 3]: people's left is orange, their right blue, the middle green."""

from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image, ImageDraw

SIDES = (("left", (255, 140, 0)), ("right", (40, 130, 255)), ("middle", (60, 230, 90)))  # a legend of `contact_sheet`
_LEFT, _RIGHT, _MIDDLE = range(3)
_FINER = 3  # lines are drawn on so many pixels for one, so that their edges are smooth
Pairs = Sequence[Sequence[int]]


def draw_pose(
    image: np.ndarray,
    keypoints: np.ndarray,
    visible_or_scores: np.ndarray,
    edges: Pairs,
    pairs: Pairs,
    least_score: float = 0.3,
    width: int | None = None,
) -> np.ndarray:
    """The image, `width` pixels wide (its own by default), with the poses of one person or several.

    keypoints [K, 2] or [N, K, 2] pixel indices of `image`. visible_or_scores [K] or [N, K]: whole numbers are
    visibilities, points with 0 are not drawn and those with 1 (covered) are rings; floats are scores, points below
    `least_score` are not drawn. A line needs both of its points.
    edges: pairs of points to join. pairs: (left, right), for the colours; a line with one end in the middle is its
    other end's side's.

    Everything is drawn after the picture has its size, so that it is sharp however small the picture was.
    """
    height = image.shape[0] if width is None else max(1, round(image.shape[0] * width / image.shape[1]))
    size = (image.shape[1] if width is None else width, height)
    picture = Image.fromarray(image)
    if size != picture.size:
        picture = picture.resize(size, Image.Resampling.BILINEAR)
    picture = picture.resize((size[0] * _FINER, size[1] * _FINER), Image.Resampling.NEAREST)
    draw = ImageDraw.Draw(picture)
    scale = np.array(picture.size) / [image.shape[1], image.shape[0]]

    marks = np.asarray(visible_or_scores)
    people = np.asarray(keypoints, np.float64).reshape(-1, marks.shape[-1], 2)
    marks = marks.reshape(people.shape[:2])
    scores = np.issubdtype(marks.dtype, np.floating)
    shown = (marks >= least_score) if scores else (marks > 0)
    covered = np.zeros_like(shown) if scores else (marks == 1)
    sides = _sides(marks.shape[1], pairs)
    shown &= np.isfinite(people).all(2)
    for points, drawn, rings in zip((people + 0.5) * scale - 0.5, shown, covered, strict=True):
        if drawn.any():
            extent = np.ptp(points[drawn], 0).max() if drawn.sum() > 1 else np.inf
            line = max(2, round(min(*picture.size, 2 * extent) / 110 / _FINER)) * _FINER
            _draw_one(draw, points, drawn, rings, edges, sides, line)
    return np.asarray(picture.reduce(_FINER))


def heatmap_overlay(image: np.ndarray, heatmaps: np.ndarray, width: int | None = None) -> np.ndarray:
    """The image in grey, `width` pixels wide (its own by default), and over it the highest of the heatmaps [K, h, w] in
    every pixel: nothing at 0, dark red, yellow, white at 1 and above.
    """
    height = image.shape[0] if width is None else max(1, round(image.shape[0] * width / image.shape[1]))
    size = (image.shape[1] if width is None else width, height)
    grey = np.asarray(Image.fromarray(image).convert("L").resize(size, Image.Resampling.BILINEAR), np.float32)
    highest = np.nan_to_num(np.asarray(heatmaps, np.float32).max(0)).clip(0, 1)
    heat = np.asarray(Image.fromarray(highest).resize(size, Image.Resampling.BILINEAR))[..., None]
    colours = 255 * np.clip(heat * 3 - [0, 1, 2], 0, 1)
    opacity = np.sqrt(heat)  # so that a foot of the peak can be seen
    return (grey[..., None] * 0.7 * (1 - opacity) + colours * opacity).round().astype(np.uint8)


def pose_row(
    image: np.ndarray,
    truth: Mapping[str, np.ndarray],
    prediction: Mapping[str, np.ndarray],
    edges: Pairs,
    pairs: Pairs,
    heatmaps: np.ndarray | None = None,
    least_score: float = 0.3,
    width: int = 320,
) -> list[np.ndarray]:
    """One crop with its true points, with the predicted ones from `least_score` on and, if given, under its heatmaps
    [K, h, w], all `width` pixels wide.

    truth: keypoints [K, 2] pixel indices of `image`, visible [K] 0, 1, 2. prediction: keypoints [K, 2], scores [K].
    """
    visible = np.asarray(truth["visible"]).astype(np.int64)
    scores = np.asarray(prediction["scores"], np.float32)
    row = [
        draw_pose(image, truth["keypoints"], visible, edges, pairs, width=width),
        draw_pose(image, prediction["keypoints"], scores, edges, pairs, least_score, width),
    ]
    return row if heatmaps is None else [*row, heatmap_overlay(image, heatmaps, width)]


def _draw_one(
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
        frame, colour = (x - radius, y - radius, x + radius, y + radius), SIDES[sides[point]][1]
        if rings[point]:
            draw.ellipse(frame, "black", colour, max(1, line // 2))
        else:
            draw.ellipse(frame, colour, "white", max(1, line // 4))


def _sides(count: int, pairs: Pairs) -> list[int]:
    sides = [_MIDDLE] * count
    for left, right in pairs:
        sides[left], sides[right] = _LEFT, _RIGHT
    return sides


def _side_of_edge(start: int, end: int) -> int:
    if start == end or end == _MIDDLE:
        return start
    return end if start == _MIDDLE else _MIDDLE
