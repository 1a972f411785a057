"""`lightseg predict best.ckpt street.jpg`: a model's predictions on images, videos or a camera."""

import argparse
import signal
from types import FrameType

from lightseg.errors import LightsegError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("checkpoint", help="<run>/checkpoints/best.ckpt of any task, a run's folder, or an .onnx")
    parser.add_argument(
        "source", nargs="+", help="images, folders, globs, videos, list.txt (a path a line), or the index of a camera"
    )
    parser.add_argument("--output", default="predictions", help="folder for the results (default: predictions)")
    parser.add_argument("--overwrite", action="store_true", help="write into a folder that has files already")
    parser.add_argument("--batch-size", type=int, help="images per batch (default: up to 4 megapixels together)")
    parser.add_argument(
        "--size", type=int, nargs="+", metavar=("HEIGHT", "WIDTH"),
        help="of the network's input (default: for seg the image's own, otherwise as in the run's evaluation)",
    )  # fmt: skip
    parser.add_argument(
        "--tile", type=int, nargs="+", metavar=("HEIGHT", "WIDTH"),
        help="seg, det: predict large images in tiles of this size (default: as evaluated; 0: as a whole)",
    )  # fmt: skip
    parser.add_argument("--overlap", type=int, help="pixels that neighboring tiles share (default: an eighth)")
    parser.add_argument("--score", type=float, default=0.3, help="minimum score of drawn predictions (default: 0.3)")
    parser.add_argument("--classes", nargs="+", metavar="CLASS", help="seg, det: leave other classes out")
    parser.add_argument(
        "--person-detector",
        metavar="CHECKPOINT",
        help="pose: detect persons with this detector first (default: one person fills the image)",
    )
    parser.add_argument(
        "--persons", metavar="FILE", help="pose: boxes of persons as COCO results, in place of a detector"
    )
    parser.add_argument("--no-overlays", action="store_true", help="raw results only, no images")
    parser.add_argument("--frames", type=int, help="maximum per video or camera (default: all; Ctrl-C ends a camera)")
    parser.add_argument(
        "--also", nargs="+", default=[], metavar="FORMAT", help="det, pose: further files, yolo and csv"
    )
    parser.add_argument(
        "--annotations", metavar="FILE", help="COCO file of these images: also coco.json, results with its ids"
    )
    parser.add_argument(
        "--explain", metavar="CLASS", help="also heat maps of the evidence for a class, a keypoint or all (checkpoints)"
    )
    parser.add_argument(
        "--explain-layer", type=int, metavar="STAGE",
        help="of the backbone, from 1, shallow to deep (default: all maps that the head reads)",
    )  # fmt: skip
    parser.add_argument("--device", help="cpu, cuda, cuda:1, mps (default: the first GPU, or the CPU)")


def run(arguments: argparse.Namespace) -> None:
    try:
        from lightseg.inference.api import predict
    except ModuleNotFoundError as error:
        raise LightsegError(f"predict needs {error.name}: pip install 'lightseg[train]'") from error
    signal.signal(signal.SIGTERM, _interrupt)  # the results until then are finished, as after Ctrl-C
    summary = predict(
        arguments.checkpoint,
        arguments.source,
        output=arguments.output,
        overwrite=arguments.overwrite,
        batch_size=arguments.batch_size,
        size=arguments.size,
        score=arguments.score,
        tile=arguments.tile,
        overlap=arguments.overlap,
        classes=arguments.classes,
        person_detector=arguments.person_detector,
        persons=arguments.persons,
        overlays=not arguments.no_overlays,
        max_frames=arguments.frames,
        also=arguments.also,
        annotations=arguments.annotations,
        explain=arguments.explain,
        explain_layer=arguments.explain_layer,
        device=arguments.device,
        progress=True,
    )
    if not summary.done:
        name, reason = summary.failed[0] if summary.failed else (arguments.source[0], "interrupted")
        raise LightsegError(f"none of {max(1, len(summary.failed))} could be predicted; the first: {name}: {reason}")
    rate = summary.done / max(summary.seconds, 1e-9)
    left_out = f", {len(summary.failed)} left out" if summary.failed else ""
    stopped = "interrupted: " if summary.interrupted else ""
    timing = f"in {summary.seconds:.1f} s ({rate:.1f} a second)"
    print(f"{stopped}{summary.done} predicted{left_out} {timing}: {summary.output}")
    if summary.interrupted and not arguments.source[0].isdecimal():  # Ctrl-C is the usual end of a camera
        raise KeyboardInterrupt


def _interrupt(number: int, frame: FrameType | None) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # a second one ends at once
    raise KeyboardInterrupt
