"""Keypoints under any geometric transform of an image, read from a grid of positions that is transformed with it.

    grid = position_grid((height, width))      float32 [H, W, 3]: x, y and 1 at every pixel
    moved = transform(grid)                    with linear interpolation; 0 (not 1) in the last channel of new area
    tracked = track(moved, points)

So a library's keypoint code is not needed. That of albumentations 2.0.8 is half a pixel off for resizes, and a pixel
off, with lost points, for distortions; here flips, rotations and resizes are exact and distortions within 0.1 px. The
positions also tell whether left and right are exchanged.
"""

import math
from dataclasses import dataclass
from functools import cache

import numpy as np

SAMPLES = 16  # along the shorter side, for the affine fit
COARSE = 4  # px: every 4th pixel is searched first
STEPS = 8
AFFINE = 0.1  # px: largest error of the affine fit of an affine map (OpenCV interpolates in 1/32 px)


@dataclass(frozen=True)
class Tracked:
    """points: float64 [N, 2], pixel indices in the transformed image. shown: bool [N], whether they are in it.
    affine: float64 [2, 3], from the transformed image to the original; the best fit if the transform is not affine.
    mirrored: whether left and right are exchanged.
    """

    points: np.ndarray
    shown: np.ndarray
    affine: np.ndarray
    mirrored: bool


@cache
def position_grid(size: tuple[int, int]) -> np.ndarray:
    """float32 [H, W, 3] with x, y, 1. Shared and read-only."""
    rows, columns = np.mgrid[: size[0], : size[1]]
    grid = np.stack([columns, rows, np.ones_like(rows)], -1).astype(np.float32)
    grid.flags.writeable = False
    return grid


def track(moved: np.ndarray, points: np.ndarray) -> Tracked:
    """The positions of `points` [N, 2] (pixel indices) of the original in the transformed image.

    moved: float32 [H, W, 3], the transformed `position_grid`.
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
    starts = _nearest(moved, points, COARSE)
    results = [_newton(moved, point, start) for point, start in zip(points, starts, strict=True)]
    missing = [index for index, result in enumerate(results) if result is None]
    for index, start in zip(missing, _nearest(moved, points[missing], 1), strict=True):
        results[index] = _newton(moved, points[index], start)
    shown = np.array([result is not None for result in results], bool)
    pixels = np.array([result[0] if result else (0.0, 0.0) for result in results]).reshape(-1, 2)
    turns = [result[1] for result in results if result]
    mirrored = sum(turns) < 0 if turns else np.linalg.det(affine[:, :2]) < 0
    return Tracked(pixels, shown, affine, bool(mirrored))


def _fit(moved: np.ndarray) -> tuple[np.ndarray, float]:
    """float64 [2, 3], the affine map from pixels to their positions, and its largest error in px. Without an inverse:
    the identity and inf."""
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


def _nearest(moved: np.ndarray, points: np.ndarray, step: int) -> list[tuple[int, int]]:
    """For each point, the pixel (y, x), of every `step`-th, with the nearest position."""
    sampled = moved[::step, ::step]
    positions = np.where(_valid(sampled)[..., None], sampled[..., :2], np.float32(1e9))
    starts = []
    for x, y in points.astype(np.float32):
        distance = np.square(positions[..., 0] - x) + np.square(positions[..., 1] - y)
        row, column = divmod(int(distance.argmin()), distance.shape[1])
        starts.append((row * step, column * step))
    return starts


def _newton(moved: np.ndarray, point: np.ndarray, start: tuple[int, int]) -> tuple[tuple[float, float], float] | None:
    """Pixel indices x, y of the point by Newton's method from the pixel `start` (y, x), and the sign of the Jacobian's
    determinant there; None if the point is not in the image or the method does not converge.
    """
    y, x = start
    for _ in range(STEPS):
        here = _position(moved, y, x)
        if here is None:
            return None
        xx, yx = _slope(moved, here, (y, x + 1), (y, x - 1))  # position (x, y) by the pixel's x
        xy, yy = _slope(moved, here, (y + 1, x), (y - 1, x))
        determinant = xx * yy - xy * yx
        if abs(determinant) < 1e-6:  # a fold
            return None
        dx, dy = float(point[0]) - here[0], float(point[1]) - here[1]
        step_x, step_y = (yy * dx - xy * dy) / determinant, (xx * dy - yx * dx) / determinant
        if abs(step_x) < 1 and abs(step_y) < 1:
            return (x + step_x, y + step_y), math.copysign(1, determinant)
        x, y = x + round(step_x), y + round(step_y)
    return None


def _slope(moved: np.ndarray, here: tuple[float, float], *neighbors: tuple[int, int]) -> tuple[float, float]:
    """Difference of the position to a neighbor, the smaller of both sides, which does not cross a cut."""
    changes = []
    for sign, pixel in zip((1, -1), neighbors, strict=True):
        there = _position(moved, *pixel)
        if there is not None and there != here:
            changes.append((sign * (there[0] - here[0]), sign * (there[1] - here[1])))
    return min(changes, key=lambda change: math.hypot(*change), default=(0.0, 0.0))


def _position(moved: np.ndarray, y: int, x: int) -> tuple[float, float] | None:
    """The pixel's position; None outside the image and in new area."""
    if not (0 <= y < moved.shape[0] and 0 <= x < moved.shape[1]):
        return None
    position_x, position_y, validity = moved[y, x].tolist()
    return (position_x, position_y) if abs(validity - 1) < 1e-3 else None


def _valid(positions: np.ndarray) -> np.ndarray:
    return np.abs(positions[..., 2] - 1) < 1e-3
