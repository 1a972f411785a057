"""Person crops: keypoints are where the image shows them, to a twentieth of a pixel, under any augmentation."""

import random

import cv2
import numpy as np
import pytest
import torch

from lightseg.data.io.pixels import MEAN_COLOR
from lightseg.data.transforms.pose import (
    center_and_sides,
    crop_matrix,
    eval_transform,
    half_body,
    train_transform,
    warped,
    window_width,
)  # fmt: skip
from lightseg.errors import LightsegError
from tasks.pose import to_image_pixels

SIZE = (128, 96)
NAMES = ("nose", "left_wrist", "right_wrist", "left_knee", "right_knee", "left_ankle", "right_ankle")
SWAP = np.array([0, 2, 1, 4, 3, 6, 5])
LOWER = np.array([False, False, False, True, True, True, True])
# An asymmetric figure: each point has another color, and the left wrist is not labeled.
POINTS = np.array([[150, 60], [110, 120], [215, 95], [125, 190], [176, 205], [118, 260], [190, 262]], np.float32)
VISIBLE = np.array([2, 0, 2, 1, 2, 2, 2])
COLORS = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0), (0, 255, 255), (255, 0, 255), (255, 255, 255)]
BOX = np.array([95.0, 40.0, 230.0, 280.0], np.float32)
QUIET = {"scale_prob": 0.0, "rotation_prob": 0.0, "shift_prob": 0.0, "half_body": 0.0, "hflip": 0.0}


def person(image: np.ndarray, **changed):
    arrays = {"image": image, "box": BOX, "keypoints": POINTS, "visible": VISIBLE, "area": 9000.0}
    return {**arrays, "swap": SWAP, "lower": LOWER, **changed}


@pytest.fixture(scope="module")
def figure() -> np.ndarray:
    image = np.full((320, 330, 3), MEAN_COLOR, np.uint8)
    for (x, y), color in zip(POINTS.tolist(), COLORS, strict=True):
        cv2.circle(image, (int(x), int(y)), 7, color, cv2.FILLED)
    return image


def blob(height: int, width: int, x: float, y: float, sigma: float) -> np.ndarray:
    """A bright spot centered at the pixel index x, y."""
    columns, rows = np.arange(width) - x, np.arange(height)[:, None] - y
    spot = np.exp(-(columns**2 + rows**2) / (2 * sigma**2))
    return (np.array(MEAN_COLOR) + spot[..., None] * (255 - np.array(MEAN_COLOR))).round().astype(np.uint8)


def center_of_mass(image: np.ndarray) -> np.ndarray:
    weight = (image.astype(np.float64) - MEAN_COLOR).sum(2)
    weight[weight < 0.05 * weight.max()] = 0
    columns, rows = np.arange(image.shape[1]), np.arange(image.shape[0])[:, None]
    return np.array([(weight * columns).sum(), (weight * rows).sum()]) / weight.sum()


@pytest.mark.parametrize("enlarged", [1, 4])  # 4: the crop is a quarter of the size, made from averages
def test_points_are_where_the_image_shows_them(enlarged):
    often = {"rotation_prob": 1.0, "shift_prob": 1.0, "half_body": 0.0}
    transform = train_transform(SIZE, rotation=80, scale=(0.9, 1.3), shift=0.1, **often)
    errors = []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        x, y = rng.uniform(65, 85, 2) * enlarged
        image = blob(160 * enlarged, 150 * enlarged, x, y, 5 * enlarged)
        keypoints = np.tile([[x, y]], (7, 1)).astype(np.float32)
        box = np.array([40, 30, 100, 130], np.float32) * enlarged
        result = transform(seed, **person(image, keypoints=keypoints, visible=np.full(7, 2), box=box))
        assert (result["visible"] == 2).all()
        errors.append(center_of_mass(result["image"]) - result["keypoints"][0])
    errors = np.array(errors)
    assert np.abs(errors).max() < 0.05 and np.abs(errors.mean(0)).max() < 0.01


def test_a_mirrored_figure_has_left_and_right_exchanged(figure):
    plain = train_transform(SIZE, **QUIET)(3, **person(figure))
    mirrored = train_transform(SIZE, **{**QUIET, "hflip": 1.0})(3, **person(figure))
    np.testing.assert_allclose(mirrored["image"].astype(int), plain["image"][:, ::-1].astype(int), atol=2)
    assert plain["visible"].tolist() == [2, 0, 2, 1, 2, 2, 2]
    assert mirrored["visible"].tolist() == [2, 2, 0, 2, 1, 2, 2]
    np.testing.assert_allclose(
        mirrored["keypoints"][0], (SIZE[1] - 1 - plain["keypoints"][0, 0], plain["keypoints"][0, 1])
    )
    for index, name in enumerate(NAMES):
        if not mirrored["visible"][index]:
            continue
        assert name != "right_wrist"
        x, y = np.rint(mirrored["keypoints"][index]).astype(int)
        color = COLORS[SWAP[index]]  # the color of the other side's point
        assert np.abs(mirrored["image"][y, x].astype(int) - color).max() < 40, name


def test_mirrored_twice_is_the_identity(figure):
    once = train_transform(SIZE, **{**QUIET, "hflip": 1.0})(0, **person(figure))
    box = np.array([0, 0, SIZE[1], SIZE[0]], np.float32)
    matrix = crop_matrix(center_and_sides(box)[0], SIZE[1], SIZE, mirrored=True)
    np.testing.assert_allclose(matrix, [[-1, 0, SIZE[1] - 1], [0, 1, 0]], atol=1e-12)
    again = once["keypoints"][SWAP] @ matrix[:, :2].T + matrix[:, 2]
    plain = train_transform(SIZE, **QUIET)(0, **person(figure))
    seen = plain["visible"] > 0
    np.testing.assert_allclose(again[seen], plain["keypoints"][seen], atol=1e-4)
    assert np.array_equal(once["visible"][SWAP], plain["visible"])
    assert np.array_equal(warped(warped(figure[:128, :96], matrix, SIZE), matrix, SIZE), figure[:128, :96])


