"""`lightseg compress best.ckpt --sparsity 0.67 --bits 6`: Deep Compression of a checkpoint into one small file."""

import argparse
import json
from typing import Any


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("checkpoint", help="of a run: .../checkpoints/best.ckpt, best of a run with prune.sparsity")
    parser.add_argument("--output", metavar="FILE", help="default: beside the checkpoint, best.8bit.compressed")
    parser.add_argument(
        "--sparsity", type=float, default=0.0, metavar="FRACTION",
        help="of the weights that become zero, smallest first (default: 0, only those that are zero already)",
    )  # fmt: skip
    parser.add_argument("--scope", default="layer", help="of the sparsity: layer (of each), global (of all weights)")
    parser.add_argument(
        "--bits", type=int, default=8, metavar="N", help="2^N values per layer: 1 to 8, usually 8 or 6 (8)"
    )
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    parser.add_argument("--overwrite", action="store_true", help="replace an existing file")


def run(arguments: argparse.Namespace) -> None:
    from lightseg.compress.api import compress

    report = compress(
        arguments.checkpoint,
        arguments.output,
        sparsity=arguments.sparsity,
        scope=arguments.scope,
        bits=arguments.bits,
        overwrite=arguments.overwrite,
    )
    print(json.dumps(report, indent=1) if arguments.json else summary(report))


def summary(report: dict[str, Any]) -> str:
    """A report of `lightseg.compress.api.compress` as a few lines."""
    size, before = report["bytes"], report["bytes_before"]
    parts = ", ".join(f"{name} {length / 1e6:.3f}" for name, length in report["parts"].items())
    return "\n".join(
        [
            f"{report['file']}: {size / 1e6:.3f} MB, {before / size:.1f} times smaller than the {before / 1e6:.3f} MB "
            "of its numbers",
            f"{report['weights']} weights, {100 * report['kept']:.1f} % not zero, {report['bits']} bits a value",
            f"MB: {parts}",
        ]
    )
