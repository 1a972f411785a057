"""Progressive learning against full-size pictures from the start: the same epochs, time and accuracy, three seeds.

    python benchmarks/progressive.py            # 9 runs, about 90 minutes on two cores; writes docs/progressive.md

ShuffleNetV2 x1.0 on mini_cls in pictures of 128 pixels: in smaller ones so small a net spends most of a step on
calling its layers. Three kinds of run:

- full size: every epoch at 128 pixels, the data's own weak augmentation;
- full size, RandAugment: the same with the magnitude that the progressive run ends with, throughout;
- progressive: four stages of growing pictures and growing RandAugment (EfficientNetV2, arXiv:2104.00298, section
  4.2, which grows both), the last two at the full size.

All are evaluated once, after the last epoch, at the full size on 2,000 pictures, so no row chooses its epoch and one
standard error of a run's top-1 is about 0.6 points. Seconds are of the whole run as its record has them, from the
command to the record, evaluation included; one run at a time, and the kinds take turns, so that a machine that slows
down slows all. `--results` keeps what is done: the same command goes on after an interruption.
"""

import argparse
import os
import statistics
import sys
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.runs import ROOT, Kept, record_of
from lightseg.profile.machine import machine

PAGE = ROOT / "docs" / "progressive.md"
COMMON = (
    "task=cls backbone=shufflenetv2_x1_0 data.root=datasets/mini_cls_128 data.size=128 data.augment.size=128 "
    "data.eval.size=128 data.count.val=2000 data.cache=true"
)
WITH = "schedule.image_size=[48,64,128,128] schedule.randaugment=[0,9]"


def measured(words: str) -> dict[str, float]:
    """Seconds and top-1 of one run."""
    record = record_of(words.split())
    return {"seconds": record["wall_s"], "top1": 100 * record["metrics"]["val/top1"]}


def table(results: dict[str, list[dict[str, float]]]) -> str:
    lines = ["| | top-1 %, by seed | mean | seconds, by seed | mean |", "|---|---|--:|---|--:|"]
    for name, found in results.items():
        cells = []
        for key, digits in (("top1", 1), ("seconds", 0)):
            values = [result[key] for result in found]
            cells += [", ".join(f"{value:.{digits}f}" for value in values), f"{statistics.mean(values):.{digits}f}"]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def mean(results: list[dict[str, float]], key: str) -> float:
    return statistics.mean(result[key] for result in results)


def page(results: dict[str, list[dict[str, float]]], words: dict[str, str], where: str) -> str:
    *baselines, last = results
    progressive = results[last]
    differences = []
    for name in baselines:
        plain = results[name]
        saved = 1 - mean(progressive, "seconds") / mean(plain, "seconds")
        gained = [with_["top1"] - without["top1"] for with_, without in zip(progressive, plain, strict=True)]
        by_seed = ", ".join(f"{points:+.1f}" for points in gained)
        differences.append(f"| {last} against {name} | {saved:.0%} | {by_seed} | {statistics.mean(gained):+.2f} |")
    commands = "\n".join(f"    python train.py {text} seed=0   # {name}" for name, text in words.items())
    return f"""\
# Progressive learning, measured

Written by `python benchmarks/progressive.py`; do not edit. Data: mini_cls, which compares with nothing else. The same
epochs and seeds; one run at a time, the kinds in turn; evaluated once, after the last epoch.
{where}

{table(results)}

| | time saved | top-1 gained in points, by seed | mean |
|---|--:|---|--:|
{chr(10).join(differences)}

{commands}
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--results", type=Path, help="JSON file of the runs that are done")
    parser.add_argument("--progressive", default=WITH, help="what the progressive run says more")
    parser.add_argument("--print", action="store_true", help="print the page, do not write it")
    options = parser.parse_args()
    common = f"{COMMON} trainer.max_epochs={options.epochs} trainer.check_val_every_n_epoch={options.epochs}"
    words = {
        "full size": common,
        "full size, RandAugment": f"{common} data.augment.randaugment=9",
        "progressive": f"{common} {options.progressive}",
    }
    results: dict[str, list[dict[str, float]]] = {name: [] for name in words}
    kept = Kept(options.results)
    for seed in options.seeds:
        for name, text in words.items():
            one = f"{text} seed={seed}"
            results[name].append(kept.get(one, partial(measured, one)))
            print(f"seed {seed}, {name}: {results[name][-1]}", flush=True)
    threads = os.environ.get("OMP_NUM_THREADS", "all")
    text = page(results, words, f"{machine()}, threads: {threads}.")
    print(text)
    if not options.print:
        PAGE.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
