"""docs/timm_backbones.md: one net of each of timm's families under each task, by `python -m tools.timm_table`.

`--choose` writes timm_families.json first: the net with the fewest parameters of each of timm's modules, counted on the
meta device (ten minutes). Names given as arguments are tried and printed, and nothing is written.
"""

import argparse
import json
import multiprocessing
import signal
import sys
import warnings
from collections import Counter
from collections.abc import Iterable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

import timm
import torch
from torch import Tensor

from lightseg.catalog.tasks import TASKS
from lightseg.cpu_training import optimize_for_cpu
from lightseg.errors import LightsegError, one_line
from lightseg.model import create_model

FAMILIES = Path(__file__).with_name("timm_families.json")
PAGE = Path(__file__).parents[1] / "docs" / "timm_backbones.md"
SIZE, BATCH, CLASSES = 128, 2, 5
MAX_PARAMS = 60e6  # of a net that is tried
SECONDS = 300  # of a net under a task
TRAINS, REFUSED, FAILED = "trains", "refused", "fails"
HEAD = """\
# timm's families as backbones

Written by `python -m tools.timm_table`; do not edit. Any name of timm is a `backbone=`. This page tries the smallest
net of each of timm's families under the default head of each task.

A net **trains** if it can be built with random weights, and a batch of {batch} images of {size}x{size} gives a finite
loss and finite gradients. Where it is refused, the line below the table is what `lightseg train` prints. Larger nets of
a family differ in size and seldom in more.
"""


class Outcome(NamedTuple):
    """What became of a net under a task: TRAINS, REFUSED (with its line) or FAILED (with the error)."""

    kind: str
    text: str = ""


def families() -> list[str]:
    """timm's modules, without those that register nets from here."""
    return [name for name in timm.list_modules() if hasattr(timm.models, name)]


def lightest() -> dict[str, dict[str, Any]]:
    """The net with the fewest parameters of each of timm's modules: `name` and `params`."""
    smallest: dict[str, dict[str, Any]] = {}
    for family in families():
        counts = []
        for name in timm.list_models(module=family, exclude_filters="test_*"):
            try:
                with torch.device("meta"):
                    params = sum(p.numel() for p in timm.create_model(name).parameters())
            except Exception:  # a net that computes with values while it is built
                continue
            counts.append((params, name))
        if counts:
            params, name = min(counts)
            smallest[family] = {"name": name, "params": params}
    return smallest


