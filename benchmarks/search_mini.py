"""A search on mini_seg, and its net against random nets of the same space and budget, with the same training.

    python benchmarks/search_mini.py                 # the search (15 minutes at most on two cores), then 9 trainings
    python benchmarks/search_mini.py --seeds 0 1 --write          # two seeds per net; writes docs/search.md
    python benchmarks/search_mini.py --epochs 1 --search-epochs 2 --random 1 --train 16 --val 4     # a quick check

Every step is a `python train.py ...`, which is printed; the same command continues after an interruption. Random nets
are sampled uniformly and kept if they cost between 80 and 100 % of the budget, whatever they score. The net of the
search is above their Pareto front if all nets that cost no more score lower, or, if there are none, if all nets score
lower.
"""

import argparse
import json
import os
import random
import shlex
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

SPACE = "dmasking_mini"
MIN_COST = 0.8  # of the budget
HEIGHT, WIDTH = 96, 192


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--target", type=float, default=16e6, help="multiply-adds of the backbone at 96x192")
    parser.add_argument("--search-epochs", type=int, default=36)
    parser.add_argument("--epochs", type=int, default=16, help="of every net's training")
    parser.add_argument("--random", type=int, default=8)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--train", type=int, default=600)
    parser.add_argument("--val", type=int, default=80)
    parser.add_argument("--out", type=Path, default=Path("runs/search_mini"))
    parser.add_argument("--write", action="store_true", help="into docs/search.md")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    data = [
        "task=seg",
        "data=mini_seg",
        f"data.root={arguments.out / f'mini_{arguments.train}'}",
        f"data.size=[{HEIGHT},{WIDTH}]",
        f"data.augment.crop_size=[{HEIGHT},{WIDTH}]",
        f"data.count={{train: {arguments.train}, val: {arguments.val}}}",
        "schedule.warmup_steps=1" if arguments.train < 100 else "schedule.warmup_steps=50",
        "logger=csv",
    ]
    search = [
        f"backbone={SPACE}",
        "search=dmasking",
        f"search.target={arguments.target:g}",
        "search.lr=0.03",
        f"trainer.max_epochs={arguments.search_epochs}",
        f"runs_dir={arguments.out / 'search'}",
        "seed=0",
    ]
    folder = run_search([*data, *search])
    files = [folder / "arch.yaml", *random_nets(arguments)]
    training = [
        f"backbone={','.join(map(str, files))}",
        f"seed={','.join(map(str, arguments.seeds))}",
        f"trainer.max_epochs={arguments.epochs}",
        f"runs_dir={arguments.out / 'nets'}",
    ]
    train([*data, *training])
    report(arguments, folder, files, [*data, *search], [*data, *training])


def train(overrides: list[str]) -> None:
    print(f"python train.py {shlex.join(overrides)}", flush=True)
    if subprocess.run([sys.executable, str(ROOT / "train.py"), *overrides]).returncode:
        sys.exit("that run failed: its error is above")


def run_search(overrides: list[str]) -> Path:
    """The run folder of the search. A finished search is not repeated."""
    from lightseg.config.compose import compose, plain
    from tasks.run import run_folder

    runs = run_folder.find_runs(plain(compose(overrides)))
    if runs.finished is None:
        train([f"resume={runs.resumable}"] if runs.resumable else overrides)
        runs = run_folder.find_runs(plain(compose(overrides)))
    assert runs.finished is not None, "the search has no record"
    return runs.finished[0]


def random_nets(arguments: argparse.Namespace) -> list[Path]:
    from lightseg.backbones.supernet.gumbel import decisions
    from lightseg.backbones.supernet.supernet import create_supernet
    from lightseg.catalog.arch_yaml import write_arch
    from lightseg.catalog.spaces import read_space
    from lightseg.search.dmasking.cost import Costs
    from lightseg.search.dmasking.derive import derive_arch

    net: Any = create_supernet(read_space(SPACE), output_stride=16).net
    costs, generator = Costs(net, (HEIGHT, WIDTH), "madds"), random.Random(0)
    files: list[Path] = []
    for _ in range(100_000):
        if len(files) == arguments.random:
            return files
        choices = {name: generator.randrange(len(decision)) for name, decision in decisions(net).items()}
        if MIN_COST * arguments.target <= costs.cost_of(choices) <= arguments.target:
            files.append(arguments.out / f"random_{len(files) + 1}.yaml")
            write_arch(derive_arch(net, choices), files[-1])
    sys.exit(f"the space has too few nets of {MIN_COST:g} to 1 times {arguments.target:g} multiply-adds")


def report(
    arguments: argparse.Namespace, folder: Path, files: list[Path], search: list[str], training: list[str]
) -> None:
    from benchmarks.sections import write_section
    from lightseg.catalog.arch_yaml import read_arch
    from lightseg.profile.machine import machine

    scores: dict[str, list[float]] = {}
    costs: dict[str, dict[str, float]] = {}
    for path in (arguments.out / "nets").glob("*/*/*/*/record.json"):
        record = json.loads(path.read_text())
        if record["seed"] in arguments.seeds and record["config"]["trainer"]["max_epochs"] == arguments.epochs:
            scores.setdefault(record["backbone"], []).append(record["metrics"]["val/mIoU"])
            costs[record["backbone"]] = record["cost"]
    names = [read_arch(path).name for path in files]
    means = {name: statistics.mean(scores[name]) for name in names}
    searched, others = names[0], names[1:]
    as_cheap = [name for name in others if costs[name]["madds"] <= costs[searched]["madds"]]
    ahead = sum(means[name] < means[searched] for name in others)
    above = ahead == len(others) or (bool(as_cheap) and all(means[name] < means[searched] for name in as_cheap))
    wall = json.loads((folder / "record.json").read_text())["wall_s"]
    lines = [
        f"`python benchmarks/search_mini.py {shlex.join(w for w in sys.argv[1:] if w != '--write')}`".replace(" `", "`")
        + f" ({machine()}; load at the end {os.getloadavg()[0]:.1f}). The search took {wall:.0f} s:",
        "",
        f"    python train.py {shlex.join(search)}",
        "",
        "and every net was trained from scratch by",
        "",
        f"    python train.py {shlex.join(training)}",
        "",
        "| net | M multiply-adds | M parameters | mIoU % | seeds |",
        "|---|---|---|---|---|",
    ]
    for name, path in sorted(zip(names, files, strict=True), key=lambda pair: -means[pair[0]]):
        label = "**found**" if name == searched else path.stem
        by_seed = ", ".join(f"{100 * score:.2f}" for score in scores[name])
        madds, params = costs[name]["madds"] / 1e6, costs[name]["params"] / 1e6
        lines.append(f"| {label} | {madds:.2f} | {params:.3f} | {100 * means[name]:.2f} | {by_seed} |")
    verdict = "lies above" if above else "does NOT lie above"
    lines += [
        "",
        f"Whole models, head included, one image of {HEIGHT}x{WIDTH}. The found net {verdict} the Pareto front of "
        f"the random ones; it scores higher than {ahead} of {len(others)}, whatever those cost.",
    ]
    text = "\n".join(lines)
    print(text)
    if arguments.write:
        write_section("search.md", "benchmarks/search_mini.py", text)


if __name__ == "__main__":
    main()
