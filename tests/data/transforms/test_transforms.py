"""Segmentation's transforms: windows, aligned masks, colors, and results by the seed alone."""

import pickle
import random
from itertools import pairwise

import cv2
import numpy as np
import pytest

from lightseg.data.io.pixels import MEAN_COLOR
from lightseg.data.transforms.color import color_matrix
from lightseg.data.transforms.segmentation import (
    IGNORE,
    Augmentation,
    ColorJitter,
    RandomScaleCrop,
    eval_transform,
    train_transform,
)
from lightseg.errors import LightsegError


@pytest.fixture(scope="module")
def coordinates() -> np.ndarray:
    """60x80: red increases by 3 a row, green by 3 a column, blue is 7, so that colors are coordinates."""
    rows, columns = np.mgrid[0:60, 0:80]
    return np.stack([rows * 3, columns * 3, np.full_like(rows, 7)], -1).astype(np.uint8)


@pytest.mark.parametrize("scale", [0.5, 0.7, 1.0, 1.3, 2.0])
def test_the_window_has_the_given_scale(coordinates: np.ndarray, scale: float) -> None:
    crop = Augmentation([RandomScaleCrop((24, 32), (scale, scale))])
    mask = coordinates[..., 0] // 3
    for seed in range(8):
        result = crop(seed, image=coordinates, mask=mask)
        image = result["image"].astype(float)
        assert image.shape == (24, 32, 3) and result["mask"].shape == (24, 32)
        assert (image[..., 2] == 7).all()  # no padding: the scaled image is larger than the crop
        for axis, values in enumerate((image[:, 16, 0], image[12, :, 1])):
            inner = values[3:-3] / 3  # in source pixels; the border repeats its edge when enlarged
            slope = (inner[-1] - inner[0]) / (len(inner) - 1)
            assert slope == pytest.approx(1 / scale, rel=0.06), axis
        # the mask's row is the image's row, up to half a pixel (nearest neighbor) and rounding
        rows = image[..., 0] / 3
        assert np.abs(rows - result["mask"])[3:-3].max() <= max(0.5, 0.5 / scale) + 0.2


def test_downscaling_averages_the_image_and_samples_the_mask_at_pixel_centers() -> None:
    image = np.random.default_rng(0).integers(0, 256, (60, 78, 3), dtype=np.uint8)
    result = Augmentation([RandomScaleCrop((20, 26), (1 / 3, 1 / 3))])(0, image=image, mask=image[..., 0])
    assert np.abs(result["image"] - image.reshape(20, 3, 26, 3, 3).mean((1, 3))).max() <= 0.5
    np.testing.assert_array_equal(result["mask"], image[1::3, 1::3, 0])


def test_scale_one_is_a_plain_crop(coordinates: np.ndarray) -> None:
    crop = Augmentation([RandomScaleCrop((24, 32), (1, 1))])
    corners = set()
    for seed in range(30):
        image = crop(seed, image=coordinates)["image"]
        top, left = image[0, 0, 0] // 3, image[0, 0, 1] // 3
        np.testing.assert_array_equal(image, coordinates[top : top + 24, left : left + 32])
        corners.add((int(top), int(left)))
    assert len(corners) > 20


@pytest.mark.parametrize(
    ("crop_size", "scale"), [((100, 200), 1.0), ((60, 200), 1.0), ((80, 90), 0.5), ((40, 30), 0.01)]
)
def test_a_crop_larger_than_the_image_is_padded(coordinates: np.ndarray, crop_size, scale: float) -> None:
    crop = Augmentation([RandomScaleCrop(crop_size, (scale, scale))])
    mask = np.zeros((60, 80), np.uint8)
    positions = set()
    for seed in range(20):
        result = crop(seed, image=coordinates, mask=mask)
        assert result["image"].shape == (*crop_size, 3)
        inside = result["mask"] == 0
        rows, columns = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
        assert inside[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].all()
        expected = (max(1, round(60 * scale)), max(1, round(80 * scale)))
        assert (len(rows), len(columns)) == tuple(min(a, b) for a, b in zip(expected, crop_size, strict=True))
        assert (result["mask"][~inside] == IGNORE).all() and (result["image"][~inside] == MEAN_COLOR).all()
        positions.add((rows[0], columns[0]))
    assert len(positions) > 3


def test_scales_are_sampled_over_the_full_range(coordinates: np.ndarray) -> None:
    crop = Augmentation([RandomScaleCrop((10, 10), (0.5, 2.0))])
    slopes = []
    for seed in range(200):
        red = crop(seed, image=coordinates)["image"][..., 0].astype(float)
        slopes.append((red[8, 5] - red[1, 5]) / 7 / 3)
    scales = 1 / np.array(slopes)
    assert scales.min() < 0.6 and scales.max() > 1.8
    assert np.mean(scales) == pytest.approx(1.25, abs=0.12)


