"""A transform that changes with the stage of training: image size, magnitude of the augmentation.

EfficientNetV2 (Tan & Le, arXiv:2104.00298, section 4.2) trains in stages, from small pictures with weak augmentation to
large ones with strong. The stage travels with the sample's key, `(index, seed, stage)`: worker processes live as long
as the run, and nothing but the key reaches them.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

Transform = Callable[..., dict[str, Any]]  # (seed, image=..., ...) -> the same keys, from the randomness of that seed
Key = int | tuple[int, int] | tuple[int, int, int]  # index, (index, seed) or (index, seed, stage)


class StagedTransform:
    """`build(stage)` makes the transform of a stage, when it is first asked for. Called itself, it is stage 0."""

    def __init__(self, build: Callable[[int], Transform]) -> None:
        self.build = build
        self._built: dict[int, Transform] = {}

    def at(self, stage: int) -> Transform:
        if stage not in self._built:
            self._built[stage] = self.build(stage)
        return self._built[stage]

    def __call__(self, seed: int, **arrays: Any) -> dict[str, Any]:
        return self.at(0)(seed, **arrays)


def index_of(key: Key) -> int:
    return key[0] if isinstance(key, tuple) else key


def augment(transform: Transform | None, key: Key, arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    """`arrays` under `transform` with the key's seed (0 where it has none), at its stage where it has one."""
    if transform is None:
        return arrays
    _, seed, *stage = key if isinstance(key, tuple) else (key, 0)
    if stage:
        transform = transform.at(stage[0])  # type: ignore[attr-defined]
    return transform(seed, **arrays)
