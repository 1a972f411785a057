"""Poses on images: lines and dots at the keypoints, in the color of their side, sharp at any size."""

import numpy as np
import pytest

from lightseg.draw import contact_sheet
from lightseg.draw_pose import SIDES, draw_pose, heatmap_overlay, pose_row

LEFT, RIGHT, MIDDLE = (color for _, color in SIDES)
GRAY = np.full((120, 90, 3), 128, np.uint8)
# 0 head, 1 and 2 left and right shoulder, 3 and 4 left and right foot
POINTS = np.array([[45, 10], [70, 40], [20, 40], [70, 110], [20, 110]], np.float32)
EDGES, PAIRS = [(0, 1), (2, 0), (1, 2), (1, 3), (2, 4)], [(1, 2), (3, 4)]
SEEN = np.full(5, 2)


def has_color(image: np.ndarray, color: tuple[int, ...]) -> np.ndarray:
    return (image == color).all(-1)


def near(image: np.ndarray, point: tuple[float, float], color: tuple[int, ...]) -> bool:
    x, y = (round(value) for value in point)
    return bool(has_color(image, color)[y - 1 : y + 2, x - 1 : x + 2].any())


def test_lines_join_the_keypoints_in_the_colors_of_their_sides():
    image = draw_pose(GRAY, POINTS, SEEN, EDGES, PAIRS)
    assert image.shape == GRAY.shape and image.dtype == np.uint8 and (GRAY == 128).all()
    for middle, color in (
        ((70, 75), LEFT), ((20, 75), RIGHT), ((45, 40), MIDDLE), ((57.5, 25), LEFT), ((32.5, 25), RIGHT)
    ):  # fmt: skip
        assert near(image, middle, color), middle
    for point, color in zip(POINTS, (MIDDLE, LEFT, RIGHT, LEFT, RIGHT), strict=True):
        assert near(image, tuple(point), color)
    assert (image[60:90, 30:60] == 128).all() and (image[115:] == 128).all()
    swapped = draw_pose(GRAY, POINTS, SEEN, EDGES, [(2, 1), (4, 3)])
    assert near(swapped, (70, 75), RIGHT) and near(swapped, (20, 75), LEFT)
    nameless = draw_pose(GRAY, POINTS, SEEN, EDGES, [])
    assert not has_color(nameless, LEFT).any() and near(nameless, (70, 75), MIDDLE)


