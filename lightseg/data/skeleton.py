"""The skeleton of keypoints: names, edges, left/right pairs and OKS sigmas.

They are read from a COCO category (`keypoints`, `skeleton`) and from options.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lightseg.errors import LightsegError, nearest
from lightseg.text import shorten

# The constants of COCO's keypoint evaluation (cocodataset.org/#keypoints-eval): the standard deviation of annotated
# points, relative to the square root of the person's area. The same for left and right.
COCO_SIGMAS = {
    "nose": 0.026, "eye": 0.025, "ear": 0.035, "shoulder": 0.079, "elbow": 0.072, "wrist": 0.062, "hip": 0.107,
    "knee": 0.087, "ankle": 0.089,
}  # fmt: skip
DEFAULT_SIGMA = 0.067  # the mean of COCO's 17
OPTIONS = ("names", "edges", "pairs", "sigmas")
_MIRRORED = {"left": "right", "right": "left", "l": "r", "r": "l"}
_LOWER = {"hip", "knee", "ankle", "foot", "feet", "toe", "toes", "heel", "leg", "thigh", "shin"}
# `left`/`right` at the start of a word, then the words of snake_case, kebab-case, "two words" and camelCase
_WORD = re.compile(r"[Ll]eft|[Rr]ight|LEFT|RIGHT|[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")


@dataclass(frozen=True)
class Skeleton:
    """K keypoints.

    edges: lines to draw, pairs of indices 0..K-1. pairs: (left, right) indices, each point in at most one pair.
    sigmas: of object keypoint similarity (OKS), relative to the square root of the object's area.
    """

    names: tuple[str, ...]
    edges: tuple[tuple[int, int], ...]
    pairs: tuple[tuple[int, int], ...]
    sigmas: tuple[float, ...]

    @property
    def swap(self) -> list[int]:
        """The index [K] of each point's mirror image: its partner in a pair, or the point itself."""
        swap = list(range(len(self.names)))
        for left, right in self.pairs:
            swap[left], swap[right] = right, left
        return swap

    def plain(self) -> dict[str, list]:
        """Edges, pairs and sigmas as lists, for checkpoints."""
        edges, pairs = ([list(link) for link in links] for links in (self.edges, self.pairs))
        return {"edges": edges, "pairs": pairs, "sigmas": list(self.sigmas)}

    @property
    def lower(self) -> list[bool]:
        """Whether each point belongs to the lower half of the body (hips and below), by its name."""
        return [bool(_LOWER & set(_split(name))) for name in self.names]

    def reordered(self, order: Sequence[int]) -> "Skeleton":
        """The same points in another order: the new point k is the old point `order[k]`."""
        new = {old: index for index, old in enumerate(order)}
        edges, pairs = (tuple((new[a], new[b]) for a, b in links) for links in (self.edges, self.pairs))
        names, sigmas = tuple(self.names[old] for old in order), tuple(self.sigmas[old] for old in order)
        return Skeleton(names, edges, pairs, sigmas)

    def difference(self, other: "Skeleton") -> str:
        """The first difference in the keypoints or left/right pairs, as text; "" if there is none."""
        for number, (name, other_name) in enumerate(zip(self.names, other.names, strict=False), start=1):
            if name != other_name:
                return f"keypoints: number {number} is {name} / {other_name}"
        if len(self.names) != len(other.names):
            return f"keypoints: {len(self.names)} / {len(other.names)}"
        return "" if self.swap == other.swap else "left/right pairs"


def read_skeleton(category: Mapping[str, Any], overrides: Mapping[str, Any] | None = None) -> Skeleton:
    """The skeleton of a COCO category: `keypoints` (names) and `skeleton` (edges, points counted from 1).

    overrides (missing or None: the default):
        names: of the keypoints, in the order of the file. Default: the category's `keypoints`.
        edges: [[a, b], ...]. Default: the category's `skeleton`, or none.
        pairs: [[left, right], ...]. Default: by the names (left_/right_, l_/r_, LeftHip, ...).
        sigmas: a number per point, or {name: number} for some points. Default: COCO's for points with COCO's names,
            and 0.067, the mean of COCO's, for others.
    Points are names or, as in COCO, numbers from 1; edges that have a point 0 count from 0. Raises LightsegError for
    contradictions.
    """
    options = {key: value for key, value in (overrides or {}).items() if value is not None}
    for key in options:
        if key not in OPTIONS:
            raise LightsegError(f"skeleton.{key}: there is no such option; {nearest(key, OPTIONS)}")
    where = f"the category {category.get('name', category.get('id'))!r}"
    names = options.get("names", category.get("keypoints"))
    if not isinstance(names, list) or not names or not all(isinstance(name, str | int) for name in names):
        raise LightsegError(f"{where} names no keypoints: give data.skeleton.names=[nose, left_eye, ...]")
    names = tuple(str(name) for name in names)
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise LightsegError(f"{where} has two keypoints of the same name: {shorten(repeated)}")
    edges = options.get("edges", category.get("skeleton") or [])
    edges = _links("edge", edges, names, first=0 if counts_from_0(edges) else 1)
    pairs = _links("pair", options["pairs"], names) if "pairs" in options else mirrored_pairs(names)
    paired = [point for pair in pairs for point in pair]
    repeated_point = next((point for point in paired if paired.count(point) > 1), None)
    if repeated_point is not None:
        raise LightsegError(f"the skeleton's point {names[repeated_point]!r} is in more than one left/right pair")
    return Skeleton(names, edges, pairs, _sigmas(options.get("sigmas", {}), names))


