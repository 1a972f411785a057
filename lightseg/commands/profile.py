"""`lightseg profile backbone=shufflenetv2_x1_0 task=seg`: the cost of a model, by stage and layer."""

import argparse
import json
import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from lightseg.errors import LightsegError, nearest
from lightseg.output_paths import check_outputs

Table = Callable[[dict[str, Any]], str]
Draw = Callable[[dict[str, Any]], Any]
KEYS = ("backbone", "task", "image_size", "num_classes", "in_chans", "output_stride")
INTEGERS = ("num_classes", "in_chans", "output_stride")
MAX_SIDE = 16384  # pixels of a side


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "overrides",
        nargs="*",
        metavar="override",
        help=f"a checkpoint, or {'=, '.join(KEYS)}=, head.name= and its options",
    )
    parser.add_argument("--layers", action="store_true", help="also a line for each layer")
    parser.add_argument("--json", action="store_true", help="as JSON, with every layer")
    parser.add_argument("--overwrite", action="store_true", help="replace an existing --plot")
    parser.add_argument("--plot", "--picture", metavar="FILE.png", help="bars: MAdds and measured time by layer")
    parser.add_argument("--runs", type=int, default=20, metavar="N", help="timed forward passes (20), 0: none")
    parser.add_argument("--compile", action="store_true", help="also torch.compile, which takes minutes")
    parser.add_argument("--no-onnx", action="store_true", help="without ONNX Runtime")
    parser.add_argument(
        "--guidelines", action="store_true", help="ShuffleNetV2's four experiments on this machine, 1 to 3 minutes"
    )
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="of --guidelines (1)")


def run(arguments: argparse.Namespace) -> None:
    if arguments.runs < 0 or arguments.threads < 1:
        raise LightsegError("--runs must be 0 or more, --threads 1 or more")
    if arguments.guidelines and arguments.overrides:
        raise LightsegError(f"--guidelines measures its own nets: leave out '{arguments.overrides[0]}'")
    if arguments.plot and not arguments.runs:
        raise LightsegError("--plot shows measured time: give --runs 1 or more")
    plot_path = _plot_path(arguments.plot, arguments.overwrite)
    checkpoint, values = read_overrides(arguments.overrides)
    try:
        measured = _guidelines(arguments) if arguments.guidelines else _profile(arguments, checkpoint, values)
    except ModuleNotFoundError as error:
        raise LightsegError(f"profile needs {error.name}: pip install 'lightseg[train]'") from error
    report, table, draw = measured
    print(json.dumps(report, indent=1) if arguments.json else table(report))
    if plot_path:
        from lightseg.draw import save_image

        save_image(draw(report), plot_path)


def _guidelines(arguments: argparse.Namespace) -> tuple[dict[str, Any], Table, Draw]:
    from lightseg.profile.guidelines import guidelines
    from lightseg.profile.guidelines_report import guidelines_plot, guidelines_table

    return guidelines(threads=arguments.threads), guidelines_table, guidelines_plot


def _profile(
    arguments: argparse.Namespace, checkpoint: str | None, values: dict[str, Any]
) -> tuple[dict[str, Any], Table, Draw]:
    from lightseg.profile.api import profile
    from lightseg.profile.model_args import requested_model
    from lightseg.profile.report import profile_plot, profile_table

    model, image_size = requested_model(checkpoint, values)
    report = profile(model, image_size, runs=arguments.runs, onnx=not arguments.no_onnx, compiled=arguments.compile)
    return report, partial(profile_table, layers=arguments.layers), profile_plot


def read_overrides(overrides: Sequence[str]) -> tuple[str | None, dict[str, Any]]:
    """Overrides of the command line -> a checkpoint or None, and the values by key. Keys `head.*` are in a dict `head`.

    Raises:
        LightsegError: an unknown key, a value of the wrong type, two checkpoints.
    """
    checkpoint: str | None = None
    values: dict[str, Any] = {}
    for override in overrides:
        key, equals, text = override.partition("=")
        if not equals or Path(override).is_file():
            if checkpoint is not None:
                raise LightsegError(f"'{override}' is a second checkpoint: profile one at a time")
            checkpoint = override
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
        if len(pixels) not in (1, 2) or not all(1 <= side <= MAX_SIDE for side in pixels):
            raise LightsegError(f"image_size={text}: give pixels (512, 512x1024 or [512,1024]), each up to {MAX_SIDE}")
        return pixels[0], pixels[-1]
    if key in INTEGERS and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
        raise LightsegError(f"{key}={text}: give a whole number of 1 or more")
    if key in ("backbone", "task") and not text:
        raise LightsegError(f"{key}= has no value: give a name")
    return text if key in ("backbone", "task") else value


def _plot_path(path_text: str | None, overwrite: bool) -> Path | None:
    """The path of --plot, checked before anything is measured."""
    if path_text is None:
        return None
    path = Path(path_text)
    if path.suffix.lower() != ".png":
        raise LightsegError(f"--plot {path_text}: give a name that ends in .png")
    check_outputs([path], overwrite=overwrite, option="--plot")
    if path.is_dir() or not path.parent.is_dir() or not os.access(path.parent, os.W_OK):
        raise LightsegError(f"--plot {path_text} cannot be written there")
    return path
