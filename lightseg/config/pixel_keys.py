"""The keys of the `data` group for images that are not uint8 RGB, and for large ones."""

from typing import Any

from lightseg.config.domain import Domain, either, many, number, one_of, optional, whole

MIN_TILE, MAX_TILE, MAX_CHANNELS = 32, 1 << 16, 1 << 12


def is_range(value: Any) -> bool:
    """Whether it is a list of two finite numbers, the first lower."""
    numbers = (
        isinstance(value, list) and len(value) == 2 and all(number("[-1e300, 1e300]").fits(part) for part in value)
    )
    return numbers and value[0] < value[1]


def is_tile(value: Any) -> bool:
    """Whether it is `{size, overlap}` of tiles: a side or height and width, and less than that."""
    if not isinstance(value, dict) or "size" not in value or not value.keys() <= {"size", "overlap"}:
        return False
    size, overlap = value["size"], value.get("overlap", 0)
    sides = size if isinstance(size, list) and len(size) == 2 else [size]
    return all(whole(MIN_TILE, MAX_TILE).fits(side) for side in sides) and whole(0, min(sides) - 1).fits(overlap)


def canonical_tile(value: dict[str, Any]) -> dict[str, Any]:
    size = value["size"]
    return {"size": size if isinstance(size, list) else [size, size], "overlap": value.get("overlap", 0)}


RANGE = Domain("two numbers, the lowest value first, as in [0, 4095]", is_range)
TILE = Domain(
    f"{{size: pixels or [height, width], overlap: pixels}}, {MIN_TILE} or more and less than that",
    is_tile,
    canonical_tile,
)
PIXELS: dict[str, Domain] = {
    "data.channels": either(whole(1, MAX_CHANNELS), many(whole(0), least=1)),
    "data.range": optional(either(RANGE, one_of("auto"))),
}
TILES: dict[str, Domain] = {"data.tile": optional(either(TILE, one_of("whole")))}
