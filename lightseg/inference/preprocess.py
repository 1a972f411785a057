"""A picture as the network wants it, and the way back: what evaluation in training does, without labels.

seg: the picture at its own size, or at a chosen one. det: the trained size, stretched or fitted in, boxes mapped back.
cls: the shorter side resized, the middle cut out. pose: a person's box, widened and cut
out. Everything that comes back is in pixels of the picture as displayed.
"""

from collections.abc import Sequence
from typing import Any, Protocol

import cv2
import numpy as np

from lightseg.data.transforms.classification import eval_transform as centre_crop
from lightseg.data.transforms.detection import EvalTransform as FitBoxes
from lightseg.data.transforms.detection import eval_transform as fit_boxes
from lightseg.data.transforms.detection import to_original
from lightseg.data.transforms.pose import crop_matrix, middle_and_sides, window_width
from lightseg.data.transforms.pose import eval_transform as crop_person
from lightseg.errors import LightsegError, nearest

Size = tuple[int, int]  # height, width
BATCH_PIXELS, BATCH_MOST = 1 << 22, 16  # of a batch whose size was not given: two pictures of 1024x2048
MOST_PIXELS = 50_000_000  # of a picture segmented at its own size: some 15 GB of feature maps
NARROWEST = 16  # sides' ratio beyond which the ends of a picture, which the crop drops anyway, are cut off first


class Preparation(Protocol):
    def __call__(self, image: np.ndarray) -> np.ndarray:
        """uint8 [H, W, 3] -> uint8 [h, w, 3]. LightsegError for a picture that cannot be prepared."""
        ...

    def restore(self, prediction: Any, size: Size) -> Any:
        """The answer in pixels of the picture of `size`."""
        ...


class WholePicture:
    """seg. size: of the network's input, None: the picture's own. The runner answers at the picture's size."""

    def __init__(self, size: Size | None) -> None:
        self.resize = None if size is None else fit_boxes(size)

    def __call__(self, image: np.ndarray) -> np.ndarray:
        if self.resize is not None:
            return _fit(self.resize, image)
        if image.shape[0] * image.shape[1] > MOST_PIXELS:
            raise LightsegError(f"{image.shape[1]}x{image.shape[0]} pixels are too many at their own size: give --size")
        return image

    def restore(self, prediction: np.ndarray, size: Size) -> np.ndarray:
        return prediction


class FixedSize:
    """det. size: of the network's input; keep_aspect: fitted in instead of stretched."""

    def __init__(self, size: Sequence[int], keep_aspect: bool) -> None:
        self.fit = fit_boxes(size, keep_aspect)

    def __call__(self, image: np.ndarray) -> np.ndarray:
        return _fit(self.fit, image)

    def restore(self, prediction: dict[str, np.ndarray], size: Size) -> dict[str, np.ndarray]:
        boxes = to_original(prediction["boxes"], size, self.fit.size, self.fit.keep_aspect)
        return {**prediction, "boxes": boxes}


class CentreCrop:
    """cls: `lightseg.data.transforms.classification.eval_transform`."""

    def __init__(self, size: int, crop_pct: float, interpolation: str) -> None:
        self.crop = centre_crop(size, crop_pct, interpolation)

    def __call__(self, image: np.ndarray) -> np.ndarray:
        longest = NARROWEST * min(image.shape[:2])
        top, left = (max(0, (side - longest) // 2) for side in image.shape[:2])
        return self.crop(0, image=image[top : top + longest, left : left + longest])["image"]

    def restore(self, prediction: np.ndarray, size: Size) -> np.ndarray:
        return prediction


class CropPerson:
    """pose: `lightseg.data.transforms.pose.eval_transform`. As a preparation it takes the whole picture for one
    person's box. size: (height, width) of the crops."""

    def __init__(self, size: Sequence[int]) -> None:
        self.crop = crop_person(size)
        self.size = self.crop.size

    def cut(self, image: np.ndarray, box: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """box [4] xyxy -> the crop uint8 [h, w, 3] and float32 [2, 3], its pixel indices to those of the picture."""
        points, visible = np.zeros((0, 2), np.float32), np.zeros(0, np.int64)
        cut = self.crop(0, image=image, box=np.asarray(box), keypoints=points, visible=visible, area=0.0)
        return cut["image"], cut["matrix"]

    def __call__(self, image: np.ndarray) -> np.ndarray:
        return self.cut(image, self._whole(image.shape[:2]))[0]

    def restore(self, prediction: dict[str, np.ndarray], size: Size) -> dict[str, np.ndarray]:
        """One person's keypoints [K, 2] and scores [K] -> those of all persons, who are one."""
        box = self._whole(size)
        middle, sides = middle_and_sides(box)
        matrix = cv2.invertAffineTransform(crop_matrix(middle, window_width(sides, self.size), self.size))
        keypoints = prediction["keypoints"] @ matrix[:, :2].T + matrix[:, 2]
        one = {"boxes": box, "box_scores": np.float32(1), "keypoints": keypoints, "scores": prediction["scores"]}
        return {key: np.asarray(value)[None] for key, value in one.items()}

    @staticmethod
    def _whole(size: Size) -> np.ndarray:
        return np.array([0, 0, size[1], size[0]], np.float32)


def together(size: Size) -> int:
    """How many network inputs of (height, width) go at a time."""
    return min(BATCH_MOST, max(1, BATCH_PIXELS // (size[0] * size[1])))


def preparation(task: str, evaluation: dict[str, Any], size: Sequence[int] | None, fixed: Size | None) -> Preparation:
    """How pictures of a task are prepared.

    Args:
        evaluation: see `lightseg.run_config.evaluation_options`.
        size: (height, width), or one side, that the user wants instead.
        fixed: the only (height, width) that the network takes.

    Raises:
        LightsegError: a size that cannot be, or is another than the fixed one; settings that cannot be.
    """
    if size is not None and (not 1 <= len(size) <= 2 or min(size) < 1):
        raise LightsegError(f"size is {list(size)}: give height and width in pixels, or one side of a square")
    wanted = None if size is None else (int(size[0]), int(size[-1]))
    if fixed is not None and wanted not in (None, fixed):
        raise LightsegError(
            f"the file takes pictures of {fixed[0]}x{fixed[1]} (height x width) alone: leave --size out"
        )
    wanted = wanted or fixed
    try:
        if task == "seg":
            return WholePicture(wanted)
        if task == "det":
            return FixedSize(wanted or evaluation["size"], bool(evaluation["keep_aspect"]))
        if task == "cls":
            if wanted is not None and wanted[0] != wanted[1]:
                raise LightsegError(f"a classifier looks at a square: give one side, not {wanted[0]}x{wanted[1]}")
            side = evaluation["size"] if wanted is None else wanted[0]
            return CentreCrop(side, evaluation["crop_pct"], evaluation["interpolation"])
        if task == "pose":
            return CropPerson(wanted or evaluation["size"])
    except (KeyError, TypeError) as error:
        raise LightsegError(f"the evaluation's size cannot be told from {evaluation}: give --size") from error
    raise LightsegError(f"no predictions of task={task} yet: {nearest(task, ['seg', 'det', 'cls', 'pose'])}")


def _fit(transform: FitBoxes, image: np.ndarray) -> np.ndarray:
    return transform(0, image=image, boxes=np.zeros((0, 4), np.float32), labels=np.zeros(0, np.int64))["image"]
