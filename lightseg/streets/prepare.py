"""The mini data sets: what is drawn on this machine at first use, of the options of `configs/data/mini_*.yaml`."""

from pathlib import Path
from typing import Any


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


def mini_pose(options: dict[str, Any]) -> None:
    from lightseg.streets import write_persons

    height, width = options["size"]
    write_persons(Path(options["root"]), seed=options["world_seed"], height=height, width=width, **options["count"])
