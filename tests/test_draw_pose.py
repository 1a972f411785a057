"""Poses on pictures: lines and dots where the numbers say, in the colour of their side, sharp at any size."""

import numpy as np
import pytest

from lightseg.draw import contact_sheet
from lightseg.draw_pose import SIDES, draw_pose, heatmap_overlay, pose_row

LEFT, RIGHT, MIDDLE = (colour for _, colour in SIDES)
GREY = np.full((120, 90, 3), 128, np.uint8)
# 0 head, 1 and 2 left and right shoulder, 3 and 4 left and right foot
POINTS = np.array([[45, 10], [70, 40], [20, 40], [70, 110], [20, 110]], np.float32)
EDGES, PAIRS = [(0, 1), (2, 0), (1, 2), (1, 3), (2, 4)], [(1, 2), (3, 4)]
SEEN = np.full(5, 2)


def of_colour(picture: np.ndarray, colour: tuple[int, ...]) -> np.ndarray:
    return (picture == colour).all(-1)


def near(picture: np.ndarray, point: tuple[float, float], colour: tuple[int, ...]) -> bool:
    x, y = (round(one) for one in point)
    return bool(of_colour(picture, colour)[y - 1 : y + 2, x - 1 : x + 2].any())


def test_lines_are_where_the_points_are_in_the_colours_of_their_sides():
    picture = draw_pose(GREY, POINTS, SEEN, EDGES, PAIRS)
    assert picture.shape == GREY.shape and picture.dtype == np.uint8 and (GREY == 128).all()
    for middle, colour in (
        ((70, 75), LEFT), ((20, 75), RIGHT), ((45, 40), MIDDLE), ((57.5, 25), LEFT), ((32.5, 25), RIGHT)
    ):  # fmt: skip
        assert near(picture, middle, colour), middle
    for point, colour in zip(POINTS, (MIDDLE, LEFT, RIGHT, LEFT, RIGHT), strict=True):
        assert near(picture, tuple(point), colour)
    assert (picture[60:90, 30:60] == 128).all() and (picture[115:] == 128).all()
    swapped = draw_pose(GREY, POINTS, SEEN, EDGES, [(2, 1), (4, 3)])
    assert near(swapped, (70, 75), RIGHT) and near(swapped, (20, 75), LEFT)
    nameless = draw_pose(GREY, POINTS, SEEN, EDGES, [])
    assert not of_colour(nameless, LEFT).any() and near(nameless, (70, 75), MIDDLE)


