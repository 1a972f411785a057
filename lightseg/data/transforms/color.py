"""Colour jitter as one 3x4 matrix, which OpenCV applies to bytes in a tenth of a millisecond.

As in the usual jitter, brightness scales the picture, contrast its distance from its mean grey, saturation the distance
of each pixel from its own grey. Here values are clipped once, at the end, and the order is always the same.
"""

import math
import random

import numpy as np

MEAN_COLOUR = (124, 116, 104)  # ImageNet's mean: padding of this colour is about 0 after any backbone's normalisation
_GREY = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601 luma, as in every colour jitter


def random_colour_matrix(draw: random.Random, strength: float, image: np.ndarray) -> np.ndarray:
    """float32 [3, 4] for `cv2.transform`: each factor is drawn from 1 - strength to 1 + strength."""
    brightness, contrast, saturation = (draw.uniform(1 - strength, 1 + strength) for _ in range(3))
    mean_grey = float(image[::8, ::8].reshape(-1, 3).mean(0) @ _GREY)  # every 64th pixel is plenty for a mean
    return colour_matrix(brightness, contrast, saturation, mean_grey)


def colour_matrix(brightness: float, contrast: float, saturation: float, mean_grey: float) -> np.ndarray:
    """float32 [3, 4]: RGB and 1 to the jittered RGB."""
    mix = saturation * np.eye(3) + (1 - saturation) * _GREY  # every row of the second term is the pixel's grey
    shift = (1 - contrast) * brightness * mean_grey
    return np.hstack([brightness * contrast * mix, np.full((3, 1), shift)]).astype(np.float32)


def photometric_matrix(draw: random.Random, strength: float, image: np.ndarray) -> np.ndarray:
    """float32 [3, 4] for `cv2.transform`: brightness, contrast, saturation and hue in one, each with probability .5."""
    reaches = (strength / 4, strength, strength)
    factors = (draw.uniform(1 - reach, 1 + reach) if draw.random() < 0.5 else 1.0 for reach in reaches)
    brightness, contrast, saturation = factors
    turn = draw.uniform(-strength / 10, strength / 10) if draw.random() < 0.5 else 0.0
    mean_grey = float(image[::8, ::8].reshape(-1, 3).mean(0) @ _GREY)
    matrix = colour_matrix(brightness, contrast, saturation, mean_grey)
    matrix[:, :3] = matrix[:, :3] @ hue_matrix(2 * math.pi * turn)
    return matrix


def hue_matrix(angle: float) -> np.ndarray:
    """float32 [3, 3]: chroma turned by `angle` (rad) in YIQ, where brightness and greys stay what they are.

    That is not HSV's hue, which bends with the colour and is no matrix; for the small angles here they are close.
    """
    to_yiq = np.array([[0.299, 0.587, 0.114], [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]])
    to_yiq[1:] -= to_yiq[1:].mean(1, keepdims=True)  # rounded published values: greys have exactly no chroma
    cos, sin = math.cos(angle), math.sin(angle)
    turn = np.array([[1, 0, 0], [0, cos, -sin], [0, sin, cos]])
    return (np.linalg.inv(to_yiq) @ turn @ to_yiq).astype(np.float32)
