"""Compound scaling as numbers: EfficientNet (arXiv:1905.11946), section 3.3.

One number phi says how much more than B0 a net may cost: depth alpha^phi, width beta^phi and image size gamma^phi,
under alpha * beta^2 * gamma^2 near 2, so that multiply-adds grow by about 2^phi. The net of a width and a depth has a
name, `efficientnet_w1.1_d1.2`; `lightseg.backbones.scaled` builds it. No torch here, so that names can be checked
before it is loaded.
"""

import re
from decimal import Decimal
from typing import NamedTuple

from lightseg.errors import LightsegError

BASE_SIZE = 224  # pixels: B0's pictures
MOST_SCALE = 8.0  # B7 has width 2.0 and depth 3.1; the largest that was published (L2) 4.3 and 5.3
MOST_PHI = 11  # 1.2 ** 11 is a depth of 7.4; B7 is about phi = 6
NAME = re.compile(r"efficientnet_w([0-9]+(?:\.[0-9]+)?)_d([0-9]+(?:\.[0-9]+)?)")


class Coefficients(NamedTuple):
    """What phi = 1 multiplies depth, width and image size by."""

    alpha: float
    beta: float
    gamma: float


PAPER = Coefficients(1.2, 1.1, 1.15)


class Scales(NamedTuple):
    """A net and its pictures relative to B0: multipliers of channels and of blocks, and a size in pixels."""

    width: float
    depth: float
    image_size: int


def compound(phi: float, coefficients: Coefficients = PAPER) -> Scales:
    """The compound scaling `phi`; 0 is B0. Multipliers are rounded to 4 digits, sizes to a multiple of 8.

    Raises:
        LightsegError: a phi whose net nobody could run.
    """
    if not abs(phi) <= MOST_PHI:
        raise LightsegError(f"phi={phi:g}: from -{MOST_PHI} to {MOST_PHI} (0 is B0, about 6 is B7)")
    alpha, beta, gamma = coefficients
    return Scales(round(beta**phi, 4), round(alpha**phi, 4), 8 * round(BASE_SIZE * gamma**phi / 8))


def scaled_name(width: float, depth: float) -> str:
    """The name of a net, its numbers in as few digits as tell them from others: `efficientnet_w1.0_d1.1`."""
    width_text, depth_text = (format(Decimal(repr(float(scale))), "f") for scale in (width, depth))
    return f"efficientnet_w{width_text}_d{depth_text}"


def is_scaled(name: str) -> bool:
    """Whether `name` is meant as an EfficientNet of a width and a depth."""
    return NAME.fullmatch(name) is not None


def scales(name: str) -> tuple[float, float]:
    """Width and depth of a name that `is_scaled`.

    Raises:
        LightsegError: they make no net.
    """
    if fault := scale_fault(name):
        raise LightsegError(fault)
    return _numbers(name)


def scale_fault(name: str) -> str:
    """The one line for a width or depth that makes no net, empty for those that do."""
    for what, scale in zip(("width", "depth"), _numbers(name), strict=True):
        if not 0 < scale <= MOST_SCALE:
            return f"backbone {name}: the {what} must be above 0 and at most {MOST_SCALE:g}, not {scale:g}"
    return ""


def _numbers(name: str) -> tuple[float, float]:
    found = NAME.fullmatch(name)
    assert found is not None, name
    return float(found[1]), float(found[2])
