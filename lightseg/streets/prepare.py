"""The mini data sets: what is drawn on this machine at first use, of the options of `configs/data/mini_*.yaml`."""

import json
from pathlib import Path
from typing import Any

from lightseg.result_files import write_bytes

LEAST_AREA = 0.012  # share of the image; nearly every class is in every scene, as a few pixels


def mini_seg(options: dict[str, Any]) -> None:
    from lightseg.streets import write_cityscapes

    height, width = options["size"]
    write_cityscapes(Path(options["root"]), seed=options["world_seed"], height=height, width=width, **options["count"])


def mini_cls(options: dict[str, Any]) -> None:
    from lightseg.streets import write_imagefolder

    write_imagefolder(Path(options["root"]), seed=options["world_seed"], size=options["size"], **options["count"])


def mini_det(options: dict[str, Any]) -> None:
    from lightseg.streets import write_coco

    height, width = options["size"]
    write_coco(Path(options["root"]), seed=options["world_seed"], height=height, width=width, **options["count"])


def mini_multilabel(options: dict[str, Any]) -> None:
    """The scenes of `mini_det`, square, with a table of the classes that are well visible in each image."""
    from lightseg.streets import write_coco

    root, side = Path(options["root"]), options["size"]
    write_coco(root, seed=options["world_seed"], height=side, width=side, **options["count"])
    for split, entry in options["split"].items():
        annotations = root / "annotations" / f"instances_{split}.json"
        if annotations.is_file() and isinstance(entry, str) and not (root / entry).is_file():
            write_bytes(root / entry, _table(json.loads(annotations.read_bytes()), split).encode())


def _table(coco: dict[str, Any], split: str) -> str:
    """A CSV file with a column of 0 and 1 a category: whether an object of it has LEAST_AREA of the image."""
    least = {image["id"]: LEAST_AREA * image["height"] * image["width"] for image in coco["images"]}
    large = (entry for entry in coco["annotations"] if entry["area"] >= least[entry["image_id"]])
    pairs = {(entry["image_id"], entry["category_id"]) for entry in large}
    ids = [category["id"] for category in coco["categories"]]
    lines = [",".join(["file", *(category["name"] for category in coco["categories"])])]
    for image in coco["images"]:
        bits = ["01"[(image["id"], number) in pairs] for number in ids]
        lines.append(",".join([f"images/{split}/{image['file_name']}", *bits]))
    return "\n".join(lines) + "\n"


def mini_pose(options: dict[str, Any]) -> None:
    from lightseg.streets import write_persons

    height, width = options["size"]
    write_persons(Path(options["root"]), seed=options["world_seed"], height=height, width=width, **options["count"])
