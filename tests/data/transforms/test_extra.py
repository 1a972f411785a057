"""albumentations' transforms after lightseg's: masks, boxes and keypoints follow, and results by the seed alone."""

import pickle
import random
from itertools import pairwise
from typing import Any

import cv2
import numpy as np
import pytest
from torch.utils.data import DataLoader, Dataset

from lightseg.data.io.pixels import MEAN_COLOR
from lightseg.data.transforms.extra import Extra
from lightseg.data.transforms.phase_transform import PhaseTransform
from lightseg.errors import LightsegError
from lightseg.task_specs import task_spec

IGNORE = 255
HEIGHT, WIDTH = 40, 60
SIDE = 96
SWAP = np.array([0, 2, 1, 4, 3])  # a point in the middle, two pairs
POINTS = np.array([[48, 14], [30, 34], [62, 30], [36, 70], [58, 78]], np.float32)
VISIBLE = np.array([2, 2, 1, 2, 2])
COLORS = np.array([(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0), (0, 255, 255)])
MATRIX = np.array([[2, 0, 5], [0, 2, 7]], np.float32)  # from the crop to its image


def identity(seed: int, *, swap: Any = None, **arrays: Any) -> dict[str, Any]:
    """In place of lightseg's transforms."""
    return arrays


def extra(target: str | None, *entries: Any, size: tuple[int, int] = (HEIGHT, WIDTH)) -> Extra:
    return Extra(identity, list(entries), size, target)


@pytest.fixture
def image() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)


def figure() -> np.ndarray:
    """A disc of another color around each point, on black."""
    image = np.zeros((SIDE, SIDE, 3), np.uint8)
    for point, color in zip(POINTS.astype(int).tolist(), COLORS.tolist(), strict=True):
        cv2.circle(image, point, 4, color, cv2.FILLED)
    return image


def person(**changed: Any) -> dict[str, Any]:
    arrays = {"image": figure(), "keypoints": POINTS.copy(), "visible": VISIBLE.copy(), "area": 900.0}
    return {**arrays, "matrix": MATRIX.copy(), "swap": SWAP, **changed}


def applied(entry: Any) -> dict[str, Any]:
    """The entry with p=1."""
    name, arguments = (entry, {}) if isinstance(entry, str) else next(iter(entry.items()))
    return {name: {**arguments, "p": 1}}


# -- masks -------------------------------------------------------------------------------------------------------------


def test_a_mask_is_mirrored_with_its_image(image: np.ndarray) -> None:
    mask = image[..., 0].copy()  # every id, 0 and 255 among them
    result = extra("mask", {"HorizontalFlip": {"p": 1}})(0, image=image, mask=mask)
    np.testing.assert_array_equal(result["image"], image[:, ::-1])
    np.testing.assert_array_equal(result["mask"], mask[:, ::-1])
    assert result["mask"].dtype == np.uint8


@pytest.mark.parametrize(("more", "new"), [({}, IGNORE), ({"fill_mask": 3}, 3), ({"fill_mask": 0}, 0)])
def test_new_area_is_ignored_by_default(image: np.ndarray, more: dict[str, int], new: int) -> None:
    mask = np.full((HEIGHT, WIDTH), 7, np.uint8)
    mask[20:] = 0
    move = extra("mask", {"Affine": {"translate_px": {"x": [10, 10], "y": [0, 0]}, "p": 1, **more}})
    result = move(0, image=image, mask=mask)
    np.testing.assert_array_equal(result["mask"][:, 10:], mask[:, :-10])
    assert (result["mask"][:, :10] == new).all() and (result["image"][:, :10] == MEAN_COLOR).all()
    np.testing.assert_array_equal(result["image"][:, 10:], image[:, :-10])


@pytest.mark.parametrize(
    "entry", [{"TimeMasking": {"p": 1}}, {"GridElasticDeform": {"num_grid_xy": [4, 4], "magnitude": 9}}]
)
def test_new_area_is_ignored_without_a_fill_option_too(entry: Any) -> None:
    mask = np.full((SIDE, SIDE), 7, np.uint8)
    move, new = extra("mask", applied(entry), size=(SIDE, SIDE)), set()
    for seed in range(30):
        new |= set(np.unique(move(seed, image=figure(), mask=mask)["mask"]).tolist())
    assert new == {7, IGNORE}


