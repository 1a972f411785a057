"""Progressive learning against full-size pictures from the start: the same epochs, time and accuracy, three seeds.

    python benchmarks/progressive.py            # 6 runs; writes docs/progressive.md

ShuffleNetV2 x1.0 on mini_cls in pictures of 128 pixels: in smaller ones so small a net spends most of a step on
calling its layers. Without: every epoch at the full size. With: four stages of growing pictures (EfficientNetV2,
arXiv:2104.00298, section 4.2), the last two at the full size; evaluated at the full size, every fifth epoch. Seconds
are of the whole run as its record has them, from the command to the record, evaluation included; runs take turns, so
that a machine that slows down slows both. `--results` keeps what is done: the same command goes on after an
interruption.
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
    "data.eval.size=128 data.cache=true trainer.check_val_every_n_epoch=5"
)
WITH = "schedule.image_size=[64,80,128,128]"


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


def page(results: dict[str, list[dict[str, float]]], words: dict[str, str], where: str) -> str:
    plain, progressive = results.values()
    saved = 1 - statistics.mean(r["seconds"] for r in progressive) / statistics.mean(r["seconds"] for r in plain)
    gained = statistics.mean(r["top1"] for r in progressive) - statistics.mean(r["top1"] for r in plain)
    commands = "\n".join(f"    python train.py {text} seed=0   # {name}" for name, text in words.items())
    return f"""\
# Progressive learning, measured

Written by `python benchmarks/progressive.py`; do not edit. Data: mini_cls, which compares with nothing else. The same
epochs and seeds; runs of both kinds took turns. {where}

{table(results)}

Time saved: {saved:.0%}. Top-1 gained: {gained:+.1f} points.

{commands}
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, default=24)
    parser.add_argument("--results", type=Path, help="JSON file of the runs that are done")
    parser.add_argument("--progressive", default=WITH, help="what the progressive run says more")
    parser.add_argument("--print", action="store_true", help="print the page, do not write it")
    options = parser.parse_args()
    common = f"{COMMON} trainer.max_epochs={options.epochs}"
    words = {"full size": common, "progressive": f"{common} {options.progressive}"}
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
