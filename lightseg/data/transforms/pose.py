"""Crops of single people for top-down pose: one affine map from the picture to the network's input.

    transform(seed, image=uint8 [H, W, 3], box=float32 [4] xyxy, keypoints=[K, 2], visible=int64 [K], area=float,
              swap=int64 [K], lower=bool [K])

gives image uint8 [height, width, 3], keypoints float32 [K, 2], visible int64 [K], area and matrix float32 [2, 3] with
the randomness of that seed and no other. `swap` and `lower` are the skeleton's.

Points are pixel indices: 0 is the centre of the first pixel, so a mirrored one is at width - 1 - x. Boxes have edges:
one that covers the first pixel alone reaches from 0 to 1, and its middle is the index 0. The map is

    crop = s R (point - middle of the box) + ((width - 1) / 2, (height - 1) / 2)

and scales, at s = width / window, a window that is the box widened to the input's aspect ratio and by 1.25: exact for
indices, as Huang et al. ask for (UDP, arXiv:1911.07524, section 3.1). The random changes and their values are those of
SimpleBaseline and HRNet (Sun et al., arXiv:1902.09212, section 4.1) in mmpose's form: of normal distributions cut
off at one standard deviation.
"""

import math
import random
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np

from lightseg.data.transforms.color import MEAN_COLOUR, photometric_matrix
from lightseg.data.transforms.detection import Size, factors, whole_size
from lightseg.errors import LightsegError

PADDING = 1.25  # the window's side as a multiple of the box's
HALF_BODY_PADDING = 1.5  # around the points of half a body
HALF_BODY_POINTS = 3  # a half with fewer labelled points is not chosen
LEAST_SIDE = 1.0  # px of a box


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
    ) -> None:
        self.size, self.hflip, self.half_body, self.photometric = size, hflip, half_body, photometric
        self.scale, self.scale_prob = scale, scale_prob
        self.rotation, self.rotation_prob = rotation, rotation_prob
        self.shift, self.shift_prob = shift, shift_prob

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
        draw = random.Random(seed)
        middle, sides = middle_and_sides(box)
        if draw.random() < self.half_body:
            middle, sides = half_body(draw, keypoints, visible > 0, lower) or (middle, sides)
        if draw.random() < self.shift_prob:
            middle = middle + self.shift * sides * (bounded(draw), bounded(draw))
        window = window_width(sides, self.size)
        if draw.random() < self.scale_prob:
            low, high = self.scale
            window *= (low + high) / 2 + (high - low) / 2 * bounded(draw)
        angle = 0.0
        if draw.random() < self.rotation_prob:
            angle = math.radians(self.rotation * bounded(draw))
        mirrored = draw.random() < self.hflip
        matrix = crop_matrix(middle, window, self.size, angle, mirrored)
        if mirrored:
            keypoints, visible = keypoints[swap], visible[swap]
        result = cropped(image, matrix, self.size, keypoints, visible, area)
        if self.photometric:
            result["image"] = cv2.transform(
                result["image"], photometric_matrix(draw, self.photometric, result["image"])
            )
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
) -> TrainTransform:
    """What a person goes through to the network's input of (height, width) `size`.

    hflip, half_body and *_prob: probabilities. Half body: the window is put around the upper or the lower half of
        somebody of whom at least half of all points are labelled.
    scale: smallest and largest window, as a multiple of the plain one. rotation: up to so many degrees either way.
    shift: up to this share of the padded box's sides.
    photometric: as in detection; contrast and saturation change by up to this share, brightness by a quarter of it,
        hue by a tenth of it of the colour circle, each in every other picture. 0 = off.

    Raises LightsegError for values that cannot be.
    """
    probabilities = {
        "hflip": hflip, "scale_prob": scale_prob, "rotation_prob": rotation_prob, "shift_prob": shift_prob,
        "half_body": half_body,
    }  # fmt: skip
    for name, value in probabilities.items():
        if not 0 <= value <= 1:
            raise LightsegError(f"{name} is {value}: a probability lies in 0..1")
    for name, value, most in (("rotation", rotation, 180), ("shift", shift, 1)):
        if not 0 <= value <= most:
            raise LightsegError(f"{name} is {value}: it lies in 0..{most}")
    if not 0 <= photometric < 1:
        raise LightsegError(f"photometric is {photometric}: the strength lies in 0..1, 1 excluded")
    scales = factors("scale", scale, 0.1) or (1.0, 1.0)
    return TrainTransform(
        whole_size(size), hflip, scales, scale_prob, float(rotation), rotation_prob, float(shift), shift_prob,
        half_body, photometric,
    )  # fmt: skip


class EvalTransform:
    """The box, upright and in the middle."""

    def __init__(self, size: Size) -> None:
        self.size = size

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
        middle, sides = middle_and_sides(box)
        matrix = crop_matrix(middle, window_width(sides, self.size), self.size)
        return cropped(image, matrix, self.size, keypoints, visible, area)


def eval_transform(size: Sequence[int]) -> EvalTransform:
    return EvalTransform(whole_size(size))