def mirrored_pairs(names: Sequence[str]) -> tuple[tuple[int, int], ...]:
    """(left, right) indices of the names that differ only in the side."""
    indices = {_split(name): index for index, name in enumerate(names)}
    pairs = []
    for parts, index in indices.items():
        mirrored = indices.get(tuple(_MIRRORED.get(part, part) for part in parts), index)
        if mirrored != index and ("left" in parts or "l" in parts):
            pairs.append((index, mirrored))
    return tuple(pairs)


def default_sigmas(skeleton: Skeleton) -> list[str]:
    """The points with the default sigma: neither COCO's nor set by an option."""
    pairs = zip(skeleton.names, skeleton.sigmas, strict=True)
    return [name for name, sigma in pairs if sigma == DEFAULT_SIGMA and _coco_sigma(name) is None]


def _split(name: str) -> tuple[str, ...]:
    return tuple(word.lower() for word in _WORD.findall(name))


def _coco_sigma(name: str) -> float | None:
    parts = [part for part in _split(name) if part not in _MIRRORED]
    return COCO_SIGMAS.get(parts[0]) if len(parts) == 1 else None


def _links(kind: str, value: Any, names: Sequence[str], first: int = 1) -> tuple[tuple[int, int], ...]:
    """[[a, b], ...] as indices of two different points each. first: the number of the first point."""
    if not isinstance(value, list | tuple):
        raise LightsegError(f"the skeleton's {kind}s are {str(value)[:60]}: give a list of [point, point]")
    links = []
    for link in value:
        if not isinstance(link, list | tuple) or len(link) != 2:
            raise LightsegError(f"the skeleton's {kind} {str(link)[:60]} is not a list of two points")
        start, end = (_point_index(point, f"{kind} {list(link)}", names, first) for point in link)
        if start == end:
            raise LightsegError(f"the skeleton's {kind} {list(link)} joins {names[start]!r} with itself")
        links.append((start, end))
    return tuple(links)


def counts_from_0(edges: Any) -> bool:
    """Whether edges have a point 0, which COCO's, counted from 1, do not have."""
    links = edges if isinstance(edges, list | tuple) else []
    return any(isinstance(link, list | tuple) and any(point == 0 for point in link) for link in links)


def _point_index(point: Any, where: str, names: Sequence[str], first: int = 1) -> int:
    if isinstance(point, str) and point in names:
        return names.index(point)
    whole = isinstance(point, int | float) and not isinstance(point, bool) and point == point // 1
    if whole and first <= point < first + len(names):
        return int(point) - first
    hint = nearest(point, names) if isinstance(point, str) else f"there are {len(names)} points, counted from {first}"
    raise LightsegError(f"the skeleton's {where} names an unknown point, {point!r}: {hint}")


def _sigmas(value: Any, names: Sequence[str]) -> tuple[float, ...]:
    if isinstance(value, Mapping):
        for name in value:
            _point_index(name, "sigmas", names)
        sigmas = [value.get(name, _coco_sigma(name) or DEFAULT_SIGMA) for name in names]
    elif isinstance(value, list | tuple):
        if len(value) != len(names):
            raise LightsegError(
                f"skeleton.sigmas has {len(value)} numbers, but there are {len(names)} keypoints: give one a keypoint"
            )
        sigmas = list(value)
    else:
        raise LightsegError(f"skeleton.sigmas is {value!r}: give one number a keypoint, or name: number")
    for name, sigma in zip(names, sigmas, strict=True):
        if isinstance(sigma, bool) or not isinstance(sigma, int | float) or not 0 < sigma < float("inf"):
            raise LightsegError(f"skeleton.sigmas: the sigma of {name!r} is {sigma!r}: it must be greater than 0")
    return tuple(float(sigma) for sigma in sigmas)