def test_masks_are_nearest_neighbor(image: np.ndarray) -> None:
    mask = np.where(image[..., 0] > 128, 2, 10).astype(np.uint8)
    for entry in ("Rotate", {"Affine": {"scale": 1.7}}, "Perspective", "ElasticTransform"):
        move = extra("mask", applied(entry))
        ids = {value for seed in range(5) for value in np.unique(move(seed, image=image, mask=mask)["mask"])}
        assert ids <= {2, 10, IGNORE} and {2, 10} <= ids


def test_class_ids_in_arguments_are_those_of_the_mask(image: np.ndarray) -> None:
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[10:30, 20:40] = 5
    holes = {"hole_height_range": [0.5, 0.5], "hole_width_range": [0.5, 0.5], "fill": 0, "p": 1}
    image = np.full_like(image, 200)
    for ids, size in (([5], 10 * 10), ([4], 0), ([4, 5], 10 * 10)):  # half the sides of the square of class 5
        drop = extra("mask", {"ConstrainedCoarseDropout": {"mask_indices": ids, **holes}})
        black = (drop(0, image=image, mask=mask)["image"] == 0).all(-1)
        assert black.sum() == size and (mask[black] == 5).all()


# -- boxes -------------------------------------------------------------------------------------------------------------


def boxed(entry: Any, boxes: list[list[float]], image: np.ndarray) -> tuple[np.ndarray, list[int]]:
    """The boxes and labels (3, 4, ... in the order of `boxes`) after one transform."""
    labels = np.arange(3, 3 + len(boxes))
    result = extra("bboxes", entry)(0, image=image, boxes=np.array(boxes, np.float32).reshape(-1, 4), labels=labels)
    assert result["boxes"].dtype == np.float32 and result["boxes"].shape == (len(result["labels"]), 4)
    assert result["labels"].dtype == np.int64 and set(result) == {"image", "boxes", "labels"}
    return result["boxes"], result["labels"].tolist()


def test_boxes_are_mirrored(image: np.ndarray) -> None:
    boxes, labels = boxed({"HorizontalFlip": {"p": 1}}, [[5, 8, 25, 30], [40.5, 0, 60, 12.25]], image)
    np.testing.assert_allclose(boxes, [[35, 8, 55, 30], [0, 0, 19.5, 12.25]], atol=1e-4)
    assert labels == [3, 4]
    boxes, _ = boxed({"VerticalFlip": {"p": 1}}, [[5, 8, 25, 30]], image)
    np.testing.assert_allclose(boxes, [[5, 10, 25, 32]], atol=1e-4)


def test_boxes_are_clipped_or_dropped_with_their_labels(image: np.ndarray) -> None:
    move = {"Affine": {"translate_px": {"x": [20, 20], "y": [0, 0]}, "p": 1}}
    before = [[0, 5, 10, 15], [50, 5, 60, 15], [26, 5, 46, 15], [38.5, 5, 46, 15], [30, 5, 45, 15]]
    boxes, labels = boxed(move, before, image)
    # the second is outside, a fifth of the fourth is left, two thirds of the fifth
    np.testing.assert_allclose(boxes, [[20, 5, 30, 15], [46, 5, 60, 15], [50, 5, 60, 15]], atol=1e-3)
    assert labels == [3, 5, 7]


def test_a_box_thinner_than_a_pixel_is_dropped(image: np.ndarray) -> None:
    boxes, labels = boxed({"Affine": {"scale": 0.5, "p": 1}}, [[20, 10, 21.5, 30], [20, 10, 24, 30]], image)
    np.testing.assert_allclose(boxes, [[25, 15, 27, 25]], atol=1e-3)
    assert labels == [4]


def test_images_without_boxes(image: np.ndarray) -> None:
    for entry in ({"HorizontalFlip": {"p": 1}}, {"CoarseDropout": {"p": 1}}, {"ElasticTransform": {"p": 1}}, "Blur"):
        assert boxed(entry, [], image)[1] == []
    boxes, labels = boxed({"Affine": {"translate_px": {"x": [55, 55], "y": [0, 0]}, "p": 1}}, [[20, 5, 30, 15]], image)
    assert boxes.shape == (0, 4) and labels == []


