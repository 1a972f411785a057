"""The metrics of exported files against those of their checkpoints, on the evaluation images of the runs.

    python benchmarks/export_metrics.py --checkpoints runs/seg/.../best.ckpt runs/pose/.../best.ckpt    # any tasks
    python benchmarks/export_metrics.py --checkpoints runs/cls/.../best.ckpt --print --results /tmp/results.json

Writes docs/export_metrics.md. For each run: the model as in training's evaluation (eager, float32, no flip, one scale),
the ONNX file, and INT8 post-training quantization for ONNX Runtime and OpenVINO, calibrated on images of the training
split with the preprocessing of evaluation. `lightseg export` compares outputs and measures latency, alternating eager
and file, on evaluation images. The data is that of the run's config.yaml, with paths relative to the working directory.
"""

import sys
import tempfile
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.runs import ROOT, Results, page_parser, publish
from lightseg.config.compose import compose, plain
from lightseg.errors import LightsegError

PAGE = ROOT / "docs" / "export_metrics.md"
FLOAT_ONNX = ("ONNX Runtime, float32", "onnx", False)
FILES = (FLOAT_ONNX, ("ONNX Runtime, INT8", "onnx", True), ("OpenVINO, INT8", "openvino", True))
FLOAT_POINTS, INT8_POINTS, OUTPUTS = 0.1, 2.0, 1e-3  # aims: difference of the metric in points of 100, and of outputs


def measure(
    checkpoint: Path, files: tuple[tuple[str, str, bool], ...] = FILES, *, calibration: int = 128, compared: int = 32
) -> dict[str, Any]:
    """
    Args:
        files: (title, format, whether INT8).
        calibration: number of training images for INT8. compared: number of evaluation images to compare outputs on.

    Returns:
        The run (`task`, `data`, `backbone`, `head`, `samples`), `metric` (its name), `eager` (its value), and `files`:
        by title `value`, `max_difference`, `agreement`, `bytes`, `latency`, or the error as `refused`.
    """
    import torch

    from lightseg.export.api import export
    from lightseg.export.exported_model import use_exported
    from lightseg.export.runner import FORMATS, open_exported
    from tasks.run.build import set_up

    config = plain(compose(["mode=test", f"ckpt={checkpoint}", "data.workers=0"]))
    config, data, task = set_up(config)
    task.eval()
    key = task.monitor.removeprefix("val/")
    eager = evaluated(task, data)
    spec = task.model.spec
    result: dict[str, Any] = {
        **{name: spec[name] for name in ("task", "backbone")},
        "head": spec["head"]["name"],
        "data": config["data"]["name"],
        "samples": f"{len(data.dataset(data.evaluation_split))} {data.unit}",
        "metric": key,
        "eager": eager,
        "weights": sum(tensor.numel() * tensor.element_size() for tensor in task.model.parameters()),
        "files": {},
    }
    size = data.evaluation_size()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        train = data.open("train", data.spec.eval_transform(data.options))
        write_images(train, folder / "train", calibration)
        write_images(data.dataset(data.evaluation_split), folder / "val", compared)
        for title, form, int8 in files:
            path = folder / f"net{'.int8' * int8}{FORMATS[form].ending}"
            try:
                report = export(
                    checkpoint,
                    path,
                    format=form,
                    size=size,
                    int8=int8,
                    verify=folder / "val",
                    max_images=max(calibration, compared),
                    calibrate=folder / "train" if int8 else None,
                )
            except LightsegError as error:
                result["files"][title] = {"refused": str(error)}
                continue
            use_exported(task.model, open_exported(path, threads=torch.get_num_threads()))
            outputs = report["comparison"]["outputs"].values()
            result["files"][title] = {
                "value": evaluated(task, data),
                "max_difference": max(output["max_difference"] for output in outputs),
                "agreement": report["comparison"]["agreement"],
                "bytes": report["bytes"],
                "latency": report["latency"],
            }
    return result


def evaluated(task: Any, data: Any) -> float:
    """The metric by which training selects checkpoints, on the evaluation images."""
    import torch

    with torch.inference_mode():
        for batch in data.val_dataloader():
            task.evaluate(batch)
    figure = float(task.metric.compute()[task.monitor.removeprefix("val/")])
    task.metric.reset()
    return figure


def write_images(dataset: Any, folder: Path, max_images: int) -> None:
    """Write the images of up to `max_images` evenly spread samples as PNG files."""
    import cv2

    folder.mkdir()
    count = min(max_images, len(dataset))
    for number in range(count):
        pixels = dataset[number * len(dataset) // count]["image"].permute(1, 2, 0).numpy()
        assert cv2.imwrite(str(folder / f"{number:05d}.png"), cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))


