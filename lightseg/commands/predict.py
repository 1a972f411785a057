"""`lightseg predict best.ckpt street.jpg`: a model's answers on pictures, videos or a camera."""

import argparse

from lightseg.errors import LightsegError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("checkpoint", help="<run>/checkpoints/best.ckpt of any task, or an exported .onnx")
    parser.add_argument("source", help='picture, folder, glob in quotes ("street/*.jpg"), video, or index of a camera')
    parser.add_argument("--output", default="predictions", help="folder for the results (default: predictions)")
    parser.add_argument("--overwrite", action="store_true", help="write into a folder that holds files already")
    parser.add_argument("--batch-size", type=int, help="pictures at a time (default: as many as 4 megapixels hold)")
    parser.add_argument(
        "--size", type=int, nargs="+", metavar=("HEIGHT", "WIDTH"),
        help="of the network's input (default: seg the picture's own, others as in the run's evaluation)",
    )  # fmt: skip
    parser.add_argument("--score", type=float, default=0.3, help="least score of what is drawn (default: 0.3)")
    parser.add_argument(
        "--person-detector",
        metavar="CHECKPOINT",
        help="pose: find people with this detector (default: one fills a picture)",
    )
    parser.add_argument(
        "--persons", metavar="FILE", help="pose: people's boxes as COCO results, in place of a detector"
    )
    parser.add_argument("--no-overlays", action="store_true", help="raw results alone, no pictures")
    parser.add_argument("--frames", type=int, help="of each video or camera (default: all; Ctrl-C ends a camera)")
    parser.add_argument("--device", help="cpu, cuda, cuda:1, mps (default: the first GPU, or the CPU)")


def run(arguments: argparse.Namespace) -> None:
    try:
        from lightseg.inference.api import predict
    except ModuleNotFoundError as error:
        raise LightsegError(f"predict needs {error.name}: pip install 'lightseg[train]'") from error
    summary = predict(
        arguments.checkpoint,
        arguments.source,
        output=arguments.output,
        overwrite=arguments.overwrite,
        batch_size=arguments.batch_size,
        size=arguments.size,
        score=arguments.score,
        person_detector=arguments.person_detector,
        persons=arguments.persons,
        overlays=not arguments.no_overlays,
        most_frames=arguments.frames,
        device=arguments.device,
        progress=True,
    )
    if not summary.done:
        name, reason = summary.failed[0] if summary.failed else (arguments.source, "interrupted")
        raise LightsegError(f"none of {max(1, len(summary.failed))} could be answered; the first: {name}: {reason}")
    rate = summary.done / max(summary.seconds, 1e-9)
    left_out = f", {len(summary.failed)} left out" if summary.failed else ""
    stopped = "interrupted: " if summary.interrupted else ""
    print(
        f"{stopped}{summary.done} answered{left_out} in {summary.seconds:.1f} s ({rate:.1f} a second): {summary.output}"
    )
    if summary.interrupted and not arguments.source.isdecimal():  # a camera has no other end
        raise KeyboardInterrupt
