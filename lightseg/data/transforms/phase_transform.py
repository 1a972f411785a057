"""A transform that changes with the phase of training: the image size and the magnitude of the augmentation.

Progressive learning (EfficientNetV2: Tan & Le, arXiv:2104.00298, section 4.2) trains in phases, from small images with
weak augmentation to large images with strong augmentation. The phase is part of a sample's key, `(index, seed, phase)`:
worker processes live as long as the run and receive nothing but keys.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

Transform = Callable[..., dict[str, Any]]  # (seed, image=..., ...) -> the same keys, random by that seed alone
Key = int | tuple[int, int] | tuple[int, int, int]  # index, (index, seed) or (index, seed, phase)


class PhaseTransform:
    """`build(phase)` makes the transform of a phase, once. Called directly, it is the transform of phase 0."""

    def __init__(self, build: Callable[[int], Transform]) -> None:
        self.build = build
        self._built: dict[int, Transform] = {}

    def at(self, phase: int) -> Transform:
        if phase not in self._built:
            self._built[phase] = self.build(phase)
        return self._built[phase]

    def __call__(self, seed: int, **arrays: Any) -> dict[str, Any]:
        return self.at(0)(seed, **arrays)


def index_of(key: Key) -> int:
    return key[0] if isinstance(key, tuple) else key


def augment(transform: Transform | None, key: Key, arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    """`arrays` after the transform, with the key's seed (default 0) and phase."""
    if transform is None:
        return arrays
    _, seed, *phase = key if isinstance(key, tuple) else (key, 0)
    if phase:
        transform = transform.at(phase[0])  # type: ignore[attr-defined]
    return transform(seed, **arrays)
