"""The points of a body: their names, the lines between them, which are each other's mirror image, and how exactly each
can be placed.

All four come from a COCO category (`keypoints`, `skeleton`) and from options that add what COCO's files do not say.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lightseg.errors import LightsegError, nearest
from lightseg.text import shorten

# The constants of COCO's keypoint evaluation (cocodataset.org/#keypoints-eval): the spread of annotators' clicks on a
# point, as a share of the square root of the person's area. The same left and right.
COCO_SIGMAS = {
    "nose": 0.026, "eye": 0.025, "ear": 0.035, "shoulder": 0.079, "elbow": 0.072, "wrist": 0.062, "hip": 0.107,
    "knee": 0.087, "ankle": 0.089,
}  # fmt: skip
DEFAULT_SIGMA = 0.067  # the mean of COCO's 17
OPTIONS = ("edges", "pairs", "sigmas")
_MIRRORED = {"left": "right", "right": "left", "l": "r", "r": "l"}
_LOWER = {"hip", "knee", "ankle", "foot", "feet", "toe", "toes", "heel", "leg", "thigh", "shin"}
# `left`/`right` at the start of a word, then words as in snake_case, kebab-case, "two words" and camelCase
_WORD = re.compile(r"[Ll]eft|[Rr]ight|LEFT|RIGHT|[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")


@dataclass(frozen=True)
class Skeleton:
    """K points.

    edges: lines to draw, as pairs of places 0..K-1. pairs: (left, right) places, each point in one pair at most.
    sigmas: of object keypoint similarity, relative to the square root of the object's area.
    lower: which points belong to the lower half of the body (hips and below), by their names.
    """

    names: tuple[str, ...]
    edges: tuple[tuple[int, int], ...]
    pairs: tuple[tuple[int, int], ...]
    sigmas: tuple[float, ...]

    @property
    def swap(self) -> list[int]:
        """The place [K] of each point's mirror image: its own for a point in the middle."""
        swap = list(range(len(self.names)))
        for left, right in self.pairs:
            swap[left], swap[right] = right, left
        return swap

    def plain(self) -> dict[str, list]:
        """Edges, pairs and sigmas as lists: what a checkpoint keeps."""
        edges, pairs = ([list(pair) for pair in one] for one in (self.edges, self.pairs))
        return {"edges": edges, "pairs": pairs, "sigmas": list(self.sigmas)}

    @property
    def lower(self) -> list[bool]:
        return [bool(_LOWER & set(_words(name))) for name in self.names]

    def reordered(self, order: Sequence[int]) -> "Skeleton":
        """The same points in another order: the new point k is the point `order[k]`."""
        new = {old: index for index, old in enumerate(order)}
        edges, pairs = (tuple((new[a], new[b]) for a, b in links) for links in (self.edges, self.pairs))
        names, sigmas = tuple(self.names[old] for old in order), tuple(self.sigmas[old] for old in order)
        return Skeleton(names, edges, pairs, sigmas)

    def difference(self, other: "Skeleton") -> str:
        """What keeps a net for one from being used for the other; "" if nothing does."""
        pairs = enumerate(zip(self.names, other.names, strict=False), start=1)
        differing = [f"keypoints: number {number} is {ours} / {theirs}" for number, (ours, theirs) in pairs
                     if ours != theirs]  # fmt: skip
        if differing or len(self.names) != len(other.names):
            return (differing or [f"keypoints: {len(self.names)} / {len(other.names)}"])[0]
        return "" if self.swap == other.swap else "left/right pairs"


