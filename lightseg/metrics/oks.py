"""Scores of persons, and non-maximum suppression by Object Keypoint Similarity (OKS).

OKS of two persons is the mean over the keypoints of exp(-d^2 / (2 a (2 sigma)^2)): d the distance in px, a the area in
px^2, sigma that of the keypoint (https://cocodataset.org/#keypoints-eval).
"""

import numpy as np


def person_scores(box_scores: np.ndarray, scores: np.ndarray, min_score: float) -> np.ndarray:
    """[N]: the score of the box times the mean score of its keypoints above `min_score`; 0 where there is none.

    box_scores [N], scores [N, K] of the keypoints. This is how top-down methods score persons for COCO's evaluation
    (released code of SimpleBaseline, arXiv:1804.06208; mmpose's CocoMetric, score_mode="bbox_keypoint", with 0.2).
    """
    counted = scores > min_score
    return box_scores * np.where(counted, scores, 0).sum(1) / np.maximum(counted.sum(1), 1)


def oks_nms(
    keypoints: np.ndarray,
    scores: np.ndarray,
    areas: np.ndarray,
    images: np.ndarray,
    sigmas: np.ndarray,
    threshold: float,
) -> np.ndarray:
    """bool [N]: the persons to keep.

    Persons of an image are visited by score, from the highest (of equal scores in their order). A person is kept if its
    OKS with every person kept before is at most `threshold`.

    keypoints [N, K, 2] px, scores [N], areas [N] px^2 (the OKS of two persons uses the mean), images [N] integers.
    """
    order = np.lexsort((-scores, images))  # stable
    keypoints, areas, images = keypoints[order], areas[order], images[order]
    parts = []  # pairs of indices in `order` of too similar persons, the higher score first
    for gap in range(1, len(order)):
        first = np.flatnonzero(images[gap:] == images[:-gap])
        if not len(first):
            break
        second = first + gap
        distances = ((keypoints[first] - keypoints[second]) ** 2).sum(2)
        area = (areas[first] + areas[second]) / 2 + np.spacing(1)
        oks = np.exp(-distances / (2 * area[:, None] * (2 * sigmas) ** 2)).mean(1)
        parts.append(np.stack([first, second], 1)[oks > threshold])
    kept = np.ones(len(order), bool)
    pairs = np.concatenate(parts) if parts else np.zeros((0, 2), np.int64)
    for better, worse in pairs[np.argsort(pairs[:, 0], kind="stable")].tolist():
        if kept[better]:
            kept[worse] = False
    result = np.empty(len(order), bool)
    result[order] = kept
    return result
