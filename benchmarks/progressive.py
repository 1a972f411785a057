"""Progressive learning against training at the full image size: time and accuracy for the same epochs, three seeds.

    python benchmarks/progressive.py            # 18 runs, 130 minutes on two cores; writes docs/progressive.md

ShuffleNetV2 x1.0 on mini_cls with images of 128 pixels (for smaller ones the overhead of calling layers dominates),
with the 1,600 training images of the data and with a quarter of them. Three kinds of run:

- full size: every epoch at 128 pixels, with the weak augmentation of the data;
- full size, RandAugment: with the final magnitude of the progressive run in every epoch;
- progressive: four phases with growing image size and RandAugment (EfficientNetV2, arXiv:2104.00298, section 4.2), the
  last two at the full size.

All are evaluated after the last epoch, at the full size on 2,000 images, so no run selects its epoch and a standard
error of top-1 is 0.6 to 0.8 points. Seconds are those of the record, from the command to the record, with evaluation;
runs are sequential and the kinds alternate. `--results` keeps results: the same command continues after an
interruption.
"""

import os
import statistics
import sys
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.runs import ROOT, Results, page_parser, publish, record_of
from lightseg.config.compose import compose, plain
from lightseg.profile.machine import machine
from lightseg.streets.prepare import mini_cls

PAGE = ROOT / "docs" / "progressive.md"
COMMON = (
    "task=cls backbone=shufflenetv2_x1_0 data.size=128 data.augment.size=128 data.eval.size=128 data.count.val=2000 "
    "data.cache=true"
)
PARTS = {
    "1,600 images, 60 epochs": ("data.root=datasets/mini_cls_128", 60),
    "400 images, 120 epochs": ("data.root=datasets/mini_cls_128_400 data.count.train=400", 120),
}
KINDS = {
    "full size": "",
    "full size, RandAugment": " data.augment.randaugment=9",
    "progressive": " schedule.image_size=[48,64,128,128] schedule.randaugment=[0,9]",
}
Figures = dict[str, list[dict[str, float]]]  # by kind, `seconds` and `top1` per seed


def commands(part: str) -> dict[str, str]:
    """The overrides of each kind of run."""
    data, epochs = PARTS[part]
    common = f"{COMMON} {data} trainer.max_epochs={epochs} trainer.check_val_every_n_epoch={epochs}"
    return {kind: common + more for kind, more in KINDS.items()}


def measured(overrides: str) -> dict[str, float]:
    """Seconds and top-1 of a run."""
    record = record_of(overrides.split())
    return {"seconds": record["wall_s"], "top1": 100 * record["metrics"]["val/top1"]}


def mean(results: list[dict[str, float]], key: str) -> float:
    return statistics.mean(result[key] for result in results)


def prepare(overrides: str) -> None:
    """Render the data before the first run, so that no run's seconds include it."""
    options = plain(compose(overrides.split()))["data"]
    mini_cls({**options, "root": ROOT / options["root"]})


def table(results: Figures) -> str:
    lines = ["| | top-1 %, by seed | mean | seconds, by seed | mean |", "|---|---|--:|---|--:|"]
    for kind, runs in results.items():
        cells = []
        for key, digits, digits_of_mean in (("top1", ".1f", ".2f"), ("seconds", ".0f", ".0f")):
            cells += [", ".join(f"{run[key]:{digits}}" for run in runs), f"{mean(runs, key):{digits_of_mean}}"]
        lines.append(f"| {kind} | {' | '.join(cells)} |")
    return "\n".join(lines)


def differences(results: Figures) -> str:
    """The progressive runs against each other kind."""
    *others, last = results
    lines = [
        f"| {last} against | time saved | top-1 gained in points, by seed | mean ± standard error |",
        "|---|--:|---|--:|",
    ]
    for kind in others:
        saved = 1 - mean(results[last], "seconds") / mean(results[kind], "seconds")
        gained = [ours["top1"] - theirs["top1"] for ours, theirs in zip(results[last], results[kind], strict=True)]
        by_seed = ", ".join(f"{points:+.1f}" for points in gained)
        error = f" ± {statistics.stdev(gained) / len(gained) ** 0.5:.2f}" if len(gained) > 1 else ""
        lines.append(f"| {kind} | {saved:.1%} | {by_seed} | {statistics.mean(gained):+.2f}{error} |")
    return "\n".join(lines)


def page(parts: dict[str, Figures], conditions: str) -> str:
    sections = []
    for part, results in parts.items():
        listed = "\n".join(f"    python train.py {text} seed=0   # {kind}" for kind, text in commands(part).items())
        sections.append(f"## {part}\n\n{table(results)}\n\n{differences(results)}\n\n{listed}\n")
    body = "\n".join(sections)
    return f"""\
# Progressive learning, measured

Written by `python benchmarks/progressive.py`; do not edit. Data: mini_cls, which compares with nothing else. The same
epochs and seeds; one run at a time, the kinds in turn; evaluated once, after the last epoch.
{conditions}

{body}"""


def main() -> None:
    parser = page_parser(__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--results", type=Path, help="JSON file with finished runs")
    options = parser.parse_args()
    results = Results(options.results)
    parts: dict[str, Figures] = {}
    for part in PARTS:
        parts[part] = {kind: [] for kind in KINDS}
        prepare(commands(part)["full size"])
        for seed in options.seeds:
            for kind, text in commands(part).items():
                key = f"{text} seed={seed}"
                parts[part][kind].append(results.get(key, partial(measured, key)))
                print(f"{part}, seed {seed}, {kind}: {parts[part][kind][-1]}", flush=True)
    threads = os.environ.get("OMP_NUM_THREADS", "all")
    publish(page(parts, f"{machine()}, threads: {threads}."), PAGE, options)


if __name__ == "__main__":
    main()