def test_boxes_stay_to_the_bit_where_only_pixels_change(image: np.ndarray) -> None:
    boxes = np.array([[1 / 3, 2 / 7, 25.1, 30.3]], np.float32)
    result = extra("bboxes", {"RandomRain": {"p": 1}})(0, image=image, boxes=boxes, labels=np.array([1]))
    assert result["boxes"] is boxes and not np.array_equal(result["image"], image)


# -- keypoints ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("entry", "moved", "swapped"),
    [
        ({"HorizontalFlip": {"p": 1}}, lambda x, y: (95 - x, y), True),
        ({"VerticalFlip": {"p": 1}}, lambda x, y: (x, 95 - y), True),
        ({"Transpose": {"p": 1}}, lambda x, y: (y, x), True),
        ({"Rotate": {"limit": [180, 180], "p": 1}}, lambda x, y: (95 - x, 95 - y), False),
        ({"Rotate": {"limit": [90, 90], "p": 1}}, lambda x, y: (y, 95 - x), False),
        ({"Affine": {"scale": 0.5, "p": 1}}, lambda x, y: (47.5 + (x - 47.5) / 2, 47.5 + (y - 47.5) / 2), False),
        ({"Resize": {"height": SIDE, "width": SIDE}}, lambda x, y: (x, y), False),
        ({"Sequential": {"transforms": [{"HorizontalFlip": {"p": 1}}, {"VerticalFlip": {"p": 1}}], "p": 1}},
         lambda x, y: (95 - x, 95 - y), False),
        ({"Sequential": {"transforms": [{"HorizontalFlip": {"p": 1}}, {"Transpose": {"p": 1}}], "p": 1}},
         lambda x, y: (y, 95 - x), False),
    ],
)  # fmt: skip
def test_keypoints_of_exact_transforms(entry: Any, moved: Any, swapped: bool) -> None:
    """Pixel indices: the mirror image of x is 95 - x, and mirroring exchanges left and right."""
    result = extra("keypoints", entry, size=(SIDE, SIDE))(0, **person())
    expected = np.array([moved(x, y) for x, y in POINTS.tolist()])
    order = SWAP if swapped else np.arange(len(SWAP))
    np.testing.assert_allclose(result["keypoints"], expected[order], atol=2e-3)
    assert result["visible"].tolist() == VISIBLE[order].tolist()
    assert result["keypoints"].dtype == np.float32 and result["visible"].dtype == np.int64


def disc_centers(image: np.ndarray) -> np.ndarray:
    """[5, 2], the centers of the discs of `figure`; nan for cut or missing discs."""
    centers = []
    for color in COLORS:
        weight = (np.abs(image.astype(int) - color).max(-1) < 90).astype(float)
        rows, columns = np.nonzero(weight)
        border = len(rows) and (min(rows.min(), columns.min()) <= 1 or max(rows.max(), columns.max()) >= SIDE - 2)
        centers.append((np.nan, np.nan) if len(rows) < 20 or border else (columns.mean(), rows.mean()))
    return np.array(centers)


GEOMETRIC = [
    "HorizontalFlip", "VerticalFlip", "Transpose", "D4", "SquareSymmetry", "RandomRotate90", "TimeReverse",
    "Rotate", "SafeRotate", "ShiftScaleRotate", "Perspective", "GridDistortion", "OpticalDistortion",
    {"Affine": {"scale": [0.7, 1.3], "rotate": [-180, 180], "shear": [-20, 20], "translate_percent": [-0.1, 0.1]}},
    pytest.param({"PiecewiseAffine": {"nb_rows": 3, "nb_cols": 3}}, marks=pytest.mark.slow),
    {"ElasticTransform": {"alpha": 60, "sigma": 8}},
    {"ThinPlateSpline": {"scale_range": [0.05, 0.1]}}, {"RandomResizedCrop": {"size": [SIDE, SIDE], "scale": [0.4, 1]}},
    {"CropAndPad": {"percent": [-0.2, 0.2]}}, {"RandomSizedCrop": {"min_max_height": [60, 90], "size": [SIDE, SIDE]}},
    {"GridElasticDeform": {"num_grid_xy": [3, 3], "magnitude": 5}},
]  # fmt: skip


