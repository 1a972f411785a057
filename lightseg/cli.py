"""The console program: `lightseg models "shufflenet*"`.

A verb is a file of lightseg/verbs, imported when it is asked for: what one of them needs costs the others nothing.
Exit code 0, or 2 with one line for anything the user can mend, or 130 when interrupted.
"""

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module

from lightseg.errors import LightsegError, one_line

VERBS = {  # name -> what --help says of it
    "train": "one backbone on one task, or a sweep of many: trained, evaluated, recorded (lightseg train --help)",
    "models": "the backbones: cost, published accuracy, maps, weights and their licence",
    "export": "a checkpoint as ONNX, OpenVINO, ExecuTorch or torch file, verified; int8",
    "compress": "a checkpoint as a small file: pruning, shared weights, entropy coding",
    "profile": "what a model costs, by stage and layer; ShuffleNetV2's guidelines on this machine",
    "predict": "answers of a checkpoint or exported file on pictures, videos, a camera",
    "leaderboard": "what finished runs measured, in tables that may be compared",
    "sync": "uploads to W&B the runs that were trained offline",
}

TRAIN = "train"  # its overrides are no options of argparse: they reach the trainer as they are


def parser(chosen: str | None = None) -> argparse.ArgumentParser:
    """With the arguments of the chosen verb alone: the others' files are not imported."""
    program = argparse.ArgumentParser(
        prog="lightseg", description="Lightweight vision networks, measured and compared."
    )
    verbs = program.add_subparsers(dest="verb", required=True, metavar="verb")
    for name, text in VERBS.items():
        verb = verbs.add_parser(name, help=text, description=text)
        if name == chosen != TRAIN:
            import_module(f"lightseg.commands.{name}").add_arguments(verb)
    return program


def main(words: Sequence[str] | None = None) -> int:
    words = sys.argv[1:] if words is None else words
    if words and words[0] == TRAIN:
        return import_module("lightseg.commands.train").main(words[1:])
    try:
        arguments = parser(words[0] if words else None).parse_args(words)
        import_module(f"lightseg.commands.{arguments.verb}").run(arguments)
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