def middle_and_sides(box: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of a box xyxy: its middle as a pixel index [2], and its padded sides [2]."""
    corners = box.astype(np.float64)
    return (corners[:2] + corners[2:] - 1) / 2, np.maximum(corners[2:] - corners[:2], LEAST_SIDE) * PADDING


def half_body(
    draw: random.Random, keypoints: np.ndarray, labelled: np.ndarray, lower: np.ndarray
) -> tuple[np.ndarray, np.ndarray] | None:
    """Middle and padded sides around the labelled points of the upper or lower half; None where there are too few."""
    if 2 * labelled.sum() < len(labelled):
        return None
    halves = [half for half in (labelled & ~lower, labelled & lower) if half.sum() >= HALF_BODY_POINTS]
    if not halves or lower.all() or not lower.any():  # without two halves, one would be all of the body
        return None
    points = keypoints[draw.choice(halves)].astype(np.float64)
    sides = np.maximum(points.max(0) - points.min(0), LEAST_SIDE)
    return points.mean(0), sides * HALF_BODY_PADDING


def window_width(sides: np.ndarray, size: Size) -> float:
    """The width of the smallest window of the input's aspect ratio around `sides` (width, height)."""
    return float(max(sides[0], sides[1] * size[1] / size[0]))


def crop_matrix(
    middle: np.ndarray, window: float, size: Size, angle: float = 0.0, mirrored: bool = False
) -> np.ndarray:
    """float64 [2, 3], picture to crop: a window so many pixels wide around `middle`, turned by `angle` (rad)."""
    height, width = size
    cos, sin = width / window * math.cos(angle), width / window * math.sin(angle)
    turn = np.array([[cos, -sin], [sin, cos]])
    matrix = np.hstack([turn, (np.array([(width - 1) / 2, (height - 1) / 2]) - turn @ middle)[:, None]])
    if mirrored:
        matrix[0] = -matrix[0]
        matrix[0, 2] += width - 1
    return matrix


def cropped(
    image: np.ndarray, matrix: np.ndarray, size: Size, keypoints: np.ndarray, visible: np.ndarray, area: float
) -> dict[str, Any]:
    """Everything a transform gives back. What leaves the crop is no longer visible; such points are at 0, 0."""
    points = keypoints @ matrix[:, :2].T + matrix[:, 2]
    inside = ((points >= -0.5) & (points < np.array(size[::-1]) - 0.5)).all(1)
    visible = np.where(inside, visible, 0)
    return {
        "image": warped(image, matrix, size),
        "keypoints": np.where((visible > 0)[:, None], points, 0).astype(np.float32),
        "visible": visible.astype(np.int64),
        "area": float(area * abs(np.linalg.det(matrix[:, :2]))),
        "matrix": cv2.invertAffineTransform(matrix).astype(np.float32),
    }


def warped(image: np.ndarray, matrix: np.ndarray, size: Size) -> np.ndarray:
    """uint8 [height, width, 3]: the picture under `matrix` (to pixel indices of the result), mean colour around it."""
    height, width = size
    steps = int(1 / math.sqrt(abs(np.linalg.det(matrix[:, :2]))))
    if steps >= 2:  # bilinear takes 2 x 2 neighbours and would skip pixels: averages of steps x steps first
        image, matrix = _shrunk(image, matrix, size, steps)
    return cv2.warpAffine(
        image, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=MEAN_COLOUR
    )


def _shrunk(image: np.ndarray, matrix: np.ndarray, size: Size, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """The part of the picture that the result shows, about `steps` times smaller, and the matrix from there."""
    height, width = size
    corners = np.array([[-1, -1], [width, -1], [width, height], [-1, height]], np.float64)
    back = cv2.invertAffineTransform(matrix)
    seen = corners @ back[:, :2].T + back[:, 2]
    limits = np.array(image.shape[1::-1])
    (left, top), (right, bottom) = (
        np.clip(edge, 0, limits).astype(int) for edge in (np.floor(seen.min(0)) - steps, np.ceil(seen.max(0)) + steps)
    )
    if right <= left or bottom <= top:  # no part of the picture
        return image[:1, :1], np.hstack([matrix[:, :2], [[-2.0 * width], [-2.0 * height]]])
    part = cv2.resize(
        image[top:bottom, left:right],
        (-(-(right - left) // steps), -(-(bottom - top) // steps)),
        interpolation=cv2.INTER_AREA,
    )
    # an index there is (index + 0.5) * ratio - 0.5 of the part
    ratio = np.array([(right - left) / part.shape[1], (bottom - top) / part.shape[0]])
    start = np.array([left, top]) + ratio / 2 - 0.5
    return part, np.hstack([matrix[:, :2] * ratio, (matrix[:, :2] @ start + matrix[:, 2])[:, None]])


def bounded(draw: random.Random) -> float:
    """Of the normal distribution, cut off at one standard deviation: -1..1."""
    while True:
        value = draw.gauss(0, 1)
        if abs(value) <= 1:
            return value
