"""Percentage of Correct Keypoints: points nearer to the truth than a share of the person's size (Yang & Ramanan,
Articulated Human Detection with Flexible Mixtures of Parts, TPAMI 2013).
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lightseg.errors import LightsegError, nearest

TORSO = ("left_shoulder", "right_hip")


def unit_lengths(
    unit: str | Sequence[str] | None,
    names: Sequence[str],
    points: np.ndarray,
    annotations: Sequence[Mapping[str, Any]],
) -> tuple[str | list[str], np.ndarray]:
    """The unit that is taken, and its length in px [A] in every person, 0 where it cannot be measured.

    unit: "box" (its longer side), "torso", two names of keypoints, or None: "torso" where names has its ends, else
        "box". points [A, K, 3]: x, y, visibility.
    """
    if unit is None:
        unit = "torso" if set(TORSO) <= set(names) else "box"
    if unit == "box":
        return unit, np.array([max(one["bbox"][2:]) for one in annotations], np.float64)
    ends = list(TORSO) if unit == "torso" else [unit] if isinstance(unit, str) else list(unit)
    unknown = next((name for name in ends if name not in names), None)
    if unknown is not None:
        raise LightsegError(f"PCK's unit is {unit}, but there is no keypoint {unknown!r}: {nearest(unknown, names)}")
    if len(ends) != 2 or ends[0] == ends[1]:
        raise LightsegError(f"PCK's unit is box, torso or two different keypoints, not {unit}")
    first, second = (points[:, names.index(name)] for name in ends)
    lengths = np.hypot(*(first - second)[:, :2].T)
    labelled = (first[:, 2] > 0) & (second[:, 2] > 0)
    return unit if isinstance(unit, str) else ends, np.where(labelled, lengths, 0)


def pck(
    found: np.ndarray, true: np.ndarray, lengths: np.ndarray, names: Sequence[str], threshold: float
) -> dict[str, float]:
    """`{"PCK", "PCK/<name>"}`: the share of labelled points found within `threshold` of the person's unit, of each
    keypoint, and the mean of these; points labelled in nobody are not listed.

    found [P, K, 2], true [P, K, 3] with visibility, lengths [P]; persons of length 0 do not count.
    """
    counted = (true[..., 2] > 0) & (lengths > 0)[:, None]
    distances = np.linalg.norm(found - true[..., :2], axis=2)
    right = (counted & (distances < threshold * lengths[:, None])).sum(0)
    shares = {
        f"PCK/{name}": float(hits / count)
        for name, hits, count in zip(names, right, counted.sum(0), strict=True)
        if count
    }
    return {"PCK": float(np.mean(list(shares.values()))) if shares else float("nan"), **shares}
