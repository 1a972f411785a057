"""Crops of single people for top-down pose: an affine map from the image to the network's input.

    transform(seed, image=[H, W, C], box=float32 [4] xyxy, keypoints=[K, 2], visible=int64 [K], area=float,
              swap=int64 [K], lower=bool [K])

returns image [height, width, C], keypoints float32 [K, 2], visible int64 [K], area and matrix float32 [2, 3],
random by that seed alone. `swap` and `lower` are the skeleton's.

Keypoints are pixel indices: 0 is the center of the first pixel, and the mirror image of x is width - 1 - x. Boxes have
edges: a box of the first pixel reaches from 0 to 1, and its center has the index 0. The map is

    crop = s R (point - center of the box) + ((width - 1) / 2, (height - 1) / 2)

with s = width / window, where the window is the box enlarged to the input's aspect ratio and by 1.25. It is exact for
indices (UDP: Huang et al., arXiv:1911.07524, section 3.1). Augmentations and their values are those of SimpleBaseline
and HRNet (Sun et al., arXiv:1902.09212, section 4.1) as mmpose samples them: from normal distributions truncated at a
standard deviation.
"""

import math
import random
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np

from lightseg.data.io.pixels import MEAN_COLOR, PixelFormat, resized, warped_affine
from lightseg.data.transforms.checks import Size, check_probabilities, check_strength, checked_size, optional_range
from lightseg.data.transforms.color import photometric_matrix
from lightseg.errors import LightsegError

PADDING = 1.25  # the window's side as a multiple of the box's
HALF_BODY_PADDING = 1.5  # around the points of half a body
HALF_BODY_POINTS = 3  # a half with fewer labeled points is not chosen
MIN_SIDE = 1.0  # px of a box


class TrainTransform:
    """See `train_transform`, which checks the values."""

    def __init__(
        self,
        size: Size,
        hflip: float,
        scale: tuple[float, float],
        scale_prob: float,
        rotation: float,
        rotation_prob: float,
        shift: float,
        shift_prob: float,
        half_body: float,
        photometric: float,
        pixels: PixelFormat,
    ) -> None:
        self.size, self.hflip, self.half_body, self.photometric = size, hflip, half_body, photometric
        self.scale, self.scale_prob = scale, scale_prob
        self.rotation, self.rotation_prob = rotation, rotation_prob
        self.shift, self.shift_prob = shift, shift_prob
        self.low, self.fill = pixels.value_range[0], pixels.fill

    def __call__(
        self,
        seed: int,
        *,
        image: np.ndarray,
        box: np.ndarray,
        keypoints: np.ndarray,
        visible: np.ndarray,
        area: float,
        swap: np.ndarray,
        lower: np.ndarray,
    ) -> dict[str, Any]:
        rng = random.Random(seed)
        center, sides = center_and_sides(box)
        if rng.random() < self.half_body:
            center, sides = half_body(rng, keypoints, visible > 0, lower) or (center, sides)
        if rng.random() < self.shift_prob:
            center = center + self.shift * sides * (bounded(rng), bounded(rng))
        window = window_width(sides, self.size)
        if rng.random() < self.scale_prob:
            low, high = self.scale
            window *= (low + high) / 2 + (high - low) / 2 * bounded(rng)
        angle = 0.0
        if rng.random() < self.rotation_prob:
            angle = math.radians(self.rotation * bounded(rng))
        mirrored = rng.random() < self.hflip
        matrix = crop_matrix(center, window, self.size, angle, mirrored)
        if mirrored:
            keypoints, visible = keypoints[swap], visible[swap]
        result = cropped(image, matrix, self.size, keypoints, visible, area, self.fill)
        if self.photometric:
            colors = photometric_matrix(rng, self.photometric, result["image"], self.low)
            result["image"] = cv2.transform(result["image"], colors)
        return result


def train_transform(
    size: Sequence[int],
    *,
    hflip: float = 0.5,
    scale: Sequence[float] = (0.5, 1.5),
    scale_prob: float = 1.0,
    rotation: float = 80.0,
    rotation_prob: float = 0.6,
    shift: float = 0.16,
    shift_prob: float = 0.3,
    half_body: float = 0.3,
    photometric: float = 0.0,
    pixels: PixelFormat | None = None,
) -> TrainTransform:
    """The augmentation of people to the network's input of (height, width) `size`.

    hflip, half_body and *_prob: probabilities. Half body: the window is around the upper or lower half of a person with
        at least half of the keypoints labeled.
    scale: smallest and largest window, as a multiple of the default one. rotation: largest angle, in degrees.
    shift: largest shift, as a fraction of the padded box's sides.
    photometric: as in detection; contrast and saturation change by up to this fraction, brightness by a quarter of it,
        hue by a tenth of it of the color circle, each in every other image. 0 = off, as without 3 channels.
    pixels: of the images; None: uint8 RGB.

    Raises LightsegError for values out of range.
    """
    check_probabilities(
        hflip=hflip, scale_prob=scale_prob, rotation_prob=rotation_prob, shift_prob=shift_prob, half_body=half_body
    )
    for name, value, maximum in (("rotation", rotation, 180), ("shift", shift, 1)):
        if not 0 <= value <= maximum:
            raise LightsegError(f"{name} is {value}: it lies in 0..{maximum}")
    check_strength("photometric", photometric)
    scales = optional_range("scale", scale, 0.1) or (1.0, 1.0)
    pixels = pixels or PixelFormat()
    return TrainTransform(
        checked_size(size), hflip, scales, scale_prob, float(rotation), rotation_prob, float(shift), shift_prob,
        half_body, photometric if pixels.channels == 3 else 0.0, pixels,
    )  # fmt: skip


