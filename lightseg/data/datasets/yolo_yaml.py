"""data.yaml of YOLO data sets: class names, keypoints, and the images of the splits."""

import os
from pathlib import Path
from typing import Any

import yaml

from lightseg.data.datasets.folder import IMAGE_ENDINGS
from lightseg.data.datasets.label_files import read_bytes, read_lines
from lightseg.data.io.walk import files_below
from lightseg.errors import DataError
from lightseg.text import shorten

COCO_PARTS = ("eye", "ear", "shoulder", "elbow", "wrist", "hip", "knee", "ankle")
COCO_POINTS = ("nose", *(f"{side}_{part}" for part in COCO_PARTS for side in ("left", "right")))
COCO_FLIP = [0, *(number for first in range(1, 17, 2) for number in (first + 1, first))]
FILES = ("data.yaml", "data.yml", "dataset.yaml")


def read_data_yaml(root: Path) -> tuple[Path, dict[str, Any]]:
    """The path and the content of a set's data.yaml. Raises DataError where there is none, or it is no such file."""
    files = [root / name for name in FILES if (root / name).is_file()] or sorted(root.glob("*.y*ml"))
    for file in files:
        try:
            content = yaml.safe_load(read_bytes(file))
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise DataError(f"{file} is not readable YAML: {' '.join(str(error).split())}") from error
        if isinstance(content, dict) and "names" in content:
            return file, content
    raise DataError(f"{root}: no data.yaml with `names` in it, as YOLO data sets have; check data.root")


def class_names(content: dict[str, Any], file: Path) -> list[str]:
    names, count = content["names"], content.get("nc")
    if isinstance(names, dict):
        if sorted(map(str, names)) != sorted(map(str, range(len(names)))):
            raise DataError(f"{file}: `names` has the numbers {shorten(list(names))}: use all from 0 on")
        names = [names[key] for key in sorted(names, key=int)]
    if not isinstance(names, list) or not names or len(set(map(str, names))) < len(names):
        raise DataError(f"{file}: `names` is {str(names)[:60]}: give a list of different names")
    if count is not None and count != len(names):
        raise DataError(f"{file}: nc is {count}, but `names` has {len(names)} classes: make both agree")
    return [str(name) for name in names]


def keypoint_shape(content: dict[str, Any], file: Path) -> tuple[int, int] | None:
    """Number of keypoints, and numbers of each (2 or 3)."""
    shape = content.get("kpt_shape")
    if shape is None:
        return None
    if not (isinstance(shape, list) and len(shape) == 2 and all(type(n) is int for n in shape) and shape[1] in (2, 3)):
        raise DataError(f"{file}: kpt_shape is {str(shape)[:60]}: give [number of keypoints, 2 or 3]")
    return shape[0], shape[1]


def keypoint_names(content: dict[str, Any], count: int, file: Path) -> list[str]:
    """`kpt_names`, a list or one for each class; COCO's for 17 points with its `flip_idx`; or point_1, point_2, ..."""
    names = content.get("kpt_names")
    if isinstance(names, dict):
        names = next(iter(names.values()), None)
    if names is None and count == len(COCO_POINTS) and content.get("flip_idx") == COCO_FLIP:
        return list(COCO_POINTS)
    if names is None:
        return [f"point_{number + 1}" for number in range(count)]
    if not isinstance(names, list) or len(names) != count:
        raise DataError(f"{file}: kpt_names is not a list of {count} names, as kpt_shape says: make both agree")
    return [str(name) for name in names]


def flipped_pairs(content: dict[str, Any], names: list[str], file: Path) -> list[list[int]] | None:
    """The pairs of `flip_idx`, points counted from 1. None: there is no `flip_idx`."""
    swap = content.get("flip_idx")
    if swap is None:
        return None
    if not isinstance(swap, list) or sorted(swap, key=str) != sorted(range(len(names)), key=str):
        raise DataError(f"{file}: flip_idx is {str(swap)[:60]}: give each of the numbers 0 to {len(names) - 1} once")
    if any(swap[swap[index]] != index for index in range(len(names))):
        raise DataError(
            f"{file}: flip_idx {swap} does not exchange points in pairs: give each point and its mirror image"
        )
    return [[index + 1, other + 1] for index, other in enumerate(swap) if index < other]


def image_files(content: dict[str, Any], entry: str, file: Path) -> list[Path]:
    listed = content.get(entry, entry)
    paths: list[Path] = []
    for part in listed if isinstance(listed, list) else [listed]:
        place = _place(str(part), content, file, entry)
        if place.suffix == ".txt":
            paths += [place.parent / line for _, line in read_lines(place)]
        else:
            paths += [place / name for name in sorted(files_below(place)) if name.lower().endswith(IMAGE_ENDINGS)]
    missing = [str(path) for path in paths if not path.is_file()] if str(listed).endswith(".txt") else []
    if missing:
        shown = shorten(missing, 2)
        raise DataError(f"{file}: {len(missing)} images of `{entry}` do not exist ({shown}): make both agree")
    return [Path(os.path.normpath(path)) for path in paths]


def _place(part: str, content: dict[str, Any], file: Path, entry: str) -> Path:
    """A folder or list of data.yaml. Paths that lead above the file, as Roboflow writes them, are taken below it."""
    base = file.parent / str(content.get("path") or "")
    below = Path(*[step for step in Path(part).parts if step != ".."])
    candidates = [base / part, file.parent / part, file.parent / below]
    candidates += [file.parent / folder for folder in ("images/" + part, part + "/images") if entry == part]
    for path in candidates:
        if path.exists():
            return path
    keys = [key for key in ("train", "val", "test") if content.get(key)]
    raise DataError(
        f"{file}: {part!r} of split {entry!r} does not exist ({candidates[0]}); it has {shorten(keys) or 'no splits'}: "
        "give a folder of images as data.split.train and data.split.val"
    )
