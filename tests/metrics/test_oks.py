"""Scores of persons by hand, and OKS NMS against a plain loop."""

import math

import numpy as np
import pytest

from lightseg.metrics.oks import oks_nms, person_scores
from tests.metrics.persons import SIGMAS


def test_a_person_score_is_that_of_the_box_times_the_mean_of_its_keypoints():
    scores = np.array([[0.9, 0.5, 0.1], [0.2, 0.1, 0.0], [1.0, 1.0, 1.0]])
    assert person_scores(np.array([0.5, 1.0, 0.8]), scores, 0.2) == pytest.approx([0.5 * 0.7, 0.0, 0.8])


def test_oks_nms_equals_a_plain_loop():
    random = np.random.default_rng(0)
    sigmas = np.array(SIGMAS)
    centers = random.uniform(0, 100, (40, 1, 2))
    keypoints = centers[random.integers(0, 40, 300)] + random.normal(0, 1.5, (300, len(SIGMAS), 2))
    scores, areas = random.random(300).round(1), random.uniform(500, 3000, 300)
    images = random.integers(0, 6, 300)

    def similarity(i: int, j: int) -> float:
        area = (areas[i] + areas[j]) / 2
        terms = [
            math.exp(-((keypoints[i, k] - keypoints[j, k]) ** 2).sum() / (2 * area * (2 * sigmas[k]) ** 2))
            for k in range(len(sigmas))
        ]
        return sum(terms) / len(terms)

    for threshold in (0.2, 0.5, 0.9):
        kept: list[int] = []
        for i in sorted(range(300), key=lambda i: -scores[i]):
            if all(images[i] != images[j] or similarity(i, j) <= threshold for j in kept):
                kept.append(i)
        stays = oks_nms(keypoints, scores, areas, images, sigmas, threshold)
        assert np.flatnonzero(stays).tolist() == sorted(kept) and len(kept) < 300
    assert oks_nms(keypoints[:0], scores[:0], areas[:0], images[:0], sigmas, 0.9).shape == (0,)
