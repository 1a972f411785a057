"""Progressive learning against full-size pictures from the start: the same epochs, time and accuracy, three seeds.

    python benchmarks/progressive.py            # 18 runs, 130 minutes on two cores; writes docs/progressive.md

ShuffleNetV2 x1.0 on mini_cls in pictures of 128 pixels: in smaller ones so small a net spends most of a step on
calling its layers. Twice: with the data's own 1,600 training pictures, and with a quarter of them. Three kinds of run:

- full size: every epoch at 128 pixels, the data's own weak augmentation;
- full size, RandAugment: the same with the magnitude that the progressive run ends with, throughout;
- progressive: four stages of growing pictures and growing RandAugment (EfficientNetV2, arXiv:2104.00298, section
  4.2, which grows both), the last two at the full size.

All are evaluated once, after the last epoch, at the full size on 2,000 pictures, so no row chooses its epoch and one
standard error of a run's top-1 is 0.6 to 0.8 points. Seconds are of the whole run as its record has them, from the
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

from tasks.formats import mini_cls

from benchmarks.runs import ROOT, Kept, record_of
from lightseg.config.compose import compose, plain
from lightseg.profile.machine import machine

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
Results = dict[str, list[dict[str, float]]]  # by kind, a result a seed


def commands(part: str) -> dict[str, str]:
    """The words of each kind of run."""
    data, epochs = PARTS[part]
    common = f"{COMMON} {data} trainer.max_epochs={epochs} trainer.check_val_every_n_epoch={epochs}"
    return {kind: common + more for kind, more in KINDS.items()}


def measured(words: str) -> dict[str, float]:
    """Seconds and top-1 of one run."""
    record = record_of(words.split())
    return {"seconds": record["wall_s"], "top1": 100 * record["metrics"]["val/top1"]}


def mean(results: list[dict[str, float]], key: str) -> float:
    return statistics.mean(result[key] for result in results)


def draw_pictures(words: str) -> None:
    """Makes the data where they are not there yet, so that no run's seconds have it in them."""
    options = plain(compose(words.split()))["data"]
    mini_cls({**options, "root": ROOT / options["root"]})


def table(results: Results) -> str:
    lines = ["| | top-1 %, by seed | mean | seconds, by seed | mean |", "|---|---|--:|---|--:|"]
    for kind, found in results.items():
        cells = []
        for key, each, of_mean in (("top1", ".1f", ".2f"), ("seconds", ".0f", ".0f")):
            cells += [", ".join(f"{result[key]:{each}}" for result in found), f"{mean(found, key):{of_mean}}"]
        lines.append(f"| {kind} | {' | '.join(cells)} |")
    return "\n".join(lines)


def differences(results: Results) -> str:
    """The progressive runs against each of the others."""
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


def page(parts: dict[str, Results], where: str) -> str:
    sections = []
    for part, results in parts.items():
        words = "\n".join(f"    python train.py {text} seed=0   # {kind}" for kind, text in commands(part).items())
        sections.append(f"## {part}\n\n{table(results)}\n\n{differences(results)}\n\n{words}\n")
    body = "\n".join(sections)
    return f"""\
# Progressive learning, measured

Written by `python benchmarks/progressive.py`; do not edit. Data: mini_cls, which compares with nothing else. The same
epochs and seeds; one run at a time, the kinds in turn; evaluated once, after the last epoch.
{where}

{body}"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--results", type=Path, help="JSON file of the runs that are done")
    parser.add_argument("--print", action="store_true", help="print the page, do not write it")
    options = parser.parse_args()
    kept = Kept(options.results)
    parts: dict[str, Results] = {}
    for part in PARTS:
        parts[part] = {kind: [] for kind in KINDS}
        draw_pictures(commands(part)["full size"])
        for seed in options.seeds:
            for kind, text in commands(part).items():
                one = f"{text} seed={seed}"
                parts[part][kind].append(kept.get(one, partial(measured, one)))
                print(f"{part}, seed {seed}, {kind}: {parts[part][kind][-1]}", flush=True)
    threads = os.environ.get("OMP_NUM_THREADS", "all")
    text = page(parts, f"{machine()}, threads: {threads}.")
    print(text)
    if not options.print:
        PAGE.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
