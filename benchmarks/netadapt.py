"""NetAdapt on a mini-trained MobileNetV3-Small: to 70 % of its multiply-adds, step by step, and what it costs in mIoU.

    python benchmarks/netadapt.py                                   # writes docs/netadapt.md
    python benchmarks/netadapt.py --epochs 24 --after 12 --delta 0.03

Five runs on mini_seg: the net trained from scratch; the search from its checkpoint; the net that was found, trained for
`--after` epochs with the weights that the search left; for comparison the wide net trained as many epochs more, and the
found net trained from scratch like the wide one. The bar: found, with the epochs after the search, at most 1.5 points
of mIoU under the trained net it came from. `--runs` keeps what is done: the same command goes on after an interruption.
"""

import argparse
import shlex
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.runs import ROOT, run

PAGE = ROOT / "docs" / "netadapt.md"
BAR = 1.5  # points of mIoU


def commands(options: argparse.Namespace) -> dict[str, list[str]]:
    """The words of each run, with {trained} and {found} for the folders of the first two."""
    common = ["task=seg", "data=mini_seg", f"seed={options.seed}", *shlex.split(options.words)]
    small, found = "backbone=mobilenetv3_small", "backbone={found}/arch.yaml"
    weights, trained = "pretrained={found}/checkpoints/best.ckpt", "pretrained={trained}/checkpoints/best.ckpt"
    after = [f"trainer.max_epochs={options.after}", f"optimizer.lr={options.after_lr}"]
    search = [f"search.{key}={getattr(options, key)}" for key in ("target", "delta", "steps", "lr", "variant")]
    return {
        "trained": [*common, small, f"trainer.max_epochs={options.epochs}"],
        "search": [*common, small, trained, "search=netadapt", *search],
        "found": [*common, found, weights, *after],
        "longer": [*common, small, trained, *after],
        "scratch": [*common, found, f"trainer.max_epochs={options.epochs}"],
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
    whole = records["trained"]["cost"]["madds"]
    for name, record in records.items():
        cost = record["cost"]
        epochs = "-" if name == "search" else record["config"]["trainer"]["max_epochs"]
        lines.append(
            f"| {TITLES[name]} | {epochs} | {100 * record['metrics']['val/mIoU']:.2f} | {cost['madds'] / 1e6:.2f} | "
            f"{cost['madds'] / whole:.3f} | {cost['params'] / 1e6:.3f} | {cost['latency_ms']:.2f} |"
        )
    return "\n".join(lines)


def page(
    records: dict[str, dict[str, Any]], steps: str, words: dict[str, list[str]], command: str, machine: str
) -> str:
    figures = {name: 100 * record["metrics"]["val/mIoU"] for name, record in records.items()}
    left, gained = (figures[name] - figures["trained"] for name in ("search", "found"))
    share = records["found"]["cost"]["madds"] / records["trained"]["cost"]["madds"]
    verdict = "met" if -gained <= BAR else "not met"
    images = records["trained"]["protocol"]["images"]
    listed = "\n".join(f"    python train.py {shlex.join(one)}   # {name}" for name, one in words.items())
    return f"""\
# NetAdapt, measured

Written by `{command}`; do not edit. Data: mini_seg ({images} images), which compares with nothing else. Machine:
{machine}. What it does: [search_netadapt.md](search_netadapt.md).

**{100 * share:.1f} % of the multiply-adds, mIoU {left:+.2f} points as the search leaves the net,
{gained:+.2f} after more training** (the bar, at most {BAR} lost: {verdict}; the wide net gains by training on too).
One seed.

{table(records)}

## Step by step

{steps}
## The commands

{listed}
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=12, help="of the net that the search begins with (12)")
    parser.add_argument("--after", type=int, default=12, help="of the found net, with its weights (12)")
    parser.add_argument("--after-lr", type=float, default=2e-3, help="learning rate of these (0.002)")
    parser.add_argument("--target", type=float, default=0.7, help="share of the multiply-adds (0.7)")
    parser.add_argument("--delta", type=float, default=0.05, help="of each step (0.05)")
    parser.add_argument("--steps", type=int, default=75, help="optimizer steps of each proposal (75: one epoch)")
    parser.add_argument("--lr", type=float, default=1e-3, help="learning rate of these (0.001)")
    parser.add_argument("--variant", default="netadapt", choices=("netadapt", "evolution"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--words", default="", help="more words for every command of train.py")
    parser.add_argument("--runs", type=Path, default=ROOT / "runs" / "benchmark_netadapt", help="where runs are kept")
    parser.add_argument("--print", action="store_true", help="print the page, do not write it")
    options = parser.parse_args()
    folders: dict[str, Path] = {}
    records: dict[str, dict[str, Any]] = {}
    for name, words in commands(options).items():
        places = {"{trained}": str(folders.get("trained", "")), "{found}": str(folders.get("search", ""))}
        for place, folder in places.items():
            words = [word.replace(place, folder) for word in words]
        folders[name], records[name] = run(words, options.runs.resolve() / name)
    steps = (folders["search"] / "steps.md").read_text(encoding="utf-8")
    from lightseg.profile.machine import machine

    command = shlex.join(["python", "benchmarks/netadapt.py", *(word for word in sys.argv[1:] if word != "--print")])
    text = page(records, steps, commands(options), command, machine())
    print(text)
    if not options.print:
        PAGE.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
