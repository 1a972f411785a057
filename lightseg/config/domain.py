"""Domains: the values that a key of the configuration may have, with their description for error messages and docs."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from os.path import expanduser
from typing import Any

COUNTS = {2: "two", 3: "three", 4: "four"}


@dataclass(frozen=True)
class Domain:
    """The allowed values of a key.

    Attributes:
        description: completes "must be ...".
        fits: whether a plain value is allowed.
        canonical: an allowed value as it is stored, with `~` expanded in paths, for example.
        is_text: whether the domain is text alone, which is stored as it was typed.
        is_path: whether the text is a path.
        is_switch: whether the domain is true and false.
        items: of a list, the domain of its items.
        parts: the domains that this one joins.
    """

    description: str
    fits: Callable[[Any], bool]
    canonical: Callable[[Any], Any] = lambda value: value
    is_text: bool = False
    is_path: bool = False
    is_switch: bool = False
    items: "Domain | None" = None
    parts: tuple["Domain", ...] = ()

    def alternatives(self) -> tuple["Domain", ...]:
        """The domains that this one joins, or itself."""
        return tuple(inner for part in self.parts for inner in part.alternatives()) or (self,)


def whole(low: float = -math.inf, high: float = math.inf) -> Domain:
    """Whole numbers from `low` to `high`."""
    bounds = {(True, True): f" from {low} to {high}", (True, False): f", {low} or more"}
    description = "a whole number" + bounds.get((math.isfinite(low), math.isfinite(high)), "")
    return Domain(description, lambda value: type(value) is int and low <= value <= high)


def number(interval: str) -> Domain:
    """Finite numbers of an interval, as in "[0, 1)" or "(0, inf)"."""
    low, high = (float(end) for end in interval[1:-1].split(","))
    from_low, to_high = interval[0] == "[", interval[-1] == "]"

    def fits(value: Any) -> bool:
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            return False
        return (low <= value if from_low else low < value) and (value <= high if to_high else value < high)

    lower = f"from {low:g}" if from_low else f"above {low:g}"
    upper = f"to {high:g}" if from_low and to_high else f"and at most {high:g}" if to_high else f"to below {high:g}"
    if math.isinf(high):
        lower, upper = (f", {low:g} or more" if from_low else f" above {low:g}"), ""
    elif not from_low and not to_high:
        upper = f"and below {high:g}"
    return Domain(f"a number{lower}" if not upper else f"a number {lower} {upper}", fits)


def one_of(*values: Any, aliases: Mapping[Any, Any] | None = None) -> Domain:
    """Fixed values. aliases: other spellings -> the value they mean; numbers may be typed for texts of digits."""
    names = dict(aliases or {})

    def known(value: Any) -> bool:
        return not isinstance(value, bool | list | dict) and (value in values or value in names)

    texts = all(isinstance(value, str) for value in values)
    return Domain(
        f"one of {', '.join(map(str, values))}" if len(values) > 1 else str(values[0]),
        known,
        lambda value: names.get(value, value),
        is_text=texts and all(isinstance(name, str) for name in names),
    )


def text(description: str = "text") -> Domain:
    return Domain(description, lambda value: isinstance(value, str), is_text=True)


def path(description: str = "a path") -> Domain:
    return Domain(description, lambda value: isinstance(value, str), expanduser, is_text=True, is_path=True)


def switch() -> Domain:
    return Domain("true or false", lambda value: isinstance(value, bool), is_switch=True)


def many(item: Domain, count: int | None = None, *, least: int = 0, rising: bool = False) -> Domain:
    """Lists of `count` items, or of `least` or more. rising: in order, the lowest first."""

    def fits(value: Any) -> bool:
        if not isinstance(value, list) or not all(item.fits(part) for part in value):
            return False
        return (len(value) == count if count else len(value) >= least) and not (rising and sorted(value) != value)

    size = COUNTS[count] if count else "one or more" if least == 1 else ""
    kind = f"a list of {size} " if size else "a list, each item "
    plural = item.description.removeprefix("a ") if size else item.description
    for noun in ("number", "name") if size else ():
        plural = plural.replace(noun, f"{noun}s", 1)
    order = ", the lower first" if rising and count == 2 else ", the lowest first" if rising else ""
    return Domain(f"{kind}{plural}{order}", fits, lambda value: [item.canonical(part) for part in value], items=item)


def table(of: str) -> Domain:
    """Mappings, described by `of`. What they hold is checked where it is used."""
    return Domain(of, lambda value: isinstance(value, dict))


def anything(description: str) -> Domain:
    """Lists and mappings that are checked where they are used."""
    return Domain(description, lambda value: isinstance(value, list | dict))


def either(*domains: Domain) -> Domain:
    def canonical(value: Any) -> Any:
        return next((domain.canonical(value) for domain in domains if domain.fits(value)), value)

    return Domain(
        ", or ".join(domain.description for domain in domains),
        lambda value: any(domain.fits(value) for domain in domains),
        canonical,
        is_text=all(domain.is_text for domain in domains),
        parts=domains,
    )


NULL = Domain("null", lambda value: value is None, is_text=True)


def optional(domain: Domain) -> Domain:
    """The values of a domain, and null."""
    return either(domain, NULL)


def shown(value: Any) -> str:
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else repr(value)
