"""`lightseg export best.ckpt --format onnx`: a checkpoint as a file of another format, compared with the model."""

import argparse
from typing import Any

from lightseg.export.runner import FORMATS, INT8_FORMATS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("checkpoint", help="of a run: .../checkpoints/best.ckpt")
    parser.add_argument("--format", default="onnx", metavar="FORMAT", help=f"{', '.join(FORMATS)} (onnx)")
    parser.add_argument("--output", metavar="FILE", help="default: beside the checkpoint, with the format's ending")
    parser.add_argument(
        "--size", nargs=2, type=int, metavar=("H", "W"), help="of the images in pixels; default: the evaluation's"
    )
    parser.add_argument("--static", action="store_true", help="batches of one image, of that size only")
    parser.add_argument("--opset", type=int, metavar="N", help="of ONNX")
    parser.add_argument("--argmax", action="store_true", help="segmentation: class ids in place of logits")
    parser.add_argument("--int8", action="store_true", help=f"quantize after training ({', '.join(INT8_FORMATS)})")
    parser.add_argument("--calibrate", metavar="FOLDER", help="images to calibrate --int8 on, like those trained on")
    parser.add_argument(
        "--verify",
        metavar="FOLDER",
        help="images to compare on (drawn streets); for the metric: `lightseg train mode=test ckpt=<the file>`",
    )
    parser.add_argument("--images", type=int, default=64, metavar="N", help="maximum number of images of a folder (64)")
    parser.add_argument("--overwrite", action="store_true", help="replace an existing file")


def run(arguments: argparse.Namespace) -> None:
    from lightseg.export.api import export

    report = export(
        arguments.checkpoint,
        arguments.output,
        format=arguments.format,
        size=tuple(arguments.size) if arguments.size else None,
        static=arguments.static,
        opset=arguments.opset,
        argmax=arguments.argmax,
        int8=arguments.int8,
        calibrate=arguments.calibrate,
        verify=arguments.verify,
        max_images=arguments.images,
        overwrite=arguments.overwrite,
    )
    print(summary(report))


def summary(report: dict[str, Any]) -> str:
    """A report of `lightseg.export.api.export` as a few lines."""
    contract = report["metadata"]["input"]
    height, width = contract["fixed_size"] or ("H", "W")
    plain = contract["channels"] == 3 and contract["bands"] is None
    channels = "RGB" if plain else f"{contract['channels']} channels"
    lines = [
        f"{report['file']}: {report['bytes'] / 1e6:.2f} MB, {report['format']}{' int8' if report['int8'] else ''}, "
        f"{contract['dtype']} {channels} [{contract['batch'] or 'B'}, C, {height}, {width}]",
        f"against the model in float32, on {report['comparison']['images']} images ({report['image_source']}):",
    ]
    parts = {"int8": report, "float32": report["float"]} if report["int8"] else {"": report}
    for title, part in parts.items():
        lines += [f"{title:8}{line}".rstrip() for line in _lines(part)]
    return "\n".join([*lines, f"report: {report['file']}.json"])


def _lines(part: dict[str, Any]) -> list[str]:
    comparison, latency = part["comparison"], part["latency"]
    lines = [
        f"{name}: max difference {output['max_difference']:.2g}, mean {output['mean_difference']:.2g} "
        f"(largest value {output['largest']:.3g})"
        for name, output in comparison["outputs"].items()
    ]
    agreement = comparison["agreement"]
    lines.append("same predictions: " + ("there were none" if agreement is None else f"{100 * agreement:.2f} %"))
    lines.append(
        f"{part['bytes'] / 1e6:.2f} MB; latency {latency['exported_ms']:.1f} ms, eager {latency['eager_ms']:.1f} ms, "
        f"ratio {latency['ratio']:.2f} ({latency['input']}, {latency['threads']} threads)"
    )
    return lines
