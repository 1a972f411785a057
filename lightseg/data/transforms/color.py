"""Color jitter as a 3x4 matrix, which OpenCV applies to bytes in a tenth of a millisecond.

As in the usual color jitter, brightness scales the image, contrast its distance from its mean gray, saturation the
distance of each pixel from its own gray. Here values are clipped once, at the end, and the order is always the same.
"""

import math
import random

import numpy as np

_GRAY = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601 luma, as in every color jitter


def random_color_matrix(rng: random.Random, strength: float, image: np.ndarray, low: float = 0.0) -> np.ndarray:
    """float32 [3, 4] for `cv2.transform`: each factor is sampled from 1 - strength to 1 + strength. low: the value of
    black."""
    brightness, contrast, saturation = (rng.uniform(1 - strength, 1 + strength) for _ in range(3))
    return _from(low, color_matrix(brightness, contrast, saturation, _mean_gray(image) - low))


def color_matrix(brightness: float, contrast: float, saturation: float, mean_gray: float) -> np.ndarray:
    """float32 [3, 4]: RGB and 1 to the jittered RGB."""
    mix = saturation * np.eye(3) + (1 - saturation) * _GRAY  # every row of the second term is the pixel's gray
    shift = (1 - contrast) * brightness * mean_gray
    return np.hstack([brightness * contrast * mix, np.full((3, 1), shift)]).astype(np.float32)


def photometric_matrix(rng: random.Random, strength: float, image: np.ndarray, low: float = 0.0) -> np.ndarray:
    """float32 [3, 4] for `cv2.transform`: brightness, contrast, saturation and hue, each with probability 0.5. low: the
    value of black."""
    reaches = (strength / 4, strength, strength)
    factors = (rng.uniform(1 - reach, 1 + reach) if rng.random() < 0.5 else 1.0 for reach in reaches)
    brightness, contrast, saturation = factors
    turn = rng.uniform(-strength / 10, strength / 10) if rng.random() < 0.5 else 0.0
    matrix = color_matrix(brightness, contrast, saturation, _mean_gray(image) - low)
    matrix[:, :3] = matrix[:, :3] @ hue_matrix(2 * math.pi * turn)
    return _from(low, matrix)


def _from(low: float, matrix: np.ndarray) -> np.ndarray:
    """A matrix for colors above 0 as one for colors above `low`."""
    if low:
        matrix[:, 3] += low - low * matrix[:, :3].sum(1)
    return matrix


def hue_matrix(angle: float) -> np.ndarray:
    """float32 [3, 3]: chroma turned by `angle` (rad) in YIQ. Brightness and grays do not change.

    HSV's hue is no linear map; for the small angles here the two are close.
    """
    to_yiq = np.array([[0.299, 0.587, 0.114], [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]])
    to_yiq[1:] -= to_yiq[1:].mean(1, keepdims=True)  # rounded published values: grays have exactly no chroma
    cos, sin = math.cos(angle), math.sin(angle)
    turn = np.array([[1, 0, 0], [0, cos, -sin], [0, sin, cos]])
    return (np.linalg.inv(to_yiq) @ turn @ to_yiq).astype(np.float32)


def _mean_gray(image: np.ndarray) -> float:
    return float(image[::8, ::8].reshape(-1, 3).mean(0) @ _GRAY)  # every 64th pixel is enough for a mean
