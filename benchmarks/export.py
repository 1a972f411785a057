"""Milliseconds per image of MobileNetV3-Large LR-ASPP: eager, eager with settings for CPUs, and exported.

    python benchmarks/export.py                                # 1x3x512x1024, all cores; writes docs/export_speed.md
    python benchmarks/export.py --threads 1 --rounds 30 --print
    python benchmarks/export.py --height 128 --width 256 --rounds 3 --print    # a quick check

All (benchmarks/export_runs.py) give logits of the image's size from the same uint8 pixels and weights. Each runs in a
separate process, because thread pools and allocators belong to a process; they alternate in rounds that begin with
another run each time, and ratios are those of the medians. OpenVINO is optional. The machine should be idle: the page
has the load.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from datetime import date
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.export_runs import BACKBONE, CLASSES, RUNS, prepare
from benchmarks.runs import ROOT, Results, Worker, page_parser, publish

PAGE = ROOT / "docs" / "export_speed.md"
BFLOAT16 = ("avx512_bf16", "amx_bf16", "bf16")  # flags in /proc/cpuinfo; the last is ARM's
AIMS = {"onnx": 2.5, "autocast": 3.0, "bfloat16": 3.0}  # times eager
SETTING = ("height", "width", "threads", "rounds", "warmup", "head", "static")  # options that identify a measurement
FILES = ("onnx", "openvino")  # runs that need a file of this format
REST_S = 0.1  # in which the threads of the previous run stop spinning


def main() -> None:
    parser = page_parser(__doc__)
    parser.add_argument("--height", type=int, default=512)
    parser.add_argument("--width", type=int, default=1024)
    parser.add_argument("--threads", type=int, help="of every run (default: one per CPU)")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--warmup", type=int, default=3)
    parser.add_argument("--head", choices=["paper", "torchvision"], default="paper", help="variant of LR-ASPP")
    parser.add_argument("--static", action="store_true", help="files for this size only")
    parser.add_argument("--results", type=Path, help="JSON file with finished measurements")
    parser.add_argument("--worker", nargs=2, metavar=("NAME", "FOLDER"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        name, folder = options.worker
        work(name, folder, options.threads)
        return
    from lightseg.profile.latency import cpu_count

    options.threads = options.threads or cpu_count()
    names = [name for name in RUNS if name != "openvino" or find_spec("openvino")]
    key = ", ".join(f"{name}={getattr(options, name)}" for name in SETTING)
    publish(page(options, Results(options.results).get(key, lambda: race(options, names))), PAGE, options)


def race(options: argparse.Namespace, names: list[str]) -> dict[str, Any]:
    """Seconds of every round and the largest difference from eager's logits, by run; and the measurement conditions."""
    from lightseg.profile.machine import machine

    size = (options.height, options.width)
    load = [os.getloadavg()[0]] if hasattr(os, "getloadavg") else []
    with tempfile.TemporaryDirectory() as folder:
        prepare(Path(folder), size, options.head, options.static, [name for name in names if name in FILES])
        workers = {name: start(name, folder, options.threads) for name in names}
        seconds: dict[str, list[float]] = {name: [] for name in names}
        differences = {}
        for number in range(options.warmup + options.rounds):
            first = number % len(names)
            for name in (*names[first:], *names[:first]):
                time.sleep(REST_S)
                reply = workers[name].ask("run")
                differences[name] = reply["difference"]
                if number >= options.warmup:
                    seconds[name].append(reply["seconds"])
        for worker in workers.values():
            worker.close()
    return {
        "seconds": seconds,
        "differences": differences,
        "machine": machine(),
        "bfloat16": bfloat16_instructions(),
        "load": [*load, os.getloadavg()[0]] if load else [],
        "date": f"{date.today():%Y-%m-%d}",
        "versions": {name: version(name) for name in ("torch", "onnxruntime", "openvino") if find_spec(name)},
    }


