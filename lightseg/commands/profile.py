"""`lightseg profile backbone=shufflenetv2_x1_0 task=seg`: what a model costs, and where."""

import argparse
import json
import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from lightseg.errors import LightsegError, nearest

Table = Callable[[dict[str, Any]], str]
Draw = Callable[[dict[str, Any]], Any]
KEYS = ("backbone", "task", "image_size", "num_classes", "in_chans", "output_stride")
WHOLE_NUMBERS = ("num_classes", "in_chans", "output_stride")
LARGEST = 16384  # pixels of a side


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "words", nargs="*", metavar="word", help=f"a checkpoint, or {'=, '.join(KEYS)}=, head.name= and its options"
    )
    parser.add_argument("--layers", action="store_true", help="a line a layer too")
    parser.add_argument("--json", action="store_true", help="as JSON, with every layer")
    parser.add_argument("--picture", metavar="FILE.png", help="a bar a layer: MAdds against measured time")
    parser.add_argument("--runs", type=int, default=20, metavar="N", help="timed forwards of each kind (20); 0: none")
    parser.add_argument("--compile", action="store_true", help="torch.compile too, which takes minutes")
    parser.add_argument("--no-onnx", action="store_true", help="without ONNX Runtime")
    parser.add_argument(
        "--guidelines", action="store_true", help="ShuffleNetV2's four experiments on this machine, 1 to 3 minutes"
    )
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="of --guidelines (1)")


def run(arguments: argparse.Namespace) -> None:
    if arguments.runs < 0 or arguments.threads < 1:
        raise LightsegError("--runs is a whole number from 0 on, --threads from 1 on")
    if arguments.guidelines and arguments.words:
        raise LightsegError(f"--guidelines measures nets of its own: leave out '{arguments.words[0]}'")
    if arguments.picture and not arguments.runs:
        raise LightsegError("--picture shows measured time: give --runs from 1 on")
    picture = _picture_path(arguments.picture)
    checkpoint, values = read_words(arguments.words)
    try:
        found, table, draw = _guidelines(arguments) if arguments.guidelines else _profile(arguments, checkpoint, values)
    except ModuleNotFoundError as error:
        raise LightsegError(f"profile needs {error.name}: pip install 'lightseg[train]'") from error
    print(json.dumps(found, indent=1) if arguments.json else table(found))
    if picture:
        from lightseg.draw import save_image

        save_image(draw(found), picture)


def _guidelines(arguments: argparse.Namespace) -> tuple[dict[str, Any], Table, Draw]:
    from lightseg.profile.guidelines import guidelines
    from lightseg.profile.guidelines_report import guidelines_picture, guidelines_table

    return guidelines(threads=arguments.threads), guidelines_table, guidelines_picture


def _profile(
    arguments: argparse.Namespace, checkpoint: str | None, values: dict[str, Any]
) -> tuple[dict[str, Any], Table, Draw]:
    from lightseg.profile.api import profile
    from lightseg.profile.model_args import requested
    from lightseg.profile.report import profile_picture, profile_table

    model, image_size = requested(checkpoint, values)
    found = profile(model, image_size, runs=arguments.runs, onnx=not arguments.no_onnx, compiled=arguments.compile)
    return found, partial(profile_table, layers=arguments.layers), profile_picture


def read_words(words: Sequence[str]) -> tuple[str | None, dict[str, Any]]:
    """Words of the command line -> a checkpoint or None, and the values of its keys; `head.` keys in a table `head`.

    Raises:
        LightsegError: an unknown key, a value of the wrong kind, two checkpoints.
    """
    checkpoint: str | None = None
    values: dict[str, Any] = {}
    for word in words:
        key, equals, text = word.partition("=")
        if not equals or Path(word).is_file():
            if checkpoint is not None:
                raise LightsegError(f"'{word}' is one checkpoint too many: they are profiled one at a time")
            checkpoint = word
            continue
        if key not in KEYS and not key.startswith("head."):
            raise LightsegError(f"profile has no key '{key}': {nearest(key, [*KEYS, 'head.name'])}")
        value = _value(key, text)
        if key.startswith("head."):
            values.setdefault("head", {})[key.removeprefix("head.")] = value
        else:
            values[key] = value
    return checkpoint, values


def _value(key: str, text: str) -> Any:
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise LightsegError(f"{key}={text} cannot be read") from error
    if key == "image_size":
        sides = text.lower().split("x") if isinstance(value, str) else value if isinstance(value, list) else [value]
        pixels = [int(side) if str(side).isdecimal() else 0 for side in sides]
        if len(pixels) not in (1, 2) or not all(1 <= side <= LARGEST for side in pixels):
            raise LightsegError(f"image_size={text}: give pixels, as 512, 512x1024 or [512,1024], up to {LARGEST} each")
        return pixels[0], pixels[-1]
    if key in WHOLE_NUMBERS and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
        raise LightsegError(f"{key}={text}: give a whole number from 1 on")
    if key in ("backbone", "task") and not text:
        raise LightsegError(f"{key}= names nothing")
    return text if key in ("backbone", "task") else value


def _picture_path(given: str | None) -> Path | None:
    """Checked before anything is measured."""
    if given is None:
        return None
    path = Path(given)
    if path.suffix.lower() != ".png":
        raise LightsegError(f"--picture {given}: give a name that ends in .png")
    if path.is_dir() or not path.parent.is_dir() or not os.access(path.parent, os.W_OK):
        raise LightsegError(f"--picture {given} cannot be written there")
    return path
