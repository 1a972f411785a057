"""Where keypoints go under any change of an image: read off an image of positions that went through the same change.

    grid = position_grid((height, width))      float32 [H, W, 3]: x, y and 1 at every pixel
    moved = change(grid)                       with linear interpolation, 0 (or anything but 1) where nothing is shown
    tracked = track(moved, points)

A library's own keypoint code is not needed then. albumentations 2.0.8 is half a pixel off where it resizes, and a whole
one, with points lost, where it distorts; here flips, rotations and resizes are exact and distortions within 0.1 px.
Whether left and right are exchanged follows from the same positions, for a mirroring of any kind and name.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np

SAMPLES = 16  # along the shorter side, for the affine fit
STEPS = 5
AFFINE = 0.1  # px: what is nearer to an affine map than this is taken for one (OpenCV interpolates in 1/32 px)


@dataclass(frozen=True)
class Tracked:
    """points: float64 [N, 2], pixel indices in the changed image. shown: bool [N], whether the change has kept them.
    affine: float64 [2, 3], from the changed image back to the original, the best fit where the change is not affine.
    mirrored: whether left and right are exchanged.
    """

    points: np.ndarray
    shown: np.ndarray
    affine: np.ndarray
    mirrored: bool


@cache
def position_grid(size: tuple[int, int]) -> np.ndarray:
    """float32 [H, W, 3] with x, y, 1. Shared: not to be written to."""
    rows, columns = np.mgrid[: size[0], : size[1]]
    grid = np.stack([columns, rows, np.ones_like(rows)], -1).astype(np.float32)
    grid.flags.writeable = False
    return grid


def track(moved: np.ndarray, points: np.ndarray) -> Tracked:
    """Where `points` [N, 2] (pixel indices) of the original are in the changed image.

    moved: float32 [H, W, 3], `position_grid` after the change.
    """
    points = points.astype(np.float64)
    affine, error = _fit(moved)
    if error < AFFINE:
        linear = affine[:, :2]
        return Tracked(
            (points - affine[:, 2]) @ np.linalg.inv(linear).T,
            np.ones(len(points), bool),
            affine,
            bool(np.linalg.det(linear) < 0),
        )
    results = [_search(moved, point) for point in points]
    shown = np.array([result is not None for result in results], bool)
    places = np.array([result[0] if result else (0.0, 0.0) for result in results]).reshape(-1, 2)
    turns = [result[1] for result in results if result]
    mirrored = sum(turns) < 0 if turns else np.linalg.det(affine[:, :2]) < 0
    return Tracked(places, shown, affine, bool(mirrored))


def _fit(moved: np.ndarray) -> tuple[np.ndarray, float]:
    """float64 [2, 3], the affine map from pixels to the positions in them, and its largest error in px (inf if it has
    no inverse, and then the identity)."""
    step = max(1, min(moved.shape[:2]) // SAMPLES)
    rows, columns = np.mgrid[: moved.shape[0] : step, : moved.shape[1] : step]
    sampled = moved[::step, ::step].reshape(-1, 3).astype(np.float64)
    valid = _valid(sampled)
    pixels = np.stack([columns.ravel(), rows.ravel(), np.ones(rows.size)], 1)[valid]
    positions = sampled[valid, :2]
    solution, _, rank, _ = np.linalg.lstsq(pixels, positions, rcond=None)
    if rank < 3 or abs(np.linalg.det(solution[:2])) < 1e-6:
        return np.eye(2, 3), np.inf
    return solution.T, float(np.abs(pixels @ solution - positions).max())


def _search(moved: np.ndarray, point: np.ndarray) -> tuple[np.ndarray, float] | None:
    """Pixel indices of the point and the sign of the change around it; None where it is not shown.

    Newton's steps from the pixel with the nearest position to the pixel that the point lies next to.
    """
    distance = np.square(moved[..., :2] - point.astype(np.float32)).sum(-1)
    distance[~_valid(moved)] = np.inf
    y, x = (int(index) for index in np.unravel_index(int(distance.argmin()), distance.shape))
    for _ in range(STEPS):
        if not (0 <= y < moved.shape[0] and 0 <= x < moved.shape[1] and _valid(moved[y, x])):
            return None
        slopes = np.stack([_slope(moved, (y, x), (0, 1)), _slope(moved, (y, x), (1, 0))], 1)  # positions by x and y
        determinant = float(np.linalg.det(slopes))
        if abs(determinant) < 1e-6:  # a fold
            return None
        step = np.linalg.solve(slopes, point - moved[y, x, :2])
        if np.abs(step).max() < 1:
            return np.array([x, y]) + step, float(np.sign(determinant))
        x, y = x + round(step[0]), y + round(step[1])
    return None


def _slope(moved: np.ndarray, pixel: tuple, along: tuple[int, int]) -> np.ndarray:
    """Change of the position [2] a pixel along an axis, from the valid ones of both neighbors."""
    ends = []
    for sign in (1, -1):
        y, x = pixel[0] + sign * along[0], pixel[1] + sign * along[1]
        inside = 0 <= y < moved.shape[0] and 0 <= x < moved.shape[1]
        ends.append((y, x) if inside and _valid(moved[y, x]) else pixel)
    length = sum(abs(a - b) for a, b in zip(*ends, strict=True))
    return (moved[ends[0]][:2] - moved[ends[1]][:2]).astype(np.float64) / max(1, length)


def _valid(positions: np.ndarray) -> np.ndarray:
    return np.abs(positions[..., 2] - 1) < 1e-3
