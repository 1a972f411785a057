"""Transformed boxes, checked on an image whose colors are coordinates."""

import random
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from lightseg.data.io.pixels import MEAN_COLOR
from lightseg.data.transforms import detection as box_transforms
from lightseg.data.transforms.color import hue_matrix, photometric_matrix
from lightseg.data.transforms.detection import eval_transform, to_input, to_original, train_transform
from lightseg.errors import LightsegError

OFF: dict[str, Any] = {"hflip": 0.0, "iou_crop": False, "expand": None, "photometric": 0.0}
HEIGHT, WIDTH = 90, 140


def gradient_image(height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    """Red increases to the right, green downwards, and blue is 255, unlike the mean color of padding."""
    image = np.full((height, width, 3), 255, np.uint8)
    image[..., 0] = np.linspace(0, 255, width)[None].round()
    image[..., 1] = np.linspace(0, 255, height)[:, None].round()
    return image


def sample(seed: int, count: int = 4) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    corner = rng.uniform(0, (WIDTH - 40, HEIGHT - 40), (count, 2))
    boxes = np.concatenate([corner, corner + rng.uniform(12, 40, (count, 2))], 1).astype(np.float32)
    return {"image": gradient_image(), "boxes": boxes, "labels": np.arange(count)}


def source(result: np.ndarray, x: float, y: float) -> tuple[float, float]:
    """The position in the image of the pixel at (x, y) of a result, by its color."""
    red, green, _ = result[int(min(y, result.shape[0] - 1)), int(min(x, result.shape[1] - 1))]
    return red / 255 * (WIDTH - 1) + 0.5, green / 255 * (HEIGHT - 1) + 0.5


SETTINGS = {
    "resize": {},
    "flip": {"hflip": 1.0},
    "crop": {"iou_crop": True},
    "expand": {"expand": (1, 4)},
    "all": {"iou_crop": True, "expand": (1, 4), "hflip": 0.5},
    "all in a letterbox": {"iou_crop": True, "expand": (1, 4), "hflip": 0.5, "keep_aspect": True},
    "letterbox": {"keep_aspect": True},
}


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("size", [(160, 160), (96, 224)])
def test_boxes_stay_on_their_content(setting, size):
    """The center of every box in the result shows a position in the original box; its center, if nothing is cut off."""
    transform = train_transform(size, **{**OFF, **SETTINGS[setting]})
    checked = 0
    for seed in range(60):
        before = sample(seed)
        after = transform(seed, **{key: value.copy() for key, value in before.items()})
        image = after["image"]
        assert image.shape == (*size, 3) and image.dtype == np.uint8 and image.flags.c_contiguous
        assert after["boxes"].dtype == np.float32 and after["labels"].dtype == np.int64
        boxes = after["boxes"]
        assert (boxes >= 0).all() and (boxes[:, 2] <= size[1]).all() and (boxes[:, 3] <= size[0]).all()
        assert (boxes[:, 2:] - boxes[:, :2] >= 1).all()
        for (x0, y0, x1, y1), label in zip(boxes.tolist(), after["labels"].tolist(), strict=True):
            old = before["boxes"][label]
            center_x, center_y = source(image, (x0 + x1) / 2, (y0 + y1) / 2)
            left, right = sorted((source(image, x0 + 1, y0 + 1)[0], source(image, x1 - 1, y1 - 1)[0]))
            # a pixel of the result is up to `step` pixels of the image
            step = max(old[2] - old[0], old[3] - old[1]) / max(1.0, min(x1 - x0, y1 - y0)) + 1
            assert old[0] - step <= center_x <= old[2] + step and old[1] - step <= center_y <= old[3] + step
            assert left >= old[0] - 2 * step and right <= old[2] + 2 * step
            if setting in ("resize", "flip", "expand", "letterbox"):  # nothing is cut off
                assert abs(center_x - (old[0] + old[2]) / 2) <= 1 + step
                assert abs(center_y - (old[1] + old[3]) / 2) <= 1 + step
            checked += 1
    assert checked > 60


def test_a_plain_resize_and_a_flip():
    arrays = {"image": gradient_image(), "boxes": np.array([[14, 9, 70, 45]], np.float32), "labels": np.array([3])}
    plain = train_transform((180, 70), **OFF)(0, **arrays)
    assert np.array_equal(plain["image"], cv2.resize(gradient_image(), (70, 180)))
    assert plain["boxes"].tolist() == [[7, 18, 35, 90]] and plain["labels"].tolist() == [3]
    mirrored = train_transform((180, 70), **{**OFF, "hflip": 1.0})(0, **arrays)
    assert np.array_equal(mirrored["image"], plain["image"][:, ::-1])
    assert mirrored["boxes"].tolist() == [[35, 18, 63, 90]]


def test_expansion_places_the_image_on_the_mean_color():
    transform = train_transform((240, 240), **{**OFF, "expand": (2, 3)})
    fractions = []
    for seed in range(40):
        before = sample(seed)
        after = transform(seed, **before)
        padding = (after["image"] == MEAN_COLOR).all(2)
        fractions.append(1 - padding.mean())
        assert len(after["boxes"]) == 4
        y, x = np.nonzero(~padding)
        if padding.any():
            scale = np.array([(np.ptp(x) + 1) / WIDTH, (np.ptp(y) + 1) / HEIGHT] * 2)
            expected = before["boxes"] * scale + [x.min(), y.min(), x.min(), y.min()]
            np.testing.assert_allclose(after["boxes"], expected, atol=1e-3)
    assert 0.25 < np.mean(np.array(fractions) == 1) < 0.75
    assert all(fraction == 1 or 1 / 9.5 < fraction < 1 / 3.8 for fraction in fractions)


def plain_iou(box: list[float], crop: tuple[int, ...]) -> float:
    width = max(0, min(box[2], crop[2]) - max(box[0], crop[0]))
    height = max(0, min(box[3], crop[3]) - max(box[1], crop[1]))
    union = (box[2] - box[0]) * (box[3] - box[1]) + (crop[2] - crop[0]) * (crop[3] - crop[1]) - width * height
    return width * height / union


@pytest.mark.parametrize("min_iou", box_transforms.MIN_IOUS)
def test_the_iou_crop(monkeypatch, min_iou):
    """Like torchvision's RandomIoUCrop: sides, aspect ratio, centers inside, best IoU."""
    monkeypatch.setattr(box_transforms, "MIN_IOUS", (min_iou, min_iou, 1.0))
    cropped = 0
    for seed in range(150):
        boxes = sample(seed)["boxes"]
        boxes[0] = [0, 0, 140, 95]  # large enough for the higher overlaps
        window, kept = box_transforms.iou_cropped(random.Random(seed), (-10, -20, 160, 120), boxes)
        if window == (-10, -20, 160, 120):
            assert kept.all()
            continue
        cropped += 1
        left, top, right, bottom = window
        assert left >= -10 and top >= -20 and right <= 160 and bottom <= 120
        width, height = right - left, bottom - top
        assert width >= 0.3 * 170 - 1 and height >= 0.3 * 140 - 1 and 0.5 <= width / height <= 2
        inside = [
            left < (x0 + x1) / 2 < right and top < (y0 + y1) / 2 < bottom for x0, y0, x1, y1 in boxes.tolist()
        ]  # fmt: skip
        assert kept.tolist() == inside and any(inside)
        overlaps = [plain_iou(box, window) for box, is_inside in zip(boxes.tolist(), inside, strict=True) if is_inside]
        assert max(overlaps) >= min_iou - 1e-6
    assert cropped == 0 if min_iou == 1.0 else cropped > 5


def test_images_without_boxes_are_not_cropped():
    nothing = {"image": gradient_image(), "boxes": np.zeros((0, 4), np.float32), "labels": np.zeros(0, np.int64)}
    for seed in range(20):
        after = train_transform((64, 64), hflip=0, expand=None, photometric=0)(seed, **nothing)
        assert np.array_equal(after["image"], train_transform((64, 64), **OFF)(0, **nothing)["image"])
        full = train_transform((64, 64), mosaic=0.5)(seed, **nothing, read=lambda _: nothing, count=9)
        for result in (after, full):
            assert result["boxes"].shape == (0, 4) and result["boxes"].dtype == np.float32
            assert result["labels"].shape == (0,) and result["labels"].dtype == np.int64


def test_boxes_smaller_than_a_pixel_are_dropped_in_training_only():
    arrays = {
        "image": gradient_image(900, 900),
        "boxes": np.array([[10, 10, 18, 400], [10, 10, 400, 18], [10, 10, 20, 20]], np.float32),
        "labels": np.array([0, 1, 2]),
    }
    assert train_transform((100, 100), **OFF)(0, **arrays)["labels"].tolist() == [2]
    assert eval_transform((100, 100))(0, **arrays)["labels"].tolist() == [0, 1, 2]


@pytest.mark.parametrize("mosaic", [0.0, 1.0])
def test_results_depend_on_the_seed_alone(mosaic):
    transform = train_transform((80, 120), mosaic=mosaic)

    def run(seed: int) -> dict[str, np.ndarray]:
        random.seed(random.random())  # must make no difference
        np.random.seed(seed + 1)
        return transform(seed, **sample(1), read=sample, count=50)

    first, again = run(5), run(5)
    assert all(np.array_equal(first[key], again[key]) for key in first)
    results = [run(seed) for seed in range(8)]
    assert len({result["image"].tobytes() for result in results}) == 8
    arrays, untouched = sample(1), sample(1)
    transform(3, **arrays, read=sample, count=50)
    assert all(np.array_equal(arrays[key], untouched[key]) for key in arrays)


def test_the_mosaic_joins_four_images():
    """Each image has another blue, which is the label of its box."""
    indices: list[int] = []

    def read(index: int) -> dict[str, np.ndarray]:
        indices.append(index)
        blue = 10 * (len(indices) % 3 + 1)
        image = np.full((60, 80, 3), blue, np.uint8)
        image[15:45, 20:60, 0] = 255  # the object is red
        return {"image": image, "boxes": np.array([[20, 15, 60, 45]], np.float32), "labels": np.array([blue])}

    transform = train_transform((120, 200), **{**OFF, "hflip": 0.5, "mosaic": 1.0})
    corners = set()
    for seed in range(20):
        first = read(0)
        first["image"][..., 2] = first["labels"][0] = 200
        indices.clear()
        after = transform(seed, **first, read=read, count=30)
        assert len(indices) == 3 and all(0 <= index < 30 for index in indices)
        assert sorted(after["labels"].tolist()) == [10, 20, 30, 200]
        red = after["image"][..., 0] > 127
        for (x0, y0, x1, y1), label in zip(after["boxes"].tolist(), after["labels"].tolist(), strict=True):
            box = (slice(round(y0), round(y1)), slice(round(x0), round(x1)))
            assert (after["image"][box][..., 2] == label).all() and red[box].mean() > 0.95
            red[box] = False
        assert red.mean() < 0.02  # nothing red is left outside the boxes
        corners.add(tuple(after["boxes"][0].tolist()))
    assert len(corners) > 10
    single = transform(0, **sample(1))  # without a data set
    assert len(single["labels"]) == 4


def test_photometric_distortion_is_ssds():
    """Grays stay gray, one image in 16 is unchanged, and hue does not change luma."""
    image = np.random.default_rng(0).integers(60, 180, (16, 16, 3), dtype=np.uint8)
    seen = []
    for seed in range(200):
        matrix = photometric_matrix(random.Random(seed), 0.5, image)
        changed = cv2.transform(image, matrix)
        assert changed.dtype == np.uint8
        gray = np.full((1, 1, 3), 90.0, np.float32)
        r, g, b = cv2.transform(gray, matrix)[0, 0]
        assert abs(r - g) < 0.1 and abs(g - b) < 0.1  # grays stay gray
        seen.append(np.allclose(matrix, np.eye(3, 4), atol=1e-6))
    assert 2 <= sum(seen) <= 30  # 1 of 16
    luma = np.array([0.299, 0.587, 0.114])
    turned = hue_matrix(0.3)
    np.testing.assert_allclose(luma @ turned, luma, atol=1e-6)
    np.testing.assert_allclose(turned @ np.ones(3), np.ones(3), atol=1e-6)
    np.testing.assert_allclose(hue_matrix(0.1) @ hue_matrix(0.2), turned, atol=1e-6)
    np.testing.assert_allclose(hue_matrix(0.0), np.eye(3), atol=1e-6)
    red, orange = np.array([200.0, 30, 30]), np.array([200.0, 80, 30])
    towards = turned @ red - red
    assert abs(towards @ (orange - red)) > 10  # red turns along the color circle


@pytest.mark.parametrize("keep_aspect", [False, True])
@pytest.mark.parametrize("size", [(90, 140), (333, 77), (50, 50), (1, 7)])
@pytest.mark.parametrize("input_size", [(320, 320), (256, 384)])
def test_there_and_back(size, input_size, keep_aspect):
    height, width = size
    boxes = np.array([[0, 0, width, height], [width / 4, 0.25, width / 2, height]], np.float32)
    image = np.zeros((height, width, 3), np.uint8)
    seen = eval_transform(input_size, keep_aspect)(0, image=image, boxes=boxes, labels=np.array([0, 1]))
    assert seen["image"].shape == (*input_size, 3)
    there = to_input(torch.from_numpy(boxes), size, input_size, keep_aspect)
    np.testing.assert_allclose(there.numpy(), seen["boxes"], rtol=1e-5, atol=1e-3)
    np.testing.assert_allclose(to_input(boxes, size, input_size, keep_aspect), there.numpy())
    back = to_original(there, size, input_size, keep_aspect)
    assert back.dtype == torch.float32
    np.testing.assert_allclose(back.numpy(), boxes, rtol=1e-4, atol=1e-3)
    everywhere = torch.tensor([[-50.0, -50, 2000, 2000]])
    assert to_original(everywhere, size, input_size, keep_aspect).tolist() == [[0, 0, width, height]]
    x0, y0, x1, y1 = there[0].tolist()
    if keep_aspect:
        assert abs((x1 - x0) * height - (y1 - y0) * width) <= max(height, width)  # a pixel of rounding
        assert abs(x0 - (input_size[1] - x1)) <= 1 and abs(y0 - (input_size[0] - y1)) <= 1  # in the middle
        assert x1 - x0 == input_size[1] or y1 - y0 == input_size[0]
        if x0 > 0:
            assert (seen["image"][:, 0] == MEAN_COLOR).all()
    else:
        assert (x0, y0, x1, y1) == (0, 0, input_size[1], input_size[0])


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"hflip": 1.5}, "hflip is 1.5: a probability"),
        ({"mosaic": -1}, "mosaic is -1: a probability"),
        ({"photometric": 1}, "photometric is 1: the strength"),
        ({"expand": (0.5, 2)}, r"expand is \[0.5, 2\]: give two numbers"),
        ({"expand": (3, 2)}, "expand is"),
        ({"size": (0, 32)}, r"size is \[0, 32\]"),
        ({"size": (32, 32, 3)}, "size is"),
    ],
)
def test_values_out_of_range(wrong, message):
    with pytest.raises(LightsegError, match=message):
        train_transform(**{"size": (32, 32), **wrong})


def test_colors_change_in_the_image_and_not_around_it():
    transform = train_transform((96, 224), **{**OFF, "photometric": 0.5, "keep_aspect": True})
    plain = train_transform((96, 224), **{**OFF, "keep_aspect": True})(0, **sample(0))
    changed = 0
    for seed in range(12):
        after = transform(seed, **sample(0))
        assert (after["image"][:, :30] == MEAN_COLOR).all() and (after["image"][:, -30:] == MEAN_COLOR).all()
        assert np.array_equal(after["boxes"], plain["boxes"])
        changed += not np.array_equal(after["image"], plain["image"])
    assert changed >= 9
