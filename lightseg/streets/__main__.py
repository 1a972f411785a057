"""`python -m lightseg.streets SHEET.png`: a contact sheet of scenes, to look at. `--share` is how the data
sets' helpers are run.
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

from lightseg.streets.class_writing import write_class_share
from lightseg.streets.coco_writing import write_coco_share
from lightseg.streets.scene import render
from lightseg.streets.writing import write_share


def main(arguments: list[str]) -> None:
    if arguments[:1] == ["--share"]:
        cv2.setNumThreads(1)  # the processes are the parallelism
        threading.Thread(target=end_with_parent, daemon=True).start()
        _, folder, text, worker, workers = arguments
        settings = json.loads(text)
        shares = {"cityscapes": write_share, "imagefolder": write_class_share, "coco": write_coco_share}
        share = shares[settings["layout"]]
        share(Path(folder), settings, int(worker), int(workers))
        return
    parser = argparse.ArgumentParser(
        prog="python -m lightseg.streets", description="Draw a contact sheet of the procedural streets."
    )
    parser.add_argument("sheet", help="the PNG to write")
    parser.add_argument("--seed", type=int, default=0, help="of the first scene")
    parser.add_argument("--rows", type=int, default=4)
    parser.add_argument("--columns", type=int, default=3)
    parser.add_argument("--height", type=int, default=192)
    parser.add_argument("--width", type=int, default=384)
    options = parser.parse_args(arguments)
    count = options.rows * options.columns
    pictures = [render(options.seed + i, options.height, options.width).image for i in range(count)]
    rows = [np.hstack(pictures[i : i + options.columns]) for i in range(0, count, options.columns)]
    if not cv2.imwrite(options.sheet, np.vstack(rows)[..., ::-1]):
        parser.error(f"cannot write {options.sheet}")


def end_with_parent() -> None:
    """Nothing is ever written to a helper's stdin: it ends when the process that asked for the share is gone."""
    os.read(0, 1)
    os._exit(1)


if __name__ == "__main__":
    main(sys.argv[1:])
