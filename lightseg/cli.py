"""The console program: `lightseg models "shufflenet*"`.

Each command is a module of lightseg/commands. Only the module of the chosen command is imported.
Exit code 0, 2 with one line for an error that the user can fix, or 130 when interrupted.
"""

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module

from lightseg import __version__
from lightseg.errors import LightsegError, one_line

COMMANDS = {  # name -> its line in --help
    "train": "train, evaluate and record a backbone on a task, or a sweep of many (lightseg train --help)",
    "data": "a data set before training: counts of its labels, what is suspicious, an HTML page with samples",
    "models": "the backbones: cost, published accuracy, feature maps, weights and their licence",
    "export": "export a checkpoint as a verified ONNX, OpenVINO, ExecuTorch or torch file; int8",
    "compress": "compress a checkpoint into a small file: pruning, shared weights, entropy coding",
    "profile": "the cost of a model by stage and layer; ShuffleNetV2's guidelines on this machine",
    "predict": "predictions of a checkpoint or exported file on images, videos or a camera",
    "score": "score predictions of any program as those of a run: COCO results, PNG masks, CSV",
    "leaderboard": "the results of finished runs in comparable tables",
    "sync": "upload offline runs to W&B",
}

TRAIN = "train"  # its overrides are not options of argparse: they are passed to the trainer unchanged


def parser(chosen: str | None = None) -> argparse.ArgumentParser:
    """The parser, with the arguments of the chosen command only: the other modules are not imported."""
    program = argparse.ArgumentParser(
        prog="lightseg", description="Lightweight vision networks, measured and compared."
    )
    program.add_argument("--version", action="version", version=f"lightseg {__version__}")
    commands = program.add_subparsers(dest="command", required=True, metavar="command")
    for name, text in COMMANDS.items():
        command = commands.add_parser(name, help=text, description=text)
        if name == chosen != TRAIN:
            import_module(f"lightseg.commands.{name}").add_arguments(command)
    return program


def main(argv: Sequence[str] | None = None) -> int:
    argv = sys.argv[1:] if argv is None else argv
    if argv and argv[0] == TRAIN:
        return import_module("lightseg.commands.train").main(argv[1:])
    try:
        arguments = parser(argv[0] if argv else None).parse_args(argv)
        import_module(f"lightseg.commands.{arguments.command}").run(arguments)
    except LightsegError as error:
        print(f"error: {one_line(error)}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # `| head`
        sys.stderr.close()
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