def attempt(name: str, task: str) -> Outcome:
    """A step of training in a child process, which a fault in a library cannot outlive.

    The child is forked from a server that has imported this file and run nothing: no child of this process, whose
    threads (OpenMP's, autograd's) a fork would lose.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(target=_send_outcome, args=(sender, name, task))
    child.start()
    sender.close()
    try:
        outcome: Outcome = receiver.recv()
    except EOFError:
        child.join()
        return Outcome(FAILED, f"the process died of {signal.Signals(-(child.exitcode or 0)).name}")
    child.join()
    return outcome


def _send_outcome(sender: Connection, name: str, task: str) -> None:
    signal.alarm(SECONDS)
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    sender.send(train_a_step(name, task))


def train_a_step(name: str, task: str) -> Outcome:
    torch.manual_seed(0)
    try:
        options = {"image_size": [SIZE, SIZE]} if TASKS[task].default_head == "simcc" else {}
        contract = {"train_size": [SIZE, SIZE], "size": [SIZE, SIZE]}
        model = create_model(name, task, CLASSES, head=options, input=contract)
        optimize_for_cpu(model).train().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        images = torch.randint(0, 256, (BATCH, 3, SIZE, SIZE), dtype=torch.uint8)
        loss = model.head.loss(model(images, training_outputs=True), TARGETS[task]())["loss"]
        loss.backward()
    except LightsegError as error:
        return Outcome(REFUSED, one_line(error)[:300])
    except Exception as error:  # whatever a net raises
        return Outcome(FAILED, f"{type(error).__name__}: {one_line(error)[:200]}")
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    if not loss.isfinite() or not all(gradient.isfinite().all() for gradient in gradients):
        return Outcome(FAILED, "the loss or a gradient is not finite")
    return Outcome(TRAINS)


def _classes() -> dict[str, Any]:
    return {"labels": torch.eye(CLASSES)[:BATCH]}


def _masks() -> dict[str, Any]:
    return {"masks": torch.randint(0, CLASSES, (BATCH, SIZE, SIZE))}


def _boxes() -> dict[str, Any]:
    boxes: list[Tensor] = [torch.tensor([[5.0, 8, 60, 50], [70, 50, 78, 57]]), torch.zeros(0, 4)]
    return {"boxes": boxes, "labels": [torch.tensor([4, 0]), torch.zeros(0, dtype=torch.int64)]}


def _keypoints() -> dict[str, Any]:
    return {
        "images": torch.zeros(BATCH, 3, SIZE, SIZE, dtype=torch.uint8),
        "keypoints": torch.rand(BATCH, CLASSES, 2) * (SIZE - 1),
        "visible": torch.full((BATCH, CLASSES), 2),
        "area": torch.tensor([1000.0, 2000.0]),
    }


TARGETS = {"cls": _classes, "seg": _masks, "det": _boxes, "pose": _keypoints}


def try_all(names: Iterable[str]) -> dict[str, dict[str, Outcome]]:
    """Outcomes by net and task."""
    outcomes: dict[str, dict[str, Outcome]] = {}
    for name in names:
        outcomes[name] = {task: attempt(name, task) for task in TARGETS}
        cells = " ".join(f"{task}:{outcome.kind}" for task, outcome in outcomes[name].items())
        reasons = dict.fromkeys(outcome.text for outcome in outcomes[name].values() if outcome.text)
        print(f"{name:40} {cells}", *(f"    {text}" for text in reasons), sep="\n", flush=True)
    return outcomes


def document(families: dict[str, dict[str, Any]], outcomes: dict[str, dict[str, Outcome]]) -> str:
    titles = [TASKS[task].title for task in TARGETS]
    lines = [
        HEAD.format(batch=BATCH, size=SIZE),
        f"timm {timm.__version__}: {summary(outcomes)}.\n",
        f"| family | net | params M | {' | '.join(titles)} |",
        f"|---|---|--:|{'---|' * len(titles)}",
    ]
    notes: list[str] = []
    large: list[str] = []
    for family, net in families.items():
        if net["name"] not in outcomes:
            large.append(f"{family} (`{net['name']}`)")
            continue
        cells = [outcome.kind for outcome in outcomes[net["name"]].values()]
        lines.append(f"| {family} | `{net['name']}` | {net['params'] / 1e6:.2f} | {' | '.join(cells)} |")
        texts = dict.fromkeys(outcome.text for outcome in outcomes[net["name"]].values() if outcome.text)
        notes += [f"- `{net['name']}`: {text}" for text in texts]
    lines += ["", *notes]
    lines += ["", f"Not tried, for their size: {', '.join(large)}."]
    return "\n".join(lines).rstrip() + "\n"


def summary(outcomes: dict[str, dict[str, Outcome]]) -> str:
    kinds = Counter(outcome.kind for tasks in outcomes.values() for outcome in tasks.values())
    counts = ", ".join(
        f"{kinds[kind]} {text}"
        for kind, text in ((TRAINS, "train"), (REFUSED, "are refused with a line"), (FAILED, "fail"))
    )
    return f"of {sum(kinds.values())} pairs of a net and a task {counts}"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="timm's names; none: one of each family, and the page is written")
    parser.add_argument("--choose", action="store_true", help="choose the net of each family anew")
    options = parser.parse_args(arguments)
    warnings.filterwarnings("ignore")
    if options.choose:
        rows = [f"{json.dumps(family)}: {json.dumps(net)}" for family, net in lightest().items()]
        FAMILIES.write_text("{\n" + ",\n".join(rows) + "\n}\n", encoding="utf-8")
    chosen = json.loads(FAMILIES.read_text(encoding="utf-8"))
    names = options.names or [net["name"] for net in chosen.values() if net["params"] < MAX_PARAMS]
    outcomes = try_all(names)
    print(summary(outcomes))
    if not options.names:
        PAGE.write_text(document(chosen, outcomes), encoding="utf-8")
        print(f"wrote {PAGE}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