def start(name: str, folder: str, threads: int) -> Worker:
    command = [sys.executable, __file__, "--worker", name, folder, "--threads", str(threads)]
    return Worker(command, env={**os.environ, "OMP_NUM_THREADS": str(threads)})


def work(name: str, folder: str, threads: int) -> None:
    """Run the net for each line on standard input; reply with time and difference from eager."""
    import numpy as np
    import torch

    torch.set_num_threads(threads)
    run = RUNS[name][1](Path(folder))
    expected = np.load(Path(folder) / "logits.npy")
    for _ in sys.stdin:
        start_s = time.perf_counter()
        logits = run()
        seconds = time.perf_counter() - start_s
        print(json.dumps({"seconds": seconds, "difference": float(np.abs(logits - expected).max())}), flush=True)


def bfloat16_instructions() -> list[str] | None:
    """The CPU's bfloat16 flags on Linux; None on other systems."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    flags = {flag for line in lines if line.lower().startswith(("flags", "features")) for flag in line.split()}
    return [name for name in BFLOAT16 if name in flags]


def page(options: argparse.Namespace, result: dict[str, Any]) -> str:
    seconds, instructions = result["seconds"], result["bfloat16"]
    eager = statistics.median(seconds["eager"])
    times_eager = {name: eager / statistics.median(times) for name, times in seconds.items()}
    rows = [
        "| | median ms | best ms | times eager | middle half of the rounds | largest difference of a logit |",
        "|---|--:|--:|--:|--:|--:|",
    ]
    for name, times in seconds.items():
        ratios = sorted(eager_s / other_s for eager_s, other_s in zip(seconds["eager"], times, strict=True))
        low, high = ratios[len(ratios) // 4], ratios[-1 - len(ratios) // 4]
        rows.append(
            f"| {RUNS[name][0]} | {1e3 * statistics.median(times):.1f} | {1e3 * min(times):.1f} | "
            f"**{times_eager[name]:.2f}** | {low:.2f} to {high:.2f} | {result['differences'][name]:.2g} |"
        )
    if instructions is None:
        bfloat16 = "whether it has bfloat16 instructions is not known"
    elif instructions:
        bfloat16 = f"bfloat16 instructions: {', '.join(instructions)}"
    else:
        bfloat16 = "no bfloat16 instructions (neither avx512_bf16 nor amx_bf16)"
    aims = []
    for name, aim in AIMS.items():
        reached = times_eager[name] >= aim
        why = "; this CPU lacks the instructions, and torch emulates them" if not reached and instructions == [] else ""
        why = why if name != "onnx" else ""
        aims.append(
            f"- {RUNS[name][0]}: {times_eager[name]:.2f} times eager float32 NCHW, aim {aim:g}: "
            f"{'reached' if reached else 'not reached'}{why}"
        )
    versions = ", ".join(f"{name} {number}" for name, number in result["versions"].items())
    missing = "" if "openvino" in seconds else " OpenVINO is not installed there."
    load = ", load " + " before, ".join(f"{value:.1f}" for value in result["load"]) + " after" if result["load"] else ""
    changed = [f"--{name} {getattr(options, name)}" for name in ("height", "width", "threads", "rounds", "head")]
    return f"""\
# The speed of an exported net, measured

Written by `python benchmarks/export.py`; do not edit. {BACKBONE} with LR-ASPP (variant {options.head}), \
{CLASSES} classes,
random weights: one image, uint8 1x3x{options.height}x{options.width}, in; logits of its size out. Every run has
{options.threads} thread{"s" * (options.threads > 1)} and a process of its own; {options.rounds} rounds, in turn, \
after {options.warmup} that do not count.

Machine: {result["machine"]}; {bfloat16}. {versions}; {result["date"]}{load}.{missing}

{chr(10).join(rows)}

{chr(10).join(aims)}

    python benchmarks/export.py {" ".join(changed)}{" --static" * options.static}
"""


if __name__ == "__main__":
    main()
