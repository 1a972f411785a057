"""Classification's transforms: evaluation bit for bit equal to timm's, windows, and results by the seed alone."""

import pickle
import random

import cv2
import numpy as np
import pytest
import timm.data
import torch
from PIL import Image
from timm.data.auto_augment import rand_augment_choices, rand_augment_ops

from lightseg.data.transforms.auto_augment import _INVERSE, RandAugment, TrivialAugment
from lightseg.data.transforms.classification import erase, eval_transform, random_window, train_transform
from lightseg.errors import LightsegError


def smooth(height: int, width: int) -> np.ndarray:
    noise = np.random.default_rng(0).integers(0, 256, (9, 12, 3), dtype=np.uint8)
    return cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)


@pytest.mark.parametrize("shape", [(200, 300), (301, 203), (64, 64), (50, 61), (256, 256)])
@pytest.mark.parametrize(
    ("size", "crop_pct", "interpolation"),
    [(224, 0.875, "bicubic"), (75, 0.95, "bilinear"), (64, 1.0, "bicubic"), (33, 0.9, "nearest")],
)
def test_evaluation_is_timms_to_the_bit(shape, size, crop_pct, interpolation) -> None:
    image = np.random.default_rng(1).integers(0, 256, (*shape, 3), dtype=np.uint8)
    theirs = timm.data.create_transform(
        (3, size, size), is_training=False, crop_pct=crop_pct, interpolation=interpolation, normalize=False
    )
    expected = theirs(Image.fromarray(image)).permute(1, 2, 0).numpy()
    result = eval_transform(size, crop_pct, interpolation)(0, image=image)["image"]
    assert result.dtype == np.uint8
    np.testing.assert_array_equal(result, expected)


def test_windows_have_the_given_areas_and_ratios() -> None:
    rng = random.Random(0)
    areas, ratios = [], []
    for _ in range(3000):
        top, left, height, width = random_window(rng, (400, 600), (0.08, 0.6), (3 / 4, 4 / 3))
        assert top >= 0 and left >= 0 and top + height <= 400 and left + width <= 600
        areas.append(height * width / 240_000)
        ratios.append(width / height)
    assert min(areas) > 0.075 and max(areas) < 0.605 and np.mean(areas) == pytest.approx(0.34, abs=0.01)
    assert min(ratios) > 0.74 and max(ratios) < 1.35 and np.mean(np.log(ratios)) == pytest.approx(0, abs=0.02)


@pytest.mark.parametrize(("shape", "window"), [((20, 400), (0, 186, 20, 27)), ((400, 20), (186, 0, 27, 20))])
def test_an_image_that_no_window_fits_is_center_cropped(shape, window) -> None:
    assert random_window(random.Random(0), shape, (0.9, 1.0), (3 / 4, 4 / 3)) == window


def test_the_uncropped_image_is_only_resized() -> None:
    image = smooth(200, 200)
    resize = train_transform(50, scale=(1, 1), ratio=(1, 1), hflip=0, color=0)
    exact = image.reshape(50, 4, 50, 4, 3).mean((1, 3))
    result = resize(3, image=image)["image"]
    assert result.shape == (50, 50, 3) and np.abs(result - exact).max() <= 0.5  # no pixel is skipped
    flipped = train_transform(50, scale=(1, 1), ratio=(1, 1), hflip=1, color=0)
    np.testing.assert_array_equal(flipped(3, image=image)["image"], result[:, ::-1])
    half = train_transform(50, scale=(1, 1), ratio=(1, 1), hflip=0.5, color=0)
    assert 70 < sum((half(seed, image=image)["image"] == result).all() for seed in range(200)) < 130


def test_color_jitter_is_off_with_an_automatic_augmentation() -> None:
    image = np.full((40, 40, 3), 100, np.uint8)
    jitter = train_transform(32, color=0.4)
    brightness = [jitter(seed, image=image)["image"].mean() / 100 for seed in range(80)]
    assert min(brightness) < 0.7 and max(brightness) > 1.3 and np.mean(brightness) == pytest.approx(1, abs=0.08)
    assert len(train_transform(32, color=0.4, randaugment=9, hflip=0).steps) == 1


VARIANTS = [{}, {"randaugment": 9}, {"randaugment": 31.0}, {"trivialaugment": True}, {"erasing": 1.0}, {"color": 0}]


@pytest.mark.parametrize("options", VARIANTS)
def test_results_depend_on_the_seed_alone(options) -> None:
    image = smooth(90, 120)
    untouched = image.copy()
    first, second = train_transform(48, **options), train_transform(48, **options)
    for other in range(5):
        second(other, image=image)  # earlier calls make no difference
    copy = pickle.loads(pickle.dumps(second))  # as for spawned workers
    expected = [first(seed, image=image)["image"] for seed in (*range(15), 2**63 - 1)]
    random.seed(1)
    np.random.seed(1)
    torch.manual_seed(1)
    before = random.getstate(), np.random.get_state()[1].copy(), torch.get_rng_state()
    for other in (second, copy, first):
        for seed, result in zip((*range(15), 2**63 - 1), expected, strict=True):
            again = other(seed, image=image)["image"]
            assert again.shape == (48, 48, 3) and again.dtype == np.uint8
            np.testing.assert_array_equal(again, result)
    assert random.getstate() == before[0] and (np.random.get_state()[1] == before[1]).all()
    assert torch.equal(torch.get_rng_state(), before[2])
    assert len({result.tobytes() for result in expected}) == 16
    np.testing.assert_array_equal(image, untouched)


