"""Scores of persons, and removal of the same person found twice by Object Keypoint Similarity (OKS).

OKS of two persons is the mean over keypoints of exp(-d^2 / (2 a (2 sigma)^2)): d the distance in px, a the area in
px^2, sigma the keypoint's (https://cocodataset.org/#keypoints-eval).
"""

import numpy as np


def person_scores(box_scores: np.ndarray, scores: np.ndarray, least: float) -> np.ndarray:
    """[N]: the box's score times the mean score of its keypoints above `least`, 0 where there is none.

    box_scores [N], scores [N, K]. As top-down methods rescore their boxes for COCO's evaluation (SimpleBaseline,
    arXiv:1804.06208, released code; mmpose's CocoMetric, score_mode="bbox_keypoint", least 0.2).
    """
    sure = scores > least
    return box_scores * np.where(sure, scores, 0).sum(1) / np.maximum(sure.sum(1), 1)


def oks_nms(
    keypoints: np.ndarray,
    scores: np.ndarray,
    areas: np.ndarray,
    images: np.ndarray,
    sigmas: np.ndarray,
    threshold: float,
) -> np.ndarray:
    """bool [N], which persons stay: in each image the best one, then in the order of scores (the first of equals) all
    whose OKS with every better one that stays is at most `threshold`.

    keypoints [N, K, 2] px, scores [N], areas [N] px^2 (of two persons the mean counts), images [N] whole numbers.
    """
    order = np.lexsort((-scores, images))  # stable
    keypoints, areas, images = keypoints[order], areas[order], images[order]
    meetings = []  # pairs of places in `order` with too similar persons, the better one first
    for gap in range(1, len(order)):
        first = np.flatnonzero(images[gap:] == images[:-gap])
        if not len(first):
            break
        second = first + gap
        distances = ((keypoints[first] - keypoints[second]) ** 2).sum(2)
        area = (areas[first] + areas[second]) / 2 + np.spacing(1)
        oks = np.exp(-distances / (2 * area[:, None] * (2 * sigmas) ** 2)).mean(1)
        meetings.append(np.stack([first, second], 1)[oks > threshold])
    stays = np.ones(len(order), bool)
    pairs = np.concatenate(meetings) if meetings else np.zeros((0, 2), np.int64)
    for better, worse in pairs[np.argsort(pairs[:, 0], kind="stable")].tolist():
        if stays[better]:
            stays[worse] = False
    result = np.empty(len(order), bool)
    result[order] = stays
    return result
