"""`lightseg score results.json task=det data=coco data.root=...`: predictions of any program, scored."""

import argparse
import re
import sys
from datetime import datetime
from pathlib import Path

from lightseg.errors import LightsegError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("predictions", help="COCO results (det, pose), a folder of PNG files (seg), a CSV file (cls)")
    parser.add_argument("overrides", nargs="+", metavar="key=value", help="task=, data=, data.root=, as for train")
    parser.add_argument("--name", help="of the model (default: that of the predictions)")
    parser.add_argument("--program", default="", help='that predicted, with its version: "mmdet 3.3.0"')
    parser.add_argument("--params", type=int, help="parameters of the model")
    parser.add_argument("--madds", type=int, help="multiply-adds for an image")
    parser.add_argument("--latency-ms", type=float, help="for an image; it is ranked with no other")
    parser.add_argument("--output", metavar="FOLDER", help="of the record (default: runs/<task>/<data>/<name>/<time>)")
    parser.add_argument("--overwrite", action="store_true", help="replace the record of --output")


def run(arguments: argparse.Namespace) -> None:
    try:
        from lightseg.config.compose import compose, plain
    except ModuleNotFoundError as error:
        raise LightsegError(f"score needs {error.name}: pip install 'lightseg[train]'") from error
    path = Path(arguments.predictions)
    if not path.exists():
        raise LightsegError(f"{path}: no such file or folder: give the predictions")
    for key in ("params", "madds", "latency_ms"):
        value = getattr(arguments, key)
        if value is not None and not 0 < value < 1e15:
            raise LightsegError(f"--{key.replace('_', '-')} {value}: give a number above 0")
    if not any(override.startswith("task=") for override in arguments.overrides):
        raise LightsegError("no task: add task=det, pose, seg or cls")
    config = plain(compose(arguments.overrides))
    name = arguments.name or path.stem
    if not name.isprintable() or not name.strip():
        raise LightsegError("--name is empty or has control characters: give the model's name")
    safe = re.sub(r"[^\w.+-]+", "_", name)
    time = datetime.now().strftime("%Y%m%d-%H%M%S")
    default = Path(config["runs_dir"], config["task"], config["data"]["name"], safe, time)
    folder = Path(arguments.output) if arguments.output else default
    if arguments.overwrite:
        _drop_foreign(folder / "record.json")

    from lightseg.scoring.api import score

    content, notes = score(
        path,
        config,
        folder,
        name=name,
        program=arguments.program,
        cost={key: getattr(arguments, key) for key in ("params", "madds", "latency_ms")},
    )
    for note in notes:
        print(f"note: {note}", file=sys.stderr)
    shown = [
        f"{key} {value:.4f}" for key, value in content["metrics"].items() if value is not None and key.count("/") == 1
    ]
    print(f"{content['data']} ({content['protocol']['images']} samples): {'  '.join(shown)}")
    print(f"record: {folder / 'record.json'}")


def _drop_foreign(path: Path) -> None:
    """--overwrite is for records of this command: those of runs stay."""
    import json

    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return
    except (OSError, ValueError):
        content = {}
    if not isinstance(content, dict) or not content.get("foreign"):
        raise LightsegError(f"{path} is the record of a run, which --overwrite does not replace: give another --output")
    path.unlink()