def table(runs: list[dict[str, Any]]) -> str:
    lines = [
        "| | | metric | % | from eager | largest difference of an output | same predictions % "
        "| MB | ms | times eager |",
        "|---|---|---|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for run in runs:
        name = f"{run['task']}, {run['data']} ({run['samples']}), {run['backbone']}, {run['head']}"
        latencies = [file["latency"] for file in run["files"].values() if "latency" in file]
        eager_ms = f"{latencies[0]['eager_ms']:.1f}" if latencies else ""
        cells = [name, "eager, float32", run["metric"], f"{100 * run['eager']:.2f}", "", "", ""]
        rows = [[*cells, f"{run['weights'] / 1e6:.2f}", eager_ms, ""]]
        for title, file in run["files"].items():
            if "refused" in file:
                rows.append(["", title, file["refused"], *[""] * 7])
                continue
            agreement, latency = file["agreement"], file["latency"]
            cells = ["", title, run["metric"], f"{100 * file['value']:.2f}", f"{points(run, file):+.2f}"]
            cells += [f"{file['max_difference']:.2g}", "" if agreement is None else f"{100 * agreement:.2f}"]
            cells += [f"{file['bytes'] / 1e6:.2f}", f"{latency['exported_ms']:.1f}", f"{latency['ratio']:.2f}"]
            rows.append(cells)
        lines += [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join(lines)


def points(run: dict[str, Any], file: dict[str, Any]) -> float:
    return 100 * (file["value"] - run["eager"])


def verdicts(runs: list[dict[str, Any]]) -> str:
    lines = []
    for title, _, int8 in FILES:
        aim = INT8_POINTS if int8 else FLOAT_POINTS
        pairs = [(run, run["files"][title]) for run in runs if "value" in run["files"].get(title, {})]
        if not pairs:
            continue
        worst_run, worst = max(pairs, key=lambda pair: abs(points(*pair)))
        within = sum(abs(points(*pair)) <= aim for pair in pairs)
        line = (
            f"- {title}: {within} of {len(pairs)} within {aim:g} points; the furthest is {worst_run['task']} on "
            f"{worst_run['data']}, {points(worst_run, worst):+.3f}"
        )
        if not int8:
            line += f"; outputs differ by at most {max(f['max_difference'] for _, f in pairs):.2g} (aim {OUTPUTS:g})"
        lines.append(line)
    return "\n".join(lines)


def page(runs: list[dict[str, Any]], checkpoints: list[Path], where: str) -> str:
    command = " ".join(["python benchmarks/export_metrics.py --checkpoints", *map(str, checkpoints)])
    return f"""\
# Exported files, scored

Written by `python benchmarks/export_metrics.py`; do not edit. Each group is one run: its model in eager mode, and the
files that `lightseg export` made of it, on the run's own evaluation images; the fifth column is in points of 100. MB
of eager are its parameters alone. Milliseconds are of one image, eager (NCHW) and the file in turn. INT8 is quantised
after training; nothing is trained further.

{where}

{table(runs)}

{verdicts(runs)}

    {command}
"""


def main() -> None:
    parser = page_parser(__doc__)
    parser.add_argument("--checkpoints", type=Path, nargs="+", required=True, help="of runs: .../checkpoints/best.ckpt")
    parser.add_argument("--calibration", type=int, default=128, help="training images for INT8")
    parser.add_argument("--compared", type=int, default=32, help="evaluation images whose outputs are compared")
    parser.add_argument("--results", type=Path, help="JSON file with finished measurements")
    options = parser.parse_args()
    results = Results(options.results)
    runs = []
    try:
        for checkpoint in options.checkpoints:
            changed = checkpoint.stat().st_mtime_ns if checkpoint.is_file() else 0
            key = f"{checkpoint} of {changed}, {options.calibration}, {options.compared}"
            limits = {"calibration": options.calibration, "compared": options.compared}
            runs.append(results.get(key, partial(measure, checkpoint, **limits)))
            print(f"{checkpoint}: {runs[-1]}", flush=True)
    except LightsegError as error:
        sys.exit(f"error: {error}")
    from lightseg.profile.machine import machine

    publish(page(runs, options.checkpoints, f"{machine()}, {date.today():%Y-%m-%d}."), PAGE, options)


if __name__ == "__main__":
    main()