@pytest.mark.parametrize("width", [90, 360, 905])
def test_pictures_get_their_size_before_anything_is_drawn(width):
    """A line of a few pixels with edges of one, however small the picture was, and with its middle on the points."""
    picture = draw_pose(GREY, POINTS, SEEN, EDGES, PAIRS, width=width)
    assert picture.shape == (round(120 * width / 90), width, 3)
    row = picture[round(75 * width / 90)]
    drawn = np.flatnonzero((row[: width // 2] != 128).any(1))
    pure = of_colour(row[: width // 2], RIGHT).sum()
    assert 1 <= pure <= len(drawn) <= pure + 2 and len(drawn) == np.ptp(drawn) + 1 <= max(4, width / 60)
    assert drawn.mean() == pytest.approx((20 + 0.5) * width / 90 - 0.5, abs=0.6)


def test_what_is_not_labelled_or_not_sure_is_left_out():
    visible = np.array([2, 2, 1, 2, 0])
    picture = draw_pose(GREY, POINTS, visible, EDGES, PAIRS, width=360)
    at = (POINTS + 0.5) * 4 - 0.5
    assert not near(picture, tuple(at[4]), RIGHT) and not near(picture, (82, 300), RIGHT)  # no point, no line to it
    assert near(picture, tuple(at[3]), LEFT)
    assert near(picture, tuple(at[2]), (0, 0, 0))  # covered: a ring
    scores = np.array([0.9, 0.9, 0.31, 0.9, 0.29], np.float32)
    sure = draw_pose(GREY, POINTS, scores, EDGES, PAIRS, width=360)
    assert near(sure, tuple(at[2]), RIGHT) and not near(sure, tuple(at[4]), RIGHT)
    assert near(draw_pose(GREY, POINTS, scores, EDGES, PAIRS, 0.2, 360), tuple(at[4]), RIGHT)
    assert (draw_pose(GREY, POINTS, np.zeros(5, np.int64), EDGES, PAIRS) == 128).all()
    wild = np.array([[np.nan, 3], [1e4, -1e4], [-500, 5], [70, 110], [89.4, 119.4]])
    assert draw_pose(GREY, wild, np.ones(5), EDGES, PAIRS).shape == GREY.shape


def test_several_people_in_one_picture():
    both = np.stack([POINTS * 0.5, POINTS * 0.5 + [40, 50]])
    picture = draw_pose(GREY, both, np.stack([SEEN, SEEN]), EDGES, PAIRS)
    assert near(picture, (35, 37), LEFT) and near(picture, (75, 87), LEFT)
    one = draw_pose(GREY, both, np.stack([SEEN, 0 * SEEN]), EDGES, PAIRS)
    assert near(one, (35, 37), LEFT) and not near(one, (75, 87), LEFT)
    assert (draw_pose(GREY, both[:0], np.zeros((0, 5)), EDGES, PAIRS) == 128).all()


def test_lines_suit_the_size_of_the_person():
    """Thin ones on somebody small in a large picture; a single point is as large as the picture asks for."""
    large = np.full((600, 450, 3), 128, np.uint8)
    areas = []
    for points, visible in (
        (POINTS * 5, SEEN),
        (POINTS * 0.4 + 200, SEEN),
        (POINTS * 0.4 + 200, np.eye(5, dtype=int)[0]),
    ):
        picture = draw_pose(large, points, visible * 2, EDGES, PAIRS)
        areas.append(int((picture != 128).any(-1).sum()))
    assert areas[1] < areas[0] / 15
    assert areas[2] > 60  # of one dot


def test_heatmaps_lie_over_a_grey_picture():
    coloured = np.zeros((64, 48, 3), np.uint8)
    coloured[..., 0] = 200
    maps = np.zeros((3, 16, 12), np.float32)
    maps[0, 4, 3], maps[2, 12, 9] = 1.0, 0.4
    picture = heatmap_overlay(coloured, maps, width=96)
    assert picture.shape == (128, 96, 3) and picture.dtype == np.uint8
    assert (picture[60:70] == picture[64, 0]).all() and np.ptp(picture[64, 0]) == 0  # grey where there is nothing
    peak, foot = picture[36, 28].astype(int), picture[100, 76].astype(int)  # the middles of those cells
    assert peak.min() > 150 and peak[0] > 235
    assert foot[0] > 150 > 60 > foot[2]
    assert (heatmap_overlay(coloured, maps - 5) == heatmap_overlay(coloured, 0 * maps)).all()
    assert (heatmap_overlay(coloured, maps * np.nan) == heatmap_overlay(coloured, 0 * maps)).all()


def test_a_row_shows_truth_prediction_and_heatmaps():
    truth = {"keypoints": POINTS, "visible": np.array([2, 2, 2, 2, 0], np.float32)}
    prediction = {"keypoints": POINTS, "scores": np.array([1, 1, 0, 1, 1])}
    maps = np.random.default_rng(0).random((5, 30, 22))
    row = pose_row(GREY, truth, prediction, EDGES, PAIRS, maps)
    assert [picture.shape for picture in row] == [(427, 320, 3)] * 3
    scale = 320 / 90
    assert near(row[0], (20.5 * scale, 40.5 * scale), RIGHT) and not near(row[0], (20.5 * scale, 110.5 * scale), RIGHT)
    assert near(row[1], (20.5 * scale, 110.5 * scale), RIGHT) and not near(row[1], (20.5 * scale, 40.5 * scale), RIGHT)
    assert len(pose_row(GREY, truth, prediction, EDGES, PAIRS)) == 2
    sheet = contact_sheet([row], ["truth", "prediction", "heatmaps"], SIDES, width=320)
    assert sheet.shape[1] == 968 and of_colour(sheet, LEFT).sum() > of_colour(row[0], LEFT).sum()
