"""`data.merge_classes`: one class of several."""

from collections.abc import Mapping, Sequence

import numpy as np

from lightseg.errors import LightsegError, nearest


def merged_classes(
    names: Sequence[str], groups: Mapping[str, Sequence[str]], *, may_lack: bool = False
) -> tuple[list[str], np.ndarray]:
    """The class names after merging, and the new label of every class, int64 [C].

    A new class stands where its first class stood. may_lack: groups may name classes that are not in `names`. Raises
    LightsegError for names that do not exist, are in two groups, or become equal to another class.
    """
    group_of: dict[str, str] = {}
    for group, members in groups.items():
        for member in members:
            if member not in names and not may_lack:
                raise LightsegError(f"data.merge_classes.{group}: no class {member!r}: {nearest(str(member), names)}")
            if group_of.setdefault(member, group) != group:
                both = f"{group_of[member]!r} and {group!r}"
                raise LightsegError(f"data.merge_classes: {member!r} is in {both}: leave it out of one")
    for group in groups:
        if group in names and group_of.get(group) != group:
            raise LightsegError(
                f"data.merge_classes.{group}: a class has this name: add it to the list, or choose another"
            )
    merged = [group_of.get(name, name) for name in names]
    kept = list(dict.fromkeys(merged))
    return kept, np.array([kept.index(name) for name in merged], np.int64)