def test_the_evaluation_crop():
    image = np.zeros((300, 200, 3), np.uint8)
    box = np.array([50, 100, 98, 164], np.float32)  # 48 x 64: the input's aspect ratio
    result = eval_transform(SIZE)(0, **person(image, box=box, area=100.0))
    scale = 96 / (48 * 1.25)
    np.testing.assert_allclose(result["matrix"][:, :2], np.eye(2) / scale, rtol=1e-6)
    # the crop's edges, half a pixel beyond its outer pixels, are the padded box's
    first, last = result["matrix"] @ (-0.5, -0.5, 1), result["matrix"] @ (95.5, 127.5, 1)
    np.testing.assert_allclose(first + 0.5, (50 - 6, 100 - 8), atol=1e-4)
    np.testing.assert_allclose(last + 0.5, (98 + 6, 164 + 8), atol=1e-4)
    assert result["area"] == pytest.approx(100 * scale**2)
    for wide in ([10, 20, 110, 60], [10, 20, 30, 90]):
        sides = center_and_sides(np.array(wide))[1]
        window = window_width(sides, SIZE)
        assert window >= sides[0] - 1e-9 and window * 128 / 96 >= sides[1] - 1e-9
        assert min(window - sides[0], window * 128 / 96 - sides[1]) == pytest.approx(0)


def test_the_inverse_matrix(figure):
    transform = train_transform(SIZE)
    for seed in range(10):
        result = transform(seed, **person(figure, box=np.array([60, 0, 260, 320], np.float32)))
        points, matrix = torch.from_numpy(result["keypoints"]), torch.from_numpy(result["matrix"])
        back = to_image_pixels(points[None], matrix[None])[0].numpy()
        seen = result["visible"] > 0
        expected = POINTS[SWAP] if np.linalg.det(result["matrix"][:, :2]) < 0 else POINTS
        np.testing.assert_allclose(back[seen], expected[seen], atol=1e-2)
        assert result["area"] == pytest.approx(
            9000 / abs(np.linalg.det(result["matrix"][:, :2].astype(float))), rel=1e-4
        )
        inside = (result["keypoints"] >= -0.5) & (result["keypoints"] < (95.5, 127.5))
        assert inside.all() and (result["keypoints"][~seen] == 0).all()


def test_a_point_outside_the_crop_is_not_visible(figure):
    box = np.array([95, 150, 230, 280], np.float32)  # the legs
    result = eval_transform((64, 64))(0, **person(figure, box=box))
    assert result["visible"].tolist() == [0, 0, 0, 1, 2, 2, 2]
    assert result["keypoints"].dtype == np.float32 and result["visible"].dtype == np.int64


def test_results_depend_on_the_seed_alone(figure):
    transform = train_transform(SIZE, photometric=0.4)
    result, same, other = (transform(seed, **person(figure)) for seed in (5, 5, 6))
    assert all(np.array_equal(result[key], same[key]) for key in result)
    assert not np.array_equal(result["image"], other["image"])
    angles = [np.degrees(np.arctan2(*transform(seed, **person(figure))["matrix"][::-1, 1])) for seed in range(40)]
    assert len(np.unique(np.round(angles, 3))) > 20


def test_half_a_body():
    labeled, rng = VISIBLE > 0, random.Random(0)
    assert half_body(rng, POINTS, labeled, np.zeros(7, bool)) is None  # no lower half is known
    center, sides = half_body(rng, POINTS, labeled, LOWER)  # only the legs have three labeled points
    np.testing.assert_allclose(center, POINTS[3:].mean(0), rtol=1e-6)
    np.testing.assert_allclose(sides, 1.5 * (POINTS[3:].max(0) - POINTS[3:].min(0)), rtol=1e-6)
    few = labeled & np.array([True, True, True, True, False, False, False])
    assert half_body(rng, POINTS, few, LOWER) is None
    image = np.zeros((320, 330, 3), np.uint8)
    full = train_transform(SIZE, **QUIET)(0, **person(image))
    half = train_transform(SIZE, **{**QUIET, "half_body": 1.0})(0, **person(image))
    assert np.linalg.det(half["matrix"][:, :2]) < 0.6 * np.linalg.det(full["matrix"][:, :2])
    assert half["visible"][3:].all()


@pytest.mark.parametrize("side", [30.0, 2000.0])
def test_a_window_outside_the_image_is_padding(figure, side):
    far = np.array([9000, 9000, 9000 + side, 9000 + side], np.float32)
    result = eval_transform(SIZE)(0, **person(figure, box=far))
    assert (result["image"] == MEAN_COLOR).all() and not result["visible"].any()
    flat = np.array([50, 50, 50, 50], np.float32)
    assert np.isfinite(eval_transform(SIZE)(0, **person(figure, box=flat))["matrix"]).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": (128,)}, "give two whole numbers"),
        ({"hflip": 1.5}, "hflip is 1.5: a probability"),
        ({"half_body": -1}, "half_body is -1: a probability"),
        ({"rotation": 200}, "rotation is 200: it lies in 0..180"),
        ({"shift": 2}, "shift is 2: it lies in 0..1"),
        ({"photometric": 1}, "photometric is 1"),
        ({"scale": [1.5, 0.5]}, "scale is .*lowest and highest"),
    ],
)
def test_values_out_of_range_are_refused(options, message):
    with pytest.raises(LightsegError, match=message):
        train_transform(**{"size": SIZE, **options})
