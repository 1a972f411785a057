"""Compound scaling as numbers: EfficientNet (arXiv:1905.11946), section 3.3.

The number phi scales B0: depth by alpha^phi, width by beta^phi and image size by gamma^phi. alpha * beta^2 * gamma^2 is
near 2, so multiply-adds grow by about 2^phi. A net of a width and a depth has a name like `efficientnet_w1.1_d1.2`, and
`lightseg.backbones.scaled` builds it. Nothing here imports torch, so that names can be checked before it is loaded.
"""

import re
from decimal import Decimal
from typing import NamedTuple

from lightseg.errors import LightsegError

BASE_SIZE = 224  # pixels, the image size of B0
MAX_SCALE = 8.0  # B7 has width 2.0 and depth 3.1; the largest published net (L2) has 4.3 and 5.3
MAX_PHI = 11  # 1.2 ** 11 is a depth of 7.4; B7 is about phi = 6
NAME = re.compile(r"efficientnet_w([0-9]+(?:\.[0-9]+)?)_d([0-9]+(?:\.[0-9]+)?)")


class Coefficients(NamedTuple):
    """Factors of depth (alpha), width (beta) and image size (gamma) at phi = 1."""

    alpha: float
    beta: float
    gamma: float


PAPER = Coefficients(1.2, 1.1, 1.15)


class Scales(NamedTuple):
    """A net relative to B0: multipliers of channels (width) and of blocks (depth), and its image size in pixels."""

    width: float
    depth: float
    image_size: int


def compound(phi: float, coefficients: Coefficients = PAPER) -> Scales:
    """The scales of `phi`; 0 is B0. Multipliers are rounded to 4 digits, image sizes to a multiple of 8.

    Raises:
        LightsegError: |phi| is above MAX_PHI.
    """
    if not abs(phi) <= MAX_PHI:
        raise LightsegError(f"phi={phi:g}: from -{MAX_PHI} to {MAX_PHI} (0 is B0, about 6 is B7)")
    alpha, beta, gamma = coefficients
    return Scales(round(beta**phi, 4), round(alpha**phi, 4), 8 * round(BASE_SIZE * gamma**phi / 8))


def scaled_name(width: float, depth: float) -> str:
    """The name of a net, with the shortest digits that identify its numbers: `efficientnet_w1.0_d1.1`."""
    width_text, depth_text = (format(Decimal(repr(float(scale))), "f") for scale in (width, depth))
    return f"efficientnet_w{width_text}_d{depth_text}"


def is_scaled(name: str) -> bool:
    """Whether `name` has the form of an EfficientNet of a width and a depth."""
    return NAME.fullmatch(name) is not None


def scales(name: str) -> tuple[float, float]:
    """Width and depth of a name that `is_scaled`.

    Raises:
        LightsegError: a value outside the limits.
    """
    if fault := scale_fault(name):
        raise LightsegError(fault)
    return _numbers(name)


def scale_fault(name: str) -> str:
    """The error message for a width or depth outside the limits; empty if both are valid."""
    for dimension, scale in zip(("width", "depth"), _numbers(name), strict=True):
        if not 0 < scale <= MAX_SCALE:
            return f"backbone {name}: the {dimension} must be above 0 and at most {MAX_SCALE:g}, not {scale:g}"
    return ""


def _numbers(name: str) -> tuple[float, float]:
    match = NAME.fullmatch(name)
    assert match is not None, name
    return float(match[1]), float(match[2])