@pytest.mark.parametrize("entry", GEOMETRIC, ids=lambda entry: entry if isinstance(entry, str) else next(iter(entry)))
def test_keypoints_are_where_the_image_shows_them_and_left_stays_left(entry: Any) -> None:
    """The discs' colors tell the points; their order around a triangle tells whether the image is mirrored."""
    ((name, _),) = applied(entry).items()
    move = extra("keypoints", applied(entry), size=(SIDE, SIDE))
    seen, errors, turns = 0, [], set()
    for seed in range(12):
        result = move(seed, **person(visible=np.full(5, 2)))
        centers = disc_centers(result["image"])
        complete = np.flatnonzero(~np.isnan(centers[:, 0]))
        if len(complete) < 3:
            continue
        first, second, third = complete[:3]

        def turn(points: np.ndarray, corners: tuple = (first, second, third)) -> float:
            a, b, c = (points[corner].astype(float) for corner in corners)
            return float(np.sign((b - a)[0] * (c - a)[1] - (b - a)[1] * (c - a)[0]))

        mirrored = turn(centers) != turn(POINTS)
        turns.add(mirrored)
        for disc in complete:
            point = SWAP[disc] if mirrored else disc
            assert result["visible"][point] == 2, (seed, disc)
            errors.append(np.abs(result["keypoints"][point] - centers[disc]).max())
            seen += 1
    assert seen >= 20
    # a disc's center of mass moves by itself where it is distorted
    assert max(errors) < 1.5 and np.mean(errors) < 0.45
    always, never = {"HorizontalFlip", "VerticalFlip", "Transpose", "TimeReverse"}, {"D4", "SquareSymmetry"}
    assert turns == ({True} if name in always else {True, False} if name in never else {False})


def test_an_image_cut_into_tiles() -> None:
    """Not mirrored: each point moves with its tile, as does its color."""
    shuffle = extra("keypoints", applied({"RandomGridShuffle": {"grid": [3, 2]}}), size=(SIDE, SIDE))
    for seed in range(30):
        result = shuffle(seed, **person())
        assert result["visible"].tolist() == VISIBLE.tolist()
        columns, rows = result["keypoints"].round().astype(int).T
        assert (result["image"][rows, columns] == COLORS).all(), seed


def test_a_point_that_leaves_the_image_is_no_longer_visible() -> None:
    move = extra("keypoints", {"Affine": {"translate_px": {"x": [40, 40], "y": [0, 0]}, "p": 1}}, size=(SIDE, SIDE))
    result = move(0, **person(visible=np.array([2, 2, 1, 0, 2])))
    assert result["visible"].tolist() == [2, 2, 0, 0, 0]  # x 48, 30, 62, unlabeled, 58
    np.testing.assert_allclose(result["keypoints"], [[88, 14], [70, 34], [0, 0], [0, 0], [0, 0]], atol=1e-3)


def test_area_and_inverse_matrix() -> None:
    entry = {"Affine": {"scale": 0.5, "translate_px": {"x": [6, 6], "y": [-3, -3]}, "p": 1}}
    for entries in ([entry], [entry, {"HorizontalFlip": {"p": 1}}]):
        result = extra("keypoints", *entries, size=(SIDE, SIDE))(0, **person())
        assert result["area"] == pytest.approx(900 / 4, rel=1e-4)
        assert result["matrix"].dtype == np.float32
        back = result["keypoints"] @ result["matrix"][:, :2].T + result["matrix"][:, 2]
        order = SWAP if len(entries) == 2 else np.arange(5)
        np.testing.assert_allclose(back, (POINTS @ MATRIX[:, :2].T + MATRIX[:, 2])[order], atol=1e-2)


def test_a_person_stays_to_the_bit_where_nothing_moves() -> None:
    for entry in ("Blur", {"HorizontalFlip": {"p": 0}}, {"CoarseDropout": {"p": 1}}):
        arrays = person()
        result = extra("keypoints", entry, size=(SIDE, SIDE))(0, **arrays)
        assert all(result[key] is arrays[key] for key in ("keypoints", "visible", "area", "matrix"))


