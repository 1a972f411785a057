"""`python -m lightseg.streets SHEET.png` renders a contact sheet of scenes.

`python -m lightseg.streets --worker ...` is the command of the writers' worker processes.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import threading
from pathlib import Path

import cv2
import numpy as np

from lightseg.streets.cityscapes_writer import write_cityscapes_part
from lightseg.streets.coco_writer import write_coco_part
from lightseg.streets.imagefolder_writer import write_imagefolder_part
from lightseg.streets.scene import render


def main(arguments: list[str]) -> None:
    if arguments[:1] == ["--worker"]:
        cv2.setNumThreads(1)  # the processes are the parallelism
        threading.Thread(target=exit_with_parent, daemon=True).start()
        _, folder, text, worker, workers = arguments
        settings = json.loads(text)
        writers = {"cityscapes": write_cityscapes_part, "imagefolder": write_imagefolder_part, "coco": write_coco_part}
        write_part = writers[settings["layout"]]
        write_part(Path(folder), settings, int(worker), int(workers))
        return
    parser = argparse.ArgumentParser(
        prog="python -m lightseg.streets", description="Render a contact sheet of the procedural streets."
    )
    parser.add_argument("sheet", help="the PNG to write")
    parser.add_argument("--seed", type=int, default=0, help="of the first scene")
    parser.add_argument("--rows", type=int, default=4)
    parser.add_argument("--columns", type=int, default=3)
    parser.add_argument("--height", type=int, default=192)
    parser.add_argument("--width", type=int, default=384)
    options = parser.parse_args(arguments)
    count = options.rows * options.columns
    images = [render(options.seed + i, options.height, options.width).image for i in range(count)]
    rows = [np.hstack(images[i : i + options.columns]) for i in range(0, count, options.columns)]
    if not cv2.imwrite(options.sheet, np.vstack(rows)[..., ::-1]):
        parser.error(f"cannot write {options.sheet}")


def exit_with_parent() -> None:
    """Block on stdin, to which nobody writes: the read returns when the parent process has ended, and so does this."""
    os.read(0, 1)
    os._exit(1)


if __name__ == "__main__":
    main(sys.argv[1:])
