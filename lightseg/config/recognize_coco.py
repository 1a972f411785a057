"""COCO files in a folder: which JSON is of which split, and the folder of its images."""

import re
from pathlib import Path
from typing import Any

from lightseg.config.recognize_files import entries, folders, head

_HEAD = 1 << 20
_PREFIXES = {"det": ("instances",), "seg": ("instances", "stuff"), "pose": ("person_keypoints",)}
_OTHERS = ("captions", "panoptic", "image_info", "person_keypoints", "stuff")  # not for each task
_FILE_NAME = re.compile(r'"file_name"\s*:\s*"((?:[^"\\]|\\.)+)"')


def coco_values(root: Path, task: str, share: float) -> dict[str, Any] | None:
    """`split.train` and `split.val` of a folder with COCO's JSON for a task. None: there is none."""
    files = [path for folder in [root, *folders(root)] for path in entries(folder) if path.suffix.lower() == ".json"]
    files = [path for path in files if _is_coco(path, task)]
    chosen = [path for path in files if path.stem.startswith(_PREFIXES[task][0])] or files
    train = next((path for path in chosen if "train" in str(path.relative_to(root)).lower()), None)
    train = train or next(iter(chosen), None)
    if train is None:
        return None
    val = next((path for path in chosen if path != train and "val" in str(path.relative_to(root)).lower()), None)
    return {
        "split.train": _entry(train, root),
        "split.val": share if val is None else _entry(val, root),
    }


def _is_coco(path: Path, task: str) -> bool:
    name = path.stem.lower()
    if name.startswith(_OTHERS) and not name.startswith(_PREFIXES[task]):
        return False
    text = head(path, _HEAD)
    is_coco = (
        '"shapes"' not in text and ('"images"' in text or '"annotations"' in text) and bool(_FILE_NAME.search(text))
    )
    return is_coco and (task != "pose" or '"keypoints"' in text or name.startswith("person_keypoints"))


def _entry(file: Path, root: Path) -> dict[str, str]:
    match = _FILE_NAME.search(head(file, _HEAD))
    name = match[1].replace("\\/", "/") if match else ""
    part = file.stem.rpartition("_")[2]
    near = [file.parent, root / part, root / "images" / part, root / "images", root]
    deeper = [inner for folder in folders(root) for inner in [folder, *folders(folder)]]
    folder = next((folder for folder in [*near, *deeper] if (folder / name).is_file()), root / "images")
    return {"images": str(folder.relative_to(root)), "annotations": str(file.relative_to(root))}