@pytest.mark.parametrize("index", range(15))
def test_randaugments_operations_are_timms(index: int) -> None:
    """The geometric operations are OpenCV's, and equal timm's bilinear ones inside the image."""
    ours = RandAugment(7).operations[index]
    hparams = {"magnitude_std": 0.5, "magnitude_max": 31, "img_mean": (124, 116, 104)}
    hparams["interpolation"] = Image.Resampling.BILINEAR
    theirs = rand_augment_ops(7, 1.0, hparams, rand_augment_choices("", increasing=True))[index]
    assert ours.name == theirs.name and ours.prob == 0.5
    ours.prob = 1.0
    image = Image.fromarray(smooth(91, 120) // 2 + 60)
    changed = 0
    for seed in range(6):
        random.seed(seed)
        result = np.asarray(ours(image)).astype(int)
        random.seed(seed)
        expected = np.asarray(theirs(image)).astype(int)
        difference = np.abs(result - expected)
        if ours.name in _INVERSE:
            assert np.mean(difference > 3) < 0.02  # the image's border is half a pixel off
        else:
            assert not difference.any()
        changed += bool((result != np.asarray(image)).any())
    assert changed == 6


def test_randaugment_takes_two_operations_with_probability_one_half() -> None:
    augment = RandAugment(9)
    calls = []
    for operation in augment.operations:
        operation.aug_fn = lambda image, *levels, name=operation.name, **_: calls.append(name) or image
    rng = random.Random(0)
    image = smooth(20, 20)
    for _ in range(1500):
        np.testing.assert_array_equal(augment(rng, image), image)
    assert len(calls) == pytest.approx(1500, abs=100)
    assert all(60 < calls.count(operation.name) < 145 for operation in augment.operations)


def test_magnitudes_above_ten_are_stronger() -> None:
    """EfficientNetV2 needs 15 and 20: no operation fails, and no image becomes black."""
    image = smooth(60, 60)

    def shifts(magnitude: float) -> float:
        (operation,) = (o for o in RandAugment(magnitude).operations if o.name == "TranslateXRel")
        operation.prob = 1.0
        random.seed(0)
        results = [np.asarray(operation(Image.fromarray(image))) for _ in range(20)]
        return float(np.mean([(result == (124, 116, 104)).all(-1).mean() for result in results]))

    assert [shifts(m) for m in (5, 15, 31)] == pytest.approx([0.225, 0.675, 0.75], abs=0.03)
    (posterize,) = (o for o in RandAugment(20).operations if o.name == "PosterizeIncreasing")
    posterize.prob = 1.0
    assert set(np.unique(np.asarray(posterize(Image.fromarray(image))))) == {0, 128}


def test_trivialaugment_applies_an_operation_of_any_strength() -> None:
    augment, image = TrivialAugment(), smooth(40, 40)
    rng = random.Random(0)
    distances = [np.abs(augment(rng, image).astype(int) - image).mean() for _ in range(200)]
    assert 10 < sum(distance == 0 for distance in distances) < 60 and max(distances) > 60


def test_erasing_fills_one_rectangle_with_noise() -> None:
    rng = random.Random(0)
    areas = []
    for _ in range(300):
        image = np.zeros((80, 100, 3), np.uint8)
        hit = erase(1.0, rng, image).any(-1)
        rows, columns = np.flatnonzero(hit.any(1)), np.flatnonzero(hit.any(0))
        height, width = rows[-1] - rows[0] + 1, columns[-1] - columns[0] + 1
        assert hit.sum() == pytest.approx(height * width, rel=0.02) and 0.28 < height / width < 3.6
        areas.append(height * width / 8000)
    assert 0.015 < min(areas) < 0.06 and 0.25 < max(areas) < 0.34
    assert sum(erase(0.25, rng, np.zeros((20, 20, 3), np.uint8)).any() for _ in range(400)) == pytest.approx(
        100, abs=35
    )
    values = erase(1.0, rng, np.zeros((300, 300, 3), np.uint8))
    assert values[values.any(-1)].mean() == pytest.approx(127.5, abs=4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 0}, "size is 0"),
        ({"size": 10.5}, "whole pixels"),
        ({"scale": (0.5, 2.0)}, "scale .* at most 1"),
        ({"scale": (0, 1)}, "greater than 0"),
        ({"ratio": (2, 1)}, "ratio"),
        ({"hflip": 1.5}, "hflip"),
        ({"color": 1.0}, "color"),
        ({"randaugment": 32}, r"randaugment is 32: the magnitude lies in 0\.\.31"),
        ({"randaugment": 9, "trivialaugment": True}, "choose one"),
        ({"erasing": -0.1}, "erasing"),
    ],
)
def test_values_out_of_range_are_refused(options, message: str) -> None:
    with pytest.raises(LightsegError, match=message):
        train_transform(**{"size": 32, **options})
    if "size" in options:
        with pytest.raises(LightsegError, match=message):
            eval_transform(options["size"])


def test_evaluation_values_out_of_range_are_refused() -> None:
    with pytest.raises(LightsegError, match=r"crop_pct is 1\.2"):
        eval_transform(32, 1.2)
    with pytest.raises(LightsegError, match="did you mean bicubic"):
        eval_transform(32, 0.9, "bicubc")
