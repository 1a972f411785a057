"""Percentage of Correct Keypoints (PCK): the distance to the ground truth is below a fraction of the person's size.

Yang & Ramanan, "Articulated Human Detection with Flexible Mixtures of Parts", TPAMI 2013.
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
    """The unit of distances, and its length in px in every person [A]; 0 where an end of it is not labeled.

    Args:
        unit: "box" (its longer side), "torso", two names of keypoints, or None: "torso" where `names` has its ends,
            otherwise "box".
        points: [A, K, 3]: x, y, visibility.

    Raises:
        LightsegError: the unit is unknown, or `names` does not have its ends.
    """
    if unit is None:
        unit = "torso" if set(TORSO) <= set(names) else "box"
    if unit == "box":
        return unit, np.array([max(annotation["bbox"][2:]) for annotation in annotations], np.float64)
    ends = list(TORSO) if unit == "torso" else [unit] if isinstance(unit, str) else list(unit)
    unknown = next((name for name in ends if name not in names), None)
    if unknown is not None:
        raise LightsegError(f"PCK's unit is {unit}, but there is no keypoint {unknown!r}: {nearest(unknown, names)}")
    if len(ends) != 2 or ends[0] == ends[1]:
        raise LightsegError(f"PCK's unit is box, torso or two different keypoints, not {unit}")
    first, second = (points[:, names.index(name)] for name in ends)
    lengths = np.hypot(*(first - second)[:, :2].T)
    labeled = (first[:, 2] > 0) & (second[:, 2] > 0)
    return unit if isinstance(unit, str) else ends, np.where(labeled, lengths, 0)


def pck(
    predicted: np.ndarray, truth: np.ndarray, lengths: np.ndarray, names: Sequence[str], threshold: float
) -> dict[str, float]:
    """`{"PCK", "PCK/<name>"}`: per keypoint the fraction predicted correctly, and the mean over the keypoints.

    A prediction [P, K, 2] is correct within `threshold` times the person's unit, `lengths` [P], of the truth [P, K, 3]
    (x, y, visibility). Persons of length 0 do not count; a keypoint that is labeled in no person is not listed.
    """
    counted = (truth[..., 2] > 0) & (lengths > 0)[:, None]
    distances = np.linalg.norm(predicted - truth[..., :2], axis=2)
    correct = (counted & (distances < threshold * lengths[:, None])).sum(0)
    fractions = {
        f"PCK/{name}": float(hits / count)
        for name, hits, count in zip(names, correct, counted.sum(0), strict=True)
        if count
    }
    return {"PCK": float(np.mean(list(fractions.values()))) if fractions else float("nan"), **fractions}