def test_a_flip_mirrors_image_and_mask(coordinates: np.ndarray) -> None:
    always = train_transform((60, 80), scale=(1, 1), hflip=1, color=0)
    mask = coordinates[..., 1]
    result = always(0, image=coordinates, mask=mask)
    np.testing.assert_array_equal(result["image"], coordinates[:, ::-1])
    np.testing.assert_array_equal(result["mask"], mask[:, ::-1])
    half = train_transform((60, 80), scale=(1, 1), color=0)
    flipped = sum(half(seed, image=coordinates)["image"][0, 0, 1] > 0 for seed in range(200))
    assert 70 < flipped < 130


def jitter_in_steps(
    image: np.ndarray, brightness: float, contrast: float, saturation: float, mean: float
) -> np.ndarray:
    """The usual color jitter in float: saturation, contrast about the mean gray, then brightness."""
    gray = image @ np.array([0.299, 0.587, 0.114])
    out = saturation * image + (1 - saturation) * gray[..., None]
    out = contrast * out + (1 - contrast) * mean
    return np.clip(brightness * out, 0, 255)


def test_one_matrix_is_brightness_contrast_and_saturation() -> None:
    image = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    rng = random.Random(0)
    for _ in range(20):
        factors = [rng.uniform(0.6, 1.4) for _ in range(3)]
        result = cv2.transform(image, color_matrix(*factors, mean_gray=100.0))
        expected = jitter_in_steps(image.astype(float), *factors, 100.0)
        assert np.abs(result - expected).max() <= 1  # rounding, with OpenCV's float32
    np.testing.assert_array_equal(cv2.transform(image, color_matrix(1, 1, 1, 100.0)), image)


def test_color_jitter_changes_the_image_and_not_the_mask(coordinates: np.ndarray) -> None:
    jitter = Augmentation([ColorJitter(0.4)])
    mask = coordinates[..., 0]
    brightness = []
    for seed in range(60):
        result = jitter(seed, image=coordinates, mask=mask)
        np.testing.assert_array_equal(result["mask"], mask)
        brightness.append(result["image"].mean() / coordinates.mean())
    assert min(brightness) < 0.75 and max(brightness) > 1.25
    assert np.mean(brightness) == pytest.approx(1, abs=0.06)


def test_results_depend_on_the_seed_alone(coordinates: np.ndarray) -> None:
    first, second = train_transform((24, 32)), train_transform((24, 32))
    for other in range(5):
        second(other, image=coordinates)  # earlier calls make no difference
    copy = pickle.loads(pickle.dumps(second))
    np.random.seed(0)
    random.seed(0)
    expected = first(2**63 - 1, image=coordinates)["image"]
    np.random.seed(1)
    random.seed(1)
    before = np.random.get_state()[1].copy(), random.getstate()
    for other in (second, copy, first):
        np.testing.assert_array_equal(other(2**63 - 1, image=coordinates)["image"], expected)
    assert (np.random.get_state()[1] == before[0]).all() and random.getstate() == before[1]
    results = [first(seed, image=coordinates)["image"] for seed in range(20)]
    assert not any(np.array_equal(a, b) for a, b in pairwise(results))


def test_zoom_and_brightness_are_independent(coordinates: np.ndarray) -> None:
    """With the same stream of random numbers in each step, every large image would be bright."""
    flat = np.full((60, 80, 3), 100, np.uint8)
    flat[:, :40, 0] = 90
    augment = train_transform((200, 200), scale=(0.5, 2.0), hflip=0, color=0.3)
    sizes, brightness = [], []
    for seed in range(300):
        result = augment(seed, image=flat, mask=np.zeros((60, 80), np.uint8))
        inside = result["mask"] == 0
        sizes.append(inside.sum() ** 0.5)
        brightness.append(result["image"][inside][:, 1].mean())
    assert abs(np.corrcoef(sizes, brightness)[0, 1]) < 0.2


def test_evaluation_resizes_the_image_and_not_the_mask(coordinates: np.ndarray) -> None:
    assert eval_transform() is None
    mask = coordinates[..., 0]
    result = eval_transform((30, 40))(0, image=coordinates, mask=mask)
    assert result["image"].shape == (30, 40, 3) and result["mask"] is mask
    exact = coordinates.reshape(30, 2, 40, 2, 3).mean((1, 3))
    assert np.abs(result["image"] - exact).max() <= 0.5
    smaller = eval_transform((12, 16))(0, image=coordinates)["image"]
    assert np.abs(smaller - coordinates.reshape(12, 5, 16, 5, 3).mean((1, 3))).max() <= 0.5  # no pixel is skipped
    np.testing.assert_array_equal(eval_transform([60, 80])(0, image=coordinates)["image"], coordinates)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"crop_size": (0, 10)}, "crop_size"),
        ({"crop_size": (10,)}, "crop_size"),
        ({"crop_size": (10.5, 10)}, "whole numbers"),
        ({"scale": (2, 1)}, "scale"),
        ({"scale": (0, 1)}, "greater than 0"),
        ({"hflip": 1.5}, "hflip"),
        ({"color": 1.0}, "color"),
    ],
)
def test_values_out_of_range_are_refused(options, message: str) -> None:
    with pytest.raises(LightsegError, match=message):
        train_transform(**{"crop_size": (10, 10), **options})
    if "crop_size" in options:
        with pytest.raises(LightsegError):
            eval_transform(options["crop_size"])
