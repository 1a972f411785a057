"""`data.split: {val: 0.2, group: "(.*)_\\d+"}`: an evaluation split that is a share of the training images.

An image's side follows from a hash of its name (relative to `data.root`), or of its group's: it is the same on every
machine and in every run, and stays the same when files are added, with one exception. Where a class, of those with two
groups or more, would be on one side alone, the group with the nearest hash changes sides, as long as the share stays
near.
"""

import hashlib
import os
import re
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from lightseg.data.datasets.base import ImageDataset
from lightseg.errors import DataError

_SPAN = 1.25  # times the share that evaluation groups may be so that every class is among them


def share_of(options: Mapping[str, Any]) -> float | None:
    """The share of the training images that is for evaluation. None: the data has an evaluation split."""
    value = (options.get("split") or {}).get("val")
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def keep_share(dataset: ImageDataset, options: Mapping[str, Any], split: str) -> None:
    """Keep the images of one side in a data set that has those of both.

    Raises DataError where all images are in one group.
    """
    share, root = share_of(options), options["root"]
    assert share is not None
    pattern = options["split"].get("group")
    names = {str(path): name_of(path, root) for path in dataset.paths}
    groups = {path: group_of(name, pattern) for path, name in names.items()}
    if pattern and all(group == names[path] for path, group in groups.items()):
        raise DataError(
            f"data.split.group={pattern!r} matches none of the {len(names)} images, such as {min(names.values())!r}: "
            "give another, or leave it null"
        )
    classes: dict[str, set[int]] = defaultdict(set)
    for index, path in enumerate(map(str, dataset.paths)):
        classes[groups[path]] |= set(dataset.classes_of(index))
    if len(classes) < 2:
        reason = f"data.split.group={pattern!r} puts all {len(names)} images into one group, {min(classes)!r}"
        if not pattern:
            reason = "there is a single image"
        raise DataError(f"{root}: {reason}, so that one side would be empty: give another pattern, or data.split.val")
    evaluated = evaluated_groups(classes, share)

    if split != "train":
        count = sum(group in evaluated for group in groups.values())
        of_groups = f", in {len(evaluated)} of {len(classes)} groups" if pattern else ""
        shares = f"{count / len(names):.0%}, data.split.val is {share:.0%}"
        dataset.add_note(f"{count} of {len(names)} images are for evaluation{of_groups}: {shares}")

    def chosen(path: str) -> bool:  # also of images without samples, whose own position decides
        group = groups.get(path) or group_of(name_of(path, root), pattern)
        is_evaluated = group in evaluated if group in classes else position(group) < share
        return is_evaluated == (split != "train")

    dataset.keep_images(chosen)


def name_of(path: Any, root: Any) -> str:
    """The name of an image that is hashed, `train/0001.jpg`."""
    return os.path.relpath(path, root).replace(os.sep, "/")


def group_of(name: str, pattern: str | None) -> str:
    """What the pattern's brackets match in a name without its ending; the name itself where it does not match."""
    match = None if pattern is None else re.match(pattern, os.path.splitext(name)[0])
    return name if match is None else "/".join(part or "" for part in match.groups())


def position(group: str) -> float:
    """A number from 0 to 1 that depends on the name alone."""
    return int.from_bytes(hashlib.sha256(group.encode()).digest()[:8], "big") / 2**64


def evaluated_groups(classes: Mapping[str, set[int]], share: float) -> set[str]:
    """The groups that are for evaluation. classes: of every group."""
    ordered = sorted(classes, key=lambda group: (position(group), group))
    chosen = {group for group in ordered if position(group) < share}
    most = max(1.0, _SPAN * share * len(ordered))
    having: dict[int | None, list[str]] = defaultdict(list, {None: ordered})
    for group in ordered:
        for label in classes[group]:
            having[label].append(group)
    strata = sorted(having.values(), key=len)
    for stratum in strata:
        if len(stratum) > 1 and not chosen & set(stratum) and len(chosen) < most:
            chosen.add(stratum[0])
    for stratum in strata:
        if chosen >= set(stratum):
            chosen.remove(stratum[-1])
    return chosen
