"""NetAdapt on MobileNetV3-Small, trained on mini_seg: to 70 % of its multiply-adds, and the loss in mIoU.

    python benchmarks/netadapt.py                                   # writes docs/netadapt.md
    python benchmarks/netadapt.py --epochs 24 --after 12 --delta 0.03

Five runs on mini_seg: the net trained from scratch; the search from its checkpoint; the resulting net, fine-tuned for
`--after` epochs from the weights of the search; for comparison the original net trained for the same additional epochs,
and the resulting net trained from scratch. The aim: the fine-tuned net loses at most 1.5 points of mIoU against the
trained net. `--runs` keeps the runs: the same command continues after an interruption.
"""

import argparse
import shlex
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.runs import ROOT, page_parser, publish, run

PAGE = ROOT / "docs" / "netadapt.md"
MAX_LOSS = 1.5  # points of mIoU


def commands(options: argparse.Namespace) -> dict[str, list[str]]:
    """The overrides of each run, with {trained} and {found} for the folders of the first two runs."""
    common = ["task=seg", "data=mini_seg", f"seed={options.seed}", *shlex.split(options.overrides)]
    small, adapted = "backbone=mobilenetv3_small", "backbone={found}/arch.yaml"
    weights, trained = "pretrained={found}/checkpoints/best.ckpt", "pretrained={trained}/checkpoints/best.ckpt"
    after = [f"trainer.max_epochs={options.after}", f"optimizer.lr={options.after_lr}"]
    search = [f"search.{key}={getattr(options, key)}" for key in ("target", "delta", "steps", "lr", "variant")]
    return {
        "trained": [*common, small, f"trainer.max_epochs={options.epochs}"],
        "search": [*common, small, trained, "search=netadapt", *search],
        "found": [*common, adapted, weights, *after],
        "longer": [*common, small, trained, *after],
        "scratch": [*common, adapted, f"trainer.max_epochs={options.epochs}"],
    }


TITLES = {
    "trained": "trained from scratch: where the search begins",
    "search": "found, as the search leaves it",
    "found": "found, trained on",
    "longer": "the wide net, trained on as long",
    "scratch": "found, trained from scratch",
}


def table(records: dict[str, dict[str, Any]]) -> str:
    lines = [
        "| net | epochs | mIoU % | M MAdds | of the wide net | M parameters | ms |",
        "|---|--:|--:|--:|--:|--:|--:|",
    ]
    original = records["trained"]["cost"]["madds"]
    for name, record in records.items():
        cost = record["cost"]
        epochs = "-" if name == "search" else record["config"]["trainer"]["max_epochs"]
        lines.append(
            f"| {TITLES[name]} | {epochs} | {100 * record['metrics']['val/mIoU']:.2f} | {cost['madds'] / 1e6:.2f} | "
            f"{cost['madds'] / original:.3f} | {cost['params'] / 1e6:.3f} | {cost['latency_ms']:.2f} |"
        )
    return "\n".join(lines)


def page(
    records: dict[str, dict[str, Any]], steps: str, overrides: dict[str, list[str]], command: str, machine: str
) -> str:
    figures = {name: 100 * record["metrics"]["val/mIoU"] for name, record in records.items()}
    after_search, after_training = (figures[name] - figures["trained"] for name in ("search", "found"))
    ratio = records["found"]["cost"]["madds"] / records["trained"]["cost"]["madds"]
    verdict = "met" if -after_training <= MAX_LOSS else "not met"
    images = records["trained"]["protocol"]["images"]
    listed = "\n".join(f"    python train.py {shlex.join(texts)}   # {name}" for name, texts in overrides.items())
    return f"""\
# NetAdapt, measured

Written by `{command}`; do not edit. Data: mini_seg ({images} images), which compares with nothing else. Machine:
{machine}. What it does: [search_netadapt.md](search_netadapt.md).

**{100 * ratio:.1f} % of the multiply-adds, mIoU {after_search:+.2f} points as the search leaves the net,
{after_training:+.2f} after more training** (the bar, at most {MAX_LOSS} lost: {verdict}; the wide net gains by
training on too).
One seed.

{table(records)}

## Step by step

{steps}
## The commands

{listed}
"""


def main() -> None:
    parser = page_parser(__doc__)
    parser.add_argument("--epochs", type=int, default=12, help="of training before the search (12)")
    parser.add_argument("--after", type=int, default=12, help="epochs of training after the search (12)")
    parser.add_argument("--after-lr", type=float, default=2e-3, help="learning rate of these (0.002)")
    parser.add_argument("--target", type=float, default=0.7, help="fraction of the multiply-adds (0.7)")
    parser.add_argument("--delta", type=float, default=0.05, help="of each step (0.05)")
    parser.add_argument("--steps", type=int, default=75, help="optimizer steps of each proposal (75: an epoch)")
    parser.add_argument("--lr", type=float, default=1e-3, help="learning rate of these (0.001)")
    parser.add_argument("--variant", default="netadapt", choices=("netadapt", "evolution"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--overrides", default="", help="more overrides for every run")
    parser.add_argument("--runs", type=Path, default=ROOT / "runs" / "benchmark_netadapt", help="folder of the runs")
    options = parser.parse_args()
    folders: dict[str, Path] = {}
    records: dict[str, dict[str, Any]] = {}
    for name, overrides in commands(options).items():
        paths = {"{trained}": str(folders.get("trained", "")), "{found}": str(folders.get("search", ""))}
        for placeholder, folder in paths.items():
            overrides = [text.replace(placeholder, folder) for text in overrides]
        folders[name], records[name] = run(overrides, options.runs.resolve() / name)
    steps = (folders["search"] / "steps.md").read_text(encoding="utf-8")
    from lightseg.profile.machine import machine

    command = shlex.join(["python", "benchmarks/netadapt.py", *(text for text in sys.argv[1:] if text != "--print")])
    publish(page(records, steps, commands(options), command, machine()), PAGE, options)


if __name__ == "__main__":
    main()