@pytest.mark.parametrize("width", [90, 360, 905])
def test_images_are_resized_before_drawing(width):
    """A line is a few pixels wide with edges of one pixel, and its middle is on the keypoints, at any size."""
    image = draw_pose(GRAY, POINTS, SEEN, EDGES, PAIRS, width=width)
    assert image.shape == (round(120 * width / 90), width, 3)
    row = image[round(75 * width / 90)]
    drawn = np.flatnonzero((row[: width // 2] != 128).any(1))
    pure = has_color(row[: width // 2], RIGHT).sum()
    assert 1 <= pure <= len(drawn) <= pure + 2 and len(drawn) == np.ptp(drawn) + 1 <= max(4, width / 60)
    assert drawn.mean() == pytest.approx((20 + 0.5) * width / 90 - 0.5, abs=0.6)


def test_unlabeled_and_uncertain_keypoints_are_not_drawn():
    visible = np.array([2, 2, 1, 2, 0])
    image = draw_pose(GRAY, POINTS, visible, EDGES, PAIRS, width=360)
    at = (POINTS + 0.5) * 4 - 0.5
    assert not near(image, tuple(at[4]), RIGHT) and not near(image, (82, 300), RIGHT)  # no line to it either
    assert near(image, tuple(at[3]), LEFT)
    assert near(image, tuple(at[2]), (0, 0, 0))  # covered: a ring
    scores = np.array([0.9, 0.9, 0.31, 0.9, 0.29], np.float32)
    sure = draw_pose(GRAY, POINTS, scores, EDGES, PAIRS, width=360)
    assert near(sure, tuple(at[2]), RIGHT) and not near(sure, tuple(at[4]), RIGHT)
    assert near(draw_pose(GRAY, POINTS, scores, EDGES, PAIRS, 0.2, 360), tuple(at[4]), RIGHT)
    assert (draw_pose(GRAY, POINTS, np.zeros(5, np.int64), EDGES, PAIRS) == 128).all()
    wild = np.array([[np.nan, 3], [1e4, -1e4], [-500, 5], [70, 110], [89.4, 119.4]])
    assert draw_pose(GRAY, wild, np.ones(5), EDGES, PAIRS).shape == GRAY.shape


def test_several_people_in_an_image():
    both = np.stack([POINTS * 0.5, POINTS * 0.5 + [40, 50]])
    image = draw_pose(GRAY, both, np.stack([SEEN, SEEN]), EDGES, PAIRS)
    assert near(image, (35, 37), LEFT) and near(image, (75, 87), LEFT)
    first = draw_pose(GRAY, both, np.stack([SEEN, 0 * SEEN]), EDGES, PAIRS)
    assert near(first, (35, 37), LEFT) and not near(first, (75, 87), LEFT)
    assert (draw_pose(GRAY, both[:0], np.zeros((0, 5)), EDGES, PAIRS) == 128).all()


def test_lines_are_thinner_on_smaller_people():
    """Lines are thin on a small person in a large image. The size of a single dot depends on the image alone."""
    large = np.full((600, 450, 3), 128, np.uint8)
    areas = []
    for points, visible in (
        (POINTS * 5, SEEN),
        (POINTS * 0.4 + 200, SEEN),
        (POINTS * 0.4 + 200, np.eye(5, dtype=int)[0]),
    ):
        image = draw_pose(large, points, visible * 2, EDGES, PAIRS)
        areas.append(int((image != 128).any(-1).sum()))
    assert areas[1] < areas[0] / 15
    assert areas[2] > 60  # of a single dot


def test_heatmaps_are_overlaid_on_a_gray_image():
    red_image = np.zeros((64, 48, 3), np.uint8)
    red_image[..., 0] = 200
    maps = np.zeros((3, 16, 12), np.float32)
    maps[0, 4, 3], maps[2, 12, 9] = 1.0, 0.4
    image = heatmap_overlay(red_image, maps, width=96)
    assert image.shape == (128, 96, 3) and image.dtype == np.uint8
    assert (image[60:70] == image[64, 0]).all() and np.ptp(image[64, 0]) == 0  # gray where heatmaps are 0
    peak, foot = image[36, 28].astype(int), image[100, 76].astype(int)  # the centers of those cells
    assert peak.min() > 150 and peak[0] > 235
    assert foot[0] > 150 > 60 > foot[2]
    assert (heatmap_overlay(red_image, maps - 5) == heatmap_overlay(red_image, 0 * maps)).all()
    assert (heatmap_overlay(red_image, maps * np.nan) == heatmap_overlay(red_image, 0 * maps)).all()


def test_a_row_shows_truth_prediction_and_heatmaps():
    truth = {"keypoints": POINTS, "visible": np.array([2, 2, 2, 2, 0], np.float32)}
    prediction = {"keypoints": POINTS, "scores": np.array([1, 1, 0, 1, 1])}
    maps = np.random.default_rng(0).random((5, 30, 22))
    row = pose_row(GRAY, truth, prediction, EDGES, PAIRS, maps)
    assert [image.shape for image in row] == [(427, 320, 3)] * 3
    scale = 320 / 90
    assert near(row[0], (20.5 * scale, 40.5 * scale), RIGHT) and not near(row[0], (20.5 * scale, 110.5 * scale), RIGHT)
    assert near(row[1], (20.5 * scale, 110.5 * scale), RIGHT) and not near(row[1], (20.5 * scale, 40.5 * scale), RIGHT)
    assert len(pose_row(GRAY, truth, prediction, EDGES, PAIRS)) == 2
    sheet = contact_sheet([row], ["truth", "prediction", "heatmaps"], SIDES, width=320)
    assert sheet.shape[1] == 968 and has_color(sheet, LEFT).sum() > has_color(row[0], LEFT).sum()