def read_skeleton(category: Mapping[str, Any], overrides: Mapping[str, Any] | None = None) -> Skeleton:
    """A COCO category's `keypoints` (names) and `skeleton` (lines, points counted from 1).

    overrides, each missing or None for what is found:
        edges: [[a, b], ...]; otherwise the category's `skeleton`, none if it has none.
        pairs: [[left, right], ...]; otherwise found in the names (left_/right_, l_/r_, LeftHip, ...).
        sigmas: one number a point, or {name: number} for some of them; otherwise COCO's for points with COCO's names,
            and 0.067, the mean of COCO's, for others.
    Points are given by name or, as in COCO, by number from 1. Raises LightsegError for what does not fit together.
    """
    given = {key: value for key, value in (overrides or {}).items() if value is not None}
    for key in given:
        if key not in OPTIONS:
            raise LightsegError(f"skeleton.{key}: there is no such option; {nearest(key, OPTIONS)}")
    where = f"the category {category.get('name', category.get('id'))!r}"
    names = category.get("keypoints")
    if not isinstance(names, list) or not names:
        raise LightsegError(f"{where} names no keypoints: `keypoints` must be a list of names")
    names = tuple(str(name) for name in names)
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise LightsegError(f"{where} has two keypoints of the same name: {shorten(repeated)}")
    edges = _links("edge", given.get("edges", category.get("skeleton") or []), names)
    pairs = _links("pair", given["pairs"], names) if "pairs" in given else mirrored_pairs(names)
    paired = [point for pair in pairs for point in pair]
    twice = next((point for point in paired if paired.count(point) > 1), None)
    if twice is not None:
        raise LightsegError(f"the skeleton's point {names[twice]!r} is in more than one left/right pair")
    return Skeleton(names, edges, pairs, _sigmas(given.get("sigmas", {}), names))


def mirrored_pairs(names: Sequence[str]) -> tuple[tuple[int, int], ...]:
    """(left, right) places of the names that differ in nothing but the side."""
    place = {_words(name): index for index, name in enumerate(names)}
    pairs = []
    for words, index in place.items():
        other = place.get(tuple(_MIRRORED.get(word, word) for word in words), index)
        if other != index and ("left" in words or "l" in words):
            pairs.append((index, other))
    return tuple(pairs)


def default_sigmas(skeleton: Skeleton) -> list[str]:
    """The points whose sigma is neither COCO's nor given."""
    pairs = zip(skeleton.names, skeleton.sigmas, strict=True)
    return [name for name, sigma in pairs if sigma == DEFAULT_SIGMA and _coco_sigma(name) is None]


def _words(name: str) -> tuple[str, ...]:
    return tuple(word.lower() for word in _WORD.findall(name))


def _coco_sigma(name: str) -> float | None:
    parts = [word for word in _words(name) if word not in _MIRRORED]
    return COCO_SIGMAS.get(parts[0]) if len(parts) == 1 else None


def _links(what: str, given: Any, names: Sequence[str]) -> tuple[tuple[int, int], ...]:
    """[[a, b], ...] as places of two different points each."""
    if not isinstance(given, list | tuple):
        raise LightsegError(f"the skeleton's {what}s are {str(given)[:60]}: give a list of [point, point]")
    links = []
    for link in given:
        if not isinstance(link, list | tuple) or len(link) != 2:
            raise LightsegError(f"the skeleton's {what} {str(link)[:60]} is not a list of two points")
        first, second = (_place(point, f"{what} {list(link)}", names) for point in link)
        if first == second:
            raise LightsegError(f"the skeleton's {what} {list(link)} joins {names[first]!r} with itself")
        links.append((first, second))
    return tuple(links)


def _place(point: Any, where: str, names: Sequence[str]) -> int:
    if isinstance(point, str) and point in names:
        return names.index(point)
    if isinstance(point, int) and not isinstance(point, bool) and 1 <= point <= len(names):
        return point - 1
    if isinstance(point, str):
        known = nearest(point, names)
    else:
        known = f"there are {len(names)} points, counted from 1"
    raise LightsegError(f"the skeleton's {where} names an unknown point, {point!r}: {known}")


def _sigmas(given: Any, names: Sequence[str]) -> tuple[float, ...]:
    if isinstance(given, Mapping):
        for name in given:
            _place(name, "sigmas", names)
        found = [given.get(name, _coco_sigma(name) or DEFAULT_SIGMA) for name in names]
    elif isinstance(given, list | tuple):
        if len(given) != len(names):
            raise LightsegError(f"skeleton.sigmas has {len(given)} numbers, but there are {len(names)} keypoints")
        found = list(given)
    else:
        raise LightsegError(f"skeleton.sigmas is {given!r}: give one number a keypoint, or name: number")
    for name, sigma in zip(names, found, strict=True):
        if isinstance(sigma, bool) or not isinstance(sigma, int | float) or not 0 < sigma < float("inf"):
            raise LightsegError(f"skeleton.sigmas: the sigma of {name!r} is {sigma!r}: it must be greater than 0")
    return tuple(float(sigma) for sigma in found)