class EvalTransform:
    """The box, centered and upright."""

    def __init__(self, size: Size, fill: Sequence[float] = MEAN_COLOR) -> None:
        self.size, self.fill = size, fill

    def __call__(
        self,
        seed: int,
        *,
        image: np.ndarray,
        box: np.ndarray,
        keypoints: np.ndarray,
        visible: np.ndarray,
        area: float,
        **_: Any,
    ) -> dict[str, Any]:
        center, sides = center_and_sides(box)
        matrix = crop_matrix(center, window_width(sides, self.size), self.size)
        return cropped(image, matrix, self.size, keypoints, visible, area, self.fill)


def eval_transform(size: Sequence[int], *, fill: Sequence[float] = MEAN_COLOR) -> EvalTransform:
    """fill: the value of padding in each channel."""
    return EvalTransform(checked_size(size), fill)


def center_and_sides(box: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The center of a box xyxy as a pixel index [2], and its padded sides [2]."""
    corners = box.astype(np.float64)
    return (corners[:2] + corners[2:] - 1) / 2, np.maximum(corners[2:] - corners[:2], MIN_SIDE) * PADDING


def half_body(
    rng: random.Random, keypoints: np.ndarray, labeled: np.ndarray, lower: np.ndarray
) -> tuple[np.ndarray, np.ndarray] | None:
    """Center and padded sides around the labeled points of the upper or lower half; None if there are too few."""
    if 2 * labeled.sum() < len(labeled):
        return None
    halves = [half for half in (labeled & ~lower, labeled & lower) if half.sum() >= HALF_BODY_POINTS]
    if not halves or lower.all() or not lower.any():  # a single half would be the full body
        return None
    points = keypoints[rng.choice(halves)].astype(np.float64)
    sides = np.maximum(points.max(0) - points.min(0), MIN_SIDE)
    return points.mean(0), sides * HALF_BODY_PADDING


def window_width(sides: np.ndarray, size: Size) -> float:
    """The width of the smallest window of the input's aspect ratio around `sides` (width, height)."""
    return float(max(sides[0], sides[1] * size[1] / size[0]))


def crop_matrix(
    center: np.ndarray, window: float, size: Size, angle: float = 0.0, mirrored: bool = False
) -> np.ndarray:
    """float64 [2, 3], image to crop: a window `window` pixels wide around `center`, rotated by `angle` (rad)."""
    height, width = size
    cos, sin = width / window * math.cos(angle), width / window * math.sin(angle)
    turn = np.array([[cos, -sin], [sin, cos]])
    matrix = np.hstack([turn, (np.array([(width - 1) / 2, (height - 1) / 2]) - turn @ center)[:, None]])
    if mirrored:
        matrix[0] = -matrix[0]
        matrix[0, 2] += width - 1
    return matrix


def cropped(
    image: np.ndarray,
    matrix: np.ndarray,
    size: Size,
    keypoints: np.ndarray,
    visible: np.ndarray,
    area: float,
    fill: Sequence[float] = MEAN_COLOR,
) -> dict[str, Any]:
    """The arrays that a transform returns. Points outside the crop are at 0, 0 and not visible."""
    points = keypoints @ matrix[:, :2].T + matrix[:, 2]
    inside = ((points >= -0.5) & (points < np.array(size[::-1]) - 0.5)).all(1)
    visible = np.where(inside, visible, 0)
    return {
        "image": warped(image, matrix, size, fill),
        "keypoints": np.where((visible > 0)[:, None], points, 0).astype(np.float32),
        "visible": visible.astype(np.int64),
        "area": float(area * abs(np.linalg.det(matrix[:, :2]))),
        "matrix": cv2.invertAffineTransform(matrix).astype(np.float32),
    }


def warped(image: np.ndarray, matrix: np.ndarray, size: Size, fill: Sequence[float] = MEAN_COLOR) -> np.ndarray:
    """[height, width, C]: the image under `matrix` (to pixel indices of the result), padded with `fill`."""
    height, width = size
    steps = int(1 / math.sqrt(abs(np.linalg.det(matrix[:, :2]))))
    if steps >= 2:  # bilinear interpolation reads 2x2 neighbors and would skip pixels: averages of steps x steps first
        image, matrix = _shrunk(image, matrix, size, steps)
    return warped_affine(image, matrix, (width, height), fill)


def _shrunk(image: np.ndarray, matrix: np.ndarray, size: Size, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """The part of the image in the result, about `steps` times smaller, and the matrix from there."""
    height, width = size
    corners = np.array([[-1, -1], [width, -1], [width, height], [-1, height]], np.float64)
    back = cv2.invertAffineTransform(matrix)
    seen = corners @ back[:, :2].T + back[:, 2]
    limits = np.array(image.shape[1::-1])
    (left, top), (right, bottom) = (
        np.clip(edge, 0, limits).astype(int) for edge in (np.floor(seen.min(0)) - steps, np.ceil(seen.max(0)) + steps)
    )
    if right <= left or bottom <= top:  # no part of the image
        return image[:1, :1], np.hstack([matrix[:, :2], [[-2.0 * width], [-2.0 * height]]])
    small = (-(-(right - left) // steps), -(-(bottom - top) // steps))
    part = resized(image[top:bottom, left:right], small, cv2.INTER_AREA)
    # an index there is (index + 0.5) * ratio - 0.5 of the part
    ratio = np.array([(right - left) / part.shape[1], (bottom - top) / part.shape[0]])
    start = np.array([left, top]) + ratio / 2 - 0.5
    return part, np.hstack([matrix[:, :2] * ratio, (matrix[:, :2] @ start + matrix[:, 2])[:, None]])


def bounded(rng: random.Random) -> float:
    """A sample of the normal distribution, truncated at a standard deviation: -1..1."""
    while True:
        value = rng.gauss(0, 1)
        if abs(value) <= 1:
            return value