def test_nobody_labelled() -> None:
    nobody = {"visible": np.zeros(5, int), "keypoints": np.zeros((5, 2), np.float32)}
    for entry in ("Transpose", "GridDistortion", {"Affine": {"rotate": 30}}):
        result = extra("keypoints", applied(entry), size=(SIDE, SIDE))(1, **person(**nobody))
        assert not np.array_equal(result["image"], figure())
        assert not result["visible"].any() and not result["keypoints"].any()


# -- random numbers ----------------------------------------------------------------------------------------------------


def fraction_flipped(entry: Any, image: np.ndarray, seeds: int = 400) -> float:
    flip = extra(None, entry)
    return np.mean([np.array_equal(flip(seed, image=image)["image"], image[:, ::-1]) for seed in range(seeds)])


def test_p_is_the_probability_by_default_the_librarys(image: np.ndarray) -> None:
    assert fraction_flipped({"HorizontalFlip": {"p": 0}}, image, 20) == 0
    assert fraction_flipped({"HorizontalFlip": {"p": 1}}, image, 20) == 1
    assert fraction_flipped({"HorizontalFlip": {"p": 0.2}}, image) == pytest.approx(0.2, abs=0.07)
    for entry in ("HorizontalFlip", {"HorizontalFlip": None}, {"HorizontalFlip": {}}):
        assert fraction_flipped(entry, image) == pytest.approx(0.5, abs=0.08)


def test_one_of_takes_one(image: np.ndarray) -> None:
    choose = extra(None, {"OneOf": {"transforms": ["HorizontalFlip", "VerticalFlip"], "p": 1}})
    results = [choose(seed, image=image)["image"] for seed in range(100)]
    across = [np.array_equal(result, image[:, ::-1]) for result in results]
    assert all(flipped or np.array_equal(result, image[::-1]) for flipped, result in zip(across, results, strict=True))
    assert 30 < sum(across) < 70


