"""Whether exported files score what their checkpoints score: the task's metric on the run's own evaluation pictures.

    python benchmarks/export_metrics.py --checkpoints runs/seg/.../best.ckpt runs/pose/.../best.ckpt    # any tasks
    python benchmarks/export_metrics.py --checkpoints runs/cls/.../best.ckpt --print --results /tmp/done.json

Writes docs/export_metrics.md. Of each run: the model as training evaluates it (eager, float32, no flip, one scale), the
ONNX file, and what INT8 after training makes of it for ONNX Runtime and OpenVINO, calibrated on pictures of the run's
training split as its evaluation prepares them. Outputs are compared and latency is measured, eager and file in turn, by
`lightseg export` on evaluation pictures. The run folders' config.yaml say which data that is: paths in them are taken
from the current folder.
"""

import argparse
import sys
import tempfile
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.runs import Kept
from lightseg.config.compose import compose, plain
from lightseg.errors import LightsegError

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "export_metrics.md"
FLOAT_ONNX = ("ONNX Runtime, float32", "onnx", False)
FILES = (FLOAT_ONNX, ("ONNX Runtime, INT8", "onnx", True), ("OpenVINO, INT8", "openvino", True))
FLOAT_POINTS, INT8_POINTS, OUTPUTS = 0.1, 2.0, 1e-3  # aims: of the metric in points of 100, and of any output


def measure(
    checkpoint: Path, files: tuple[tuple[str, str, bool], ...] = FILES, *, calibration: int = 128, compared: int = 32
) -> dict[str, Any]:
    """
    Args:
        files: title, format and whether INT8, each.
        calibration: training pictures that INT8 is calibrated on. compared: evaluation pictures whose outputs are.

    Returns:
        What the run is (`task`, `data`, `backbone`, `head`, `samples`), `metric` (its name), `eager`, the model's own,
        and `files`: by title `value`, `max_difference`, `agreement`, `bytes`, `latency`, or `refused`, the reason why
        there is none.
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
        "weights": sum(one.numel() * one.element_size() for one in task.model.parameters()),
        "files": {},
    }
    size = data.evaluation_size()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        train = data.open("train", data.spec.eval_transform(data.options))
        write_pictures(train, folder / "train", calibration)
        write_pictures(data.dataset(data.evaluation_split), folder / "val", compared)
        for title, form, int8 in files:
            path = folder / f"net{'.int8' * int8}{FORMATS[form].ending}"
            most = max(calibration, compared)
            try:
                report = export(
                    checkpoint,
                    path,
                    format=form,
                    size=size,
                    int8=int8,
                    verify=folder / "val",
                    max_images=most,
                    calibrate=folder / "train" if int8 else None,
                )
            except LightsegError as error:
                result["files"][title] = {"refused": str(error)}
                continue
            use_exported(task.model, open_exported(path, threads=torch.get_num_threads()))
            outputs = report["comparison"]["outputs"].values()
            result["files"][title] = {
                "value": evaluated(task, data),
                "max_difference": max(one["max_difference"] for one in outputs),
                "agreement": report["comparison"]["agreement"],
                "bytes": report["bytes"],
                "latency": report["latency"],
            }
    return result


def evaluated(task: Any, data: Any) -> float:
    """The figure that training picks checkpoints by, on the evaluation pictures."""
    import torch

    with torch.inference_mode():
        for batch in data.val_dataloader():
            task.evaluate(batch)
    figure = float(task.metric.compute()[task.monitor.removeprefix("val/")])
    task.metric.reset()
    return figure


def write_pictures(dataset: Any, folder: Path, most: int) -> None:
    """The images of up to `most` samples, evenly spread, as PNG files."""
    import cv2

    folder.mkdir()
    count = min(most, len(dataset))
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
        eager_ms = next((f"{one['latency']['eager_ms']:.1f}" for one in run["files"].values() if "latency" in one), "")
        cells = [name, "eager, float32", run["metric"], f"{100 * run['eager']:.2f}", "", "", ""]
        rows = [[*cells, f"{run['weights'] / 1e6:.2f}", eager_ms, ""]]
        for title, one in run["files"].items():
            if "refused" in one:
                rows.append(["", title, one["refused"], *[""] * 7])
                continue
            same, latency = one["agreement"], one["latency"]
            cells = ["", title, run["metric"], f"{100 * one['value']:.2f}", f"{points(run, one):+.2f}"]
            cells += [f"{one['max_difference']:.2g}", "" if same is None else f"{100 * same:.2f}"]
            rows.append(
                [*cells, f"{one['bytes'] / 1e6:.2f}", f"{latency['exported_ms']:.1f}", f"{latency['ratio']:.2f}"]
            )
        lines += [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join(lines)


def points(run: dict[str, Any], one: dict[str, Any]) -> float:
    return 100 * (one["value"] - run["eager"])


def verdicts(runs: list[dict[str, Any]]) -> str:
    lines = []
    for title, _, int8 in FILES:
        aim = INT8_POINTS if int8 else FLOAT_POINTS
        made = [(run, run["files"][title]) for run in runs if "value" in run["files"].get(title, {})]
        if not made:
            continue
        worst_run, worst = max(made, key=lambda pair: abs(points(*pair)))
        within = sum(abs(points(*pair)) <= aim for pair in made)
        line = (
            f"- {title}: {within} of {len(made)} within {aim:g} points; the furthest is {worst_run['task']} on "
            f"{worst_run['data']}, {points(worst_run, worst):+.3f}"
        )
        if not int8:
            line += f"; outputs differ by at most {max(one['max_difference'] for _, one in made):.2g} (aim {OUTPUTS:g})"
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


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoints", type=Path, nargs="+", required=True, help="of runs: .../checkpoints/best.ckpt")
    parser.add_argument("--calibration", type=int, default=128, help="training pictures for INT8")
    parser.add_argument("--compared", type=int, default=32, help="evaluation pictures whose outputs are compared")
    parser.add_argument("--results", type=Path, help="JSON file of the checkpoints that are done")
    parser.add_argument("--print", action="store_true", help="print the page, do not write it")
    options = parser.parse_args()
    kept = Kept(options.results)
    runs = []
    try:
        for checkpoint in options.checkpoints:
            changed = checkpoint.stat().st_mtime_ns if checkpoint.is_file() else 0
            key = f"{checkpoint} of {changed}, {options.calibration}, {options.compared}"
            limits = {"calibration": options.calibration, "compared": options.compared}
            runs.append(kept.get(key, partial(measure, checkpoint, **limits)))
            print(f"{checkpoint}: {runs[-1]}", flush=True)
    except LightsegError as error:
        sys.exit(f"error: {error}")
    from lightseg.profile.machine import machine

    text = page(runs, options.checkpoints, f"{machine()}, {date.today():%Y-%m-%d}.")
    print(text)
    if not options.print:
        PAGE.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
