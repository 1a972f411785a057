"""Boxes on images: lines at their coordinates, legible tags, sharp on small images too."""

import numpy as np

from lightseg.draw import contact_sheet, detection_row, draw_boxes

NAMES = ["ant", "bee", "wasp"]
PALETTE = [[250, 0, 0], [0, 250, 0], [0, 0, 250]]
GRAY = np.full((60, 100, 3), 128, np.uint8)


def has_color(image: np.ndarray, color: list[int]) -> np.ndarray:
    return (image == color).all(-1)


def test_a_box_is_drawn_at_its_coordinates():
    boxes = np.array([[10.2, 25.0, 59.8, 50.0]], np.float32)
    image = draw_boxes(GRAY, boxes, np.array([1]), None, NAMES, PALETTE)
    assert image.shape == GRAY.shape and image.dtype == np.uint8 and (GRAY == 128).all()
    green = has_color(image, PALETTE[1])
    assert green[25:27, 10:60].all() and green[48:50, 10:60].all()
    assert green[25:50, 10:12].all() and green[25:50, 58:60].all()
    assert not green[27:48, 12:58].any() and not green[50:].any() and not green[:, 60:].any()
    tag = green[:25].any()  # above the box
    assert tag and not has_color(image, PALETTE[0]).any()


def test_small_images_are_resized_before_drawing():
    boxes = np.array([[10, 25, 60, 50]], np.float32)
    image = draw_boxes(GRAY, boxes, np.array([2]), np.array([0.5]), NAMES, PALETTE, width=500)
    assert image.shape == (300, 500, 3)
    blue = has_color(image, PALETTE[2])
    assert blue[125:127, 50:300].all() and blue[248:250, 50:300].all()
    lines = blue[140:240]
    assert 2 * 100 <= lines[:, 45:60].sum() <= 4 * 100  # two to four pixels of pure color: no blur
    outside = image[255:]
    assert (outside == 128).all()


def test_tags_contain_names_and_scores_and_do_not_overlap():
    boxes = np.array([[20, 40, 60, 55], [20, 40, 61, 56], [21, 41, 60, 55]], np.float32)
    scored = draw_boxes(GRAY, boxes, np.array([0, 1, 2]), np.array([0.9, 0.8, 0.7]), NAMES, PALETTE, width=480)
    plain = draw_boxes(GRAY, boxes, np.array([0, 1, 2]), None, NAMES, PALETTE, width=480)
    areas = [[has_color(image, color).sum() for color in PALETTE] for image in (scored, plain)]
    assert all(area > 300 for area in areas[0]) and areas[0][0] > areas[1][0]  # scores make tags longer
    text = (scored > 200).all(-1) | (scored < 50).all(-1)
    assert text.sum() > 60
    for corner in ([0, 0, 5, 5], [95, 55, 100, 60], [-20, -20, 500, 500], [99.7, 0, 100, 0.2]):
        edge = draw_boxes(GRAY, np.array([corner], np.float32), np.array([0]), np.array([1.0]), NAMES, PALETTE, 480)
        assert edge.shape == (288, 480, 3) and has_color(edge, PALETTE[0]).sum() > 100  # a complete tag inside


def test_a_row_shows_truth_and_predictions_above_the_minimum_score():
    truth = {"boxes": np.array([[5, 20, 40, 50]], np.float32), "labels": np.array([0])}
    prediction = {
        "boxes": np.array([[5, 20, 40, 50], [50, 20, 90, 50]], np.float32),
        "labels": np.array([1, 2]),
        "scores": np.array([0.31, 0.29], np.float32),
    }
    left, right = detection_row(GRAY, truth, prediction, NAMES, PALETTE)
    assert left.shape == right.shape == (288, 480, 3)
    assert has_color(left, PALETTE[0]).any() and not has_color(left, PALETTE[1]).any()
    assert has_color(right, PALETTE[1]).any() and not has_color(right, PALETTE[2]).any()
    assert has_color(detection_row(GRAY, truth, prediction, NAMES, PALETTE, 0.2)[1], PALETTE[2]).any()
    nothing = {"boxes": np.zeros((0, 4)), "labels": np.zeros(0, np.int64), "scores": np.zeros(0)}
    bare = detection_row(GRAY, nothing, nothing, NAMES, PALETTE)
    assert all((image == 128).all() for image in bare)
    sheet = contact_sheet([[left, right], bare], ["truth", "prediction"])
    assert sheet.shape[1] == 964
    assert has_color(sheet, PALETTE[0]).sum() == has_color(left, PALETTE[0]).sum()  # not resized again