def test_lightsegs_flip_and_an_extra_are_independent(image: np.ndarray) -> None:
    """With the same stream of random numbers, the second flip would undo the first."""
    options = {"augment": {"crop_size": [HEIGHT, WIDTH], "scale": [1, 1], "hflip": 0.5, "color": 0}}
    both = dict(options["augment"], extra=["HorizontalFlip", {"VerticalFlip": {"p": 0.5}}])
    ours, theirs = (
        task_spec("seg").train_transform(options, {}),
        task_spec("seg").train_transform({"augment": both}, {}),
    )
    outcomes = []
    for seed in range(400):
        first = ours(seed, image=image)["image"]
        second = theirs(seed, image=image)["image"]
        changes = [first, first[:, ::-1], first[::-1], first[::-1, ::-1]]
        (kind,) = (index for index, change in enumerate(changes) if np.array_equal(second, change))
        outcomes.append((not np.array_equal(first, image), kind % 2, kind // 2))
    for i, j in ((0, 1), (0, 2), (1, 2)):
        assert abs(np.corrcoef([outcome[i] for outcome in outcomes], [outcome[j] for outcome in outcomes])[0, 1]) < 0.16


EXTRAS = [
    {"OneOf": {"transforms": ["GaussNoise", {"RandomRain": {"p": 0.9}}, "ElasticTransform"], "p": 0.8}},
    {"Affine": {"rotate": [-20, 20], "p": 0.7}},
    {"CoarseDropout": {"fill": "random", "p": 0.6}},
    {"SomeOf": {"transforms": ["Blur", "HorizontalFlip", "ISONoise"], "n": 2, "p": 0.9}},
]


def transform_of(task: str, extras: list[Any]) -> Any:
    make, augment = {
        "seg": (task_spec("seg").train_transform, {"crop_size": [32, 48]}),
        "cls": (task_spec("cls").train_transform, {"size": 32}),
        "det": (task_spec("det").train_transform, {"size": [32, 48], "mosaic": 0.3, "multi_scale": None}),
        "pose": (task_spec("pose").train_transform, {"size": [48, 32]}),
    }[task]
    return make({"augment": {**augment, "extra": extras}}, {})


def arrays_of(task: str, index: int) -> dict[str, Any]:
    rng = np.random.default_rng(index)
    image = rng.integers(0, 256, (60, 80, 3), dtype=np.uint8)
    if task == "seg":
        return {"image": image, "mask": rng.integers(0, 5, (60, 80), dtype=np.uint8)}
    if task == "det":
        corners = rng.uniform(0, 30, (3, 2))
        boxes = np.hstack([corners, corners + rng.uniform(5, 30, (3, 2))]).astype(np.float32)
        return {"image": image, "boxes": boxes, "labels": rng.integers(0, 9, 3)}
    if task == "pose":
        points = rng.uniform(5, 55, (5, 2)).astype(np.float32)
        arrays = {"image": image, "box": np.array([5, 5, 70, 55], np.float32), "keypoints": points, "area": 900.0}
        return {**arrays, "visible": VISIBLE, "swap": SWAP, "lower": np.array([False, False, False, True, True])}
    return {"image": image}


class Samples(Dataset[dict[str, Any]]):
    """Twelve samples with the seeds of their keys, as in the data sets."""

    def __init__(self, task: str) -> None:
        self.task, self.transform = task, transform_of(task, EXTRAS)

    def __len__(self) -> int:
        return 12

    def __getitem__(self, index: int) -> dict[str, Any]:
        more = {"read": lambda other: arrays_of("det", other), "count": 12} if self.task == "det" else {}
        return self.transform(2**61 + 7 * index, **arrays_of(self.task, index), **more)


def same(first: dict[str, Any], second: dict[str, Any]) -> bool:
    return first.keys() == second.keys() and all(np.array_equal(first[key], second[key]) for key in first)


@pytest.mark.parametrize("task", ["seg", "cls", "det", "pose"])
def test_results_depend_on_the_seed_alone(task: str) -> None:
    """In any order, with any number of workers, in a copy, and after a resume in the middle."""
    samples = Samples(task)
    expected = [samples[index] for index in range(12)]
    global_state = random.getstate(), np.random.get_state()[1].tolist()
    for index in (7, 3, 11, 7):
        assert same(samples[index], expected[index])
    assert (random.getstate(), np.random.get_state()[1].tolist()) == global_state
    np.random.seed(5)
    random.seed(5)
    later = Samples(task)
    assert all(same(later[index], expected[index]) for index in range(6, 12))
    copy = pickle.loads(pickle.dumps(samples.transform))
    samples.transform = copy
    assert same(samples[4], expected[4])
    for workers in (0, 2):
        loader = DataLoader(Samples(task), batch_size=None, num_workers=workers, collate_fn=lambda sample: sample)
        for index, sample in enumerate(loader):
            assert same({key: np.asarray(value) for key, value in sample.items()}, expected[index]), (workers, index)
    assert not any(np.array_equal(a["image"], b["image"]) for a, b in pairwise(expected))


def test_seeds_differ(image: np.ndarray) -> None:
    noise = extra(None, {"GaussNoise": {"p": 1}}, {"RandomRain": {"p": 1}})
    results = [noise(seed, image=image)["image"].tobytes() for seed in range(20)]
    assert len(set(results)) == 20


# -- phases ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("task", ["seg", "cls", "det", "pose"])
def test_phases_of_other_sizes(task: str) -> None:
    make = task_spec(task).train_transform
    augment = {"crop_size": [64, 128]} if task == "seg" else {"size": 64 if task == "cls" else [64, 64]}
    more = {"multi_scale": None} if task == "det" else {}
    options = {"augment": {**augment, **more, "extra": ["HorizontalFlip", {"Affine": {"rotate": [-9, 9], "p": 1}}]}}
    transform = PhaseTransform(lambda phase: make(options, {"image_size": (32, 48, 64)[phase]}))
    shapes = [transform.at(phase)(1, **arrays_of(task, 0))["image"].shape for phase in range(3)]
    assert shapes == [(side, side * (2 if task == "seg" else 1), 3) for side in (32, 48, 64)]


def test_a_size_for_a_single_phase_is_refused() -> None:
    options = {"augment": {"size": 64, "extra": [{"RandomResizedCrop": {"size": [64, 64]}}]}}
    assert task_spec("cls").train_transform(options, {"image_size": 64})(0, **arrays_of("cls", 0))["image"].shape == (
        64,
        64,
        3,
    )
    with pytest.raises(LightsegError, match=r"RandomResizedCrop: training images of 32x32 .* become 64x64"):
        task_spec("cls").train_transform(options, {"image_size": 32})
