"""albumentations' transforms after lightseg's: `data.augment.extra`, for all four tasks.

They run after lightseg's transform, on the uint8 image at the training size: it has the fewest pixels, mosaic and crop
are done, every image has its final shape, and pixels are in the range that albumentations expects, because the network
normalizes them. Mask, boxes and keypoints are transformed with the image:

    mask        nearest neighbor. New area is 255 (ignore), in the image the mean color, unless `fill_mask` and `fill`
                are set
    boxes       float32 xyxy, clipped. Dropped with their label: boxes of which less than a quarter is left, and boxes
                with a side under a pixel
    keypoints   tracked (`tracked_points`), not transformed by albumentations. Points outside the image are at 0, 0 and
                not visible. Where left and right are exchanged, so are their points

Everything random depends on the sample's seed: the steps share a Python and a NumPy generator that are seeded before
each sample, with another stream than lightseg's transforms. (albumentations' own seeding gives each step the same
stream.) So order, number of workers and resumes make no difference. Safe for processes, not for threads.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from lightseg.data.transforms.extra_steps import Entry, Target, build, chain, library, resizes, singles_of, try_out
from lightseg.data.transforms.phase_transform import Transform
from lightseg.data.transforms.tracked_points import position_grid, track
from lightseg.errors import LightsegError

MIN_SIDE = 1.0  # px of a box, as in `detection`
STREAM = 0x5DEECE66D1CE4E5B  # arbitrary: makes the random numbers differ from those of lightseg's transform

Sample = dict[str, Any]


def with_extra(train_transform: Callable[..., Transform], augment: Mapping[str, Any], target: Target) -> Transform:
    """lightseg's transform of `data.augment`, followed by the transforms of `extra`, if any.

    Raises LightsegError for a transform that cannot be built or that fails on samples of the training size.
    """
    options = dict(augment)
    entries = options.pop("extra", None)
    pixels = options.get("pixels")
    if entries and pixels is not None and (pixels.channels != 3 or pixels.dtype != "uint8"):
        raise LightsegError(
            f"data.augment.extra is for 3 channels of 8 bit, not for {pixels.channels} of {pixels.dtype}: leave it out"
        )
    transform = train_transform(**options)
    return Extra(transform, entries, training_size(options), target) if entries else transform


def training_size(augment: Mapping[str, Any]) -> tuple[int, int]:
    """(height, width) of the images that `data.augment` makes. Raises LightsegError for an invalid size."""
    key = "crop_size" if "crop_size" in augment else "size"
    size = augment[key]
    sides = [size, size] if isinstance(size, int) else list(size)
    if len(sides) != 2 or any(int(side) != side or side < 1 for side in sides):
        raise LightsegError(f"data.augment.{key} is {size}: give whole numbers of pixels")
    return int(sides[0]), int(sides[1])


class Extra:
    """`transform`, then the transforms of `entries` on its results of `size` (height, width). See the module."""

    def __init__(
        self, transform: Transform, entries: Sequence[Entry], size: tuple[int, int], target: Target = None
    ) -> None:
        self.transform, self.size, self.target = transform, size, target
        steps = [build(entry, target) for entry in entries]
        singles = singles_of(steps)
        for single in singles:
            try_out(single, size, target)
        self.moves = not all(isinstance(single, library().ImageOnlyTransform) for single in singles)
        self.compose = chain(steps, target)
        self._python = random.Random()
        self._numpy = np.random.Generator(np.random.Philox(0))
        self._state = np.random.Philox(0).state

    def __call__(self, seed: int, **arrays: Any) -> Sample:
        sample = self.transform(seed, **arrays)
        self._python.seed(seed ^ STREAM)
        self._state["state"]["key"][0] = seed ^ STREAM
        self._numpy.bit_generator.state = self._state
        self.compose.set_random_state(self._numpy, self._python)
        if not self.moves or self.target is None or (self.target == "mask" and "mask" not in sample):
            sample = {**sample, "image": self.compose(image=sample["image"])["image"]}
        elif self.target == "mask":
            sample = self._with_mask(sample)
        elif self.target == "bboxes":
            sample = self._with_boxes(sample)
        else:
            sample = self._with_keypoints(sample, arrays["swap"])
        if sample["image"].shape[:2] != self.size:
            raise LightsegError(f"data.augment.extra: {resizes(sample['image'].shape[:2], self.size)}")
        return sample

    def _with_mask(self, sample: Sample) -> Sample:
        result = self.compose(image=sample["image"], mask=sample["mask"] + np.uint8(1))  # 255 (ignore) wraps to 0
        return {"image": result["image"], "mask": result["mask"] - np.uint8(1)}

    def _with_boxes(self, sample: Sample) -> Sample:
        numbers = np.arange(len(sample["boxes"]))  # tell which boxes are left where some are dropped
        boxes = np.column_stack([sample["boxes"], sample["labels"], numbers]).astype(np.float32)
        result = self.compose(image=sample["image"], bboxes=boxes)
        moved = np.asarray(result["bboxes"], np.float32).reshape(-1, 6)  # without boxes it may have 4 columns
        moved = moved[(moved[:, 2:4] - moved[:, :2] >= MIN_SIDE).all(1)]
        labels = sample["labels"][moved[:, 5].astype(int)]
        return {"image": result["image"], "boxes": moved[:, :4].copy(), "labels": labels}

    def _with_keypoints(self, sample: Sample, swap: np.ndarray) -> Sample:
        grid = position_grid(sample["image"].shape[:2])
        result = self.compose(image=sample["image"], position=grid.copy())
        sample = {**sample, "image": result["image"]}
        if np.array_equal(result["position"], grid):
            return sample
        seen = np.flatnonzero(sample["visible"] > 0)
        tracked = track(result["position"], sample["keypoints"][seen])
        inside = ((tracked.points >= -0.5) & (tracked.points < np.array(self.size[::-1]) - 0.5)).all(1)
        kept = inside & tracked.shown
        keypoints, visible = np.zeros_like(sample["keypoints"]), np.zeros_like(sample["visible"])
        keypoints[seen[kept]], visible[seen[kept]] = tracked.points[kept], sample["visible"][seen[kept]]
        if tracked.mirrored:
            keypoints, visible = keypoints[swap], visible[swap]
        back, matrix = tracked.affine, sample["matrix"].astype(np.float64)
        matrix = np.hstack([matrix[:, :2] @ back[:, :2], (matrix[:, :2] @ back[:, 2] + matrix[:, 2])[:, None]])
        return {
            **sample,
            "keypoints": keypoints,
            "visible": visible,
            "area": float(sample["area"] / abs(np.linalg.det(back[:, :2]))),
            "matrix": matrix.astype(np.float32),
        }
