"""Boxes on pictures: lines where the numbers say, tags that can be read, sharp however small the picture was."""

import numpy as np

from lightseg.draw import contact_sheet, detection_row, draw_boxes

NAMES = ["ant", "bee", "wasp"]
PALETTE = [[250, 0, 0], [0, 250, 0], [0, 0, 250]]
GREY = np.full((60, 100, 3), 128, np.uint8)


def of_colour(picture: np.ndarray, colour: list[int]) -> np.ndarray:
    return (picture == colour).all(-1)


def test_a_box_is_drawn_where_it_is():
    boxes = np.array([[10.2, 25.0, 59.8, 50.0]], np.float32)
    picture = draw_boxes(GREY, boxes, np.array([1]), None, NAMES, PALETTE)
    assert picture.shape == GREY.shape and picture.dtype == np.uint8 and (GREY == 128).all()
    green = of_colour(picture, PALETTE[1])
    assert green[25:27, 10:60].all() and green[48:50, 10:60].all()
    assert green[25:50, 10:12].all() and green[25:50, 58:60].all()
    assert not green[27:48, 12:58].any() and not green[50:].any() and not green[:, 60:].any()
    tag = green[:25].any()  # above it
    assert tag and not of_colour(picture, PALETTE[0]).any()


def test_small_pictures_are_enlarged_before_anything_is_drawn():
    boxes = np.array([[10, 25, 60, 50]], np.float32)
    picture = draw_boxes(GREY, boxes, np.array([2]), np.array([0.5]), NAMES, PALETTE, width=500)
    assert picture.shape == (300, 500, 3)
    blue = of_colour(picture, PALETTE[2])
    assert blue[125:127, 50:300].all() and blue[248:250, 50:300].all()
    lines = blue[140:240]
    assert 2 * 100 <= lines[:, 45:60].sum() <= 4 * 100  # two to four pixels of pure colour: no blur
    outside = picture[255:]
    assert (outside == 128).all()


def test_tags_hold_names_and_scores_and_keep_apart():
    boxes = np.array([[20, 40, 60, 55], [20, 40, 61, 56], [21, 41, 60, 55]], np.float32)
    picture = draw_boxes(GREY, boxes, np.array([0, 1, 2]), np.array([0.9, 0.8, 0.7]), NAMES, PALETTE, width=480)
    plain = draw_boxes(GREY, boxes, np.array([0, 1, 2]), None, NAMES, PALETTE, width=480)
    areas = [[of_colour(one, colour).sum() for colour in PALETTE] for one in (picture, plain)]
    assert all(area > 300 for area in areas[0]) and areas[0][0] > areas[1][0]  # scores make tags longer
    text = (picture > 200).all(-1) | (picture < 50).all(-1)
    assert text.sum() > 60
    for corner in ([0, 0, 5, 5], [95, 55, 100, 60], [-20, -20, 500, 500], [99.7, 0, 100, 0.2]):
        edge = draw_boxes(GREY, np.array([corner], np.float32), np.array([0]), np.array([1.0]), NAMES, PALETTE, 480)
        assert edge.shape == (288, 480, 3) and of_colour(edge, PALETTE[0]).sum() > 100  # a whole tag inside


def test_a_row_shows_truth_and_what_is_sure_enough():
    truth = {"boxes": np.array([[5, 20, 40, 50]], np.float32), "labels": np.array([0])}
    prediction = {
        "boxes": np.array([[5, 20, 40, 50], [50, 20, 90, 50]], np.float32),
        "labels": np.array([1, 2]),
        "scores": np.array([0.31, 0.29], np.float32),
    }
    left, right = detection_row(GREY, truth, prediction, NAMES, PALETTE)
    assert left.shape == right.shape == (288, 480, 3)
    assert of_colour(left, PALETTE[0]).any() and not of_colour(left, PALETTE[1]).any()
    assert of_colour(right, PALETTE[1]).any() and not of_colour(right, PALETTE[2]).any()
    assert of_colour(detection_row(GREY, truth, prediction, NAMES, PALETTE, 0.2)[1], PALETTE[2]).any()
    nothing = {"boxes": np.zeros((0, 4)), "labels": np.zeros(0, np.int64), "scores": np.zeros(0)}
    bare = detection_row(GREY, nothing, nothing, NAMES, PALETTE)
    assert all((picture == 128).all() for picture in bare)
    sheet = contact_sheet([[left, right], bare], ["truth", "prediction"])
    assert sheet.shape[1] == 964
    assert of_colour(sheet, PALETTE[0]).sum() == of_colour(left, PALETTE[0]).sum()  # not resized again
