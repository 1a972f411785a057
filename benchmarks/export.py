"""Milliseconds of one picture through MobileNetV3-Large LR-ASPP: eager, eager as a CPU likes it, and exported.

    python benchmarks/export.py                                # 1x3x512x1024, all cores; writes docs/export_speed.md
    python benchmarks/export.py --threads 1 --rounds 30 --print
    python benchmarks/export.py --height 128 --width 256 --rounds 3 --print    # does it run?

All (benchmarks/export_runs.py) give logits at the size of the picture from the same uint8 pixels and the same weights.
Each runs in a process of its own, since thread pools and allocators belong to a process; rounds alternate, the first of
a round is another one each time, and ratios are those of the medians. OpenVINO takes part where it is installed. On a
busy machine times mean nothing and ratios little: the page has the load.
"""

import argparse
import json
import os
import statistics
import subprocess
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
from benchmarks.runs import Kept

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "export_speed.md"
BFLOAT16 = ("avx512_bf16", "amx_bf16", "bf16")  # as /proc/cpuinfo has them; the last is ARM's
AIMS = {"onnx": 2.5, "autocast": 3.0, "bfloat16": 3.0}  # times eager
SETTING = ("height", "width", "threads", "rounds", "warmup", "head", "static")  # what tells two measurements apart
FILES = ("onnx", "openvino")  # runs that need a file of this format
REST_S = 0.1  # in which the threads of the run before stop spinning


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--height", type=int, default=512)
    parser.add_argument("--width", type=int, default=1024)
    parser.add_argument("--threads", type=int, help="of every run (default: one a CPU)")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--warmup", type=int, default=3)
    parser.add_argument("--head", choices=["paper", "torchvision"], default="paper", help="variant of LR-ASPP")
    parser.add_argument("--static", action="store_true", help="files of this size alone")
    parser.add_argument("--results", type=Path, help="JSON file of the runs that are done")
    parser.add_argument("--print", action="store_true", help="print the page, do not write it")
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
    text = page(options, Kept(options.results).get(key, lambda: race(options, names)))
    print(text)
    if not options.print:
        PAGE.write_text(text, encoding="utf-8")


def race(options: argparse.Namespace, names: list[str]) -> dict[str, Any]:
    """Seconds of every round and the largest difference from eager's logits, by run; and where that was."""
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
                answer = one_run(workers[name])
                differences[name] = answer["difference"]
                if number >= options.warmup:
                    seconds[name].append(answer["seconds"])
        for worker in workers.values():
            assert worker.stdin
            worker.stdin.close()
            worker.wait()
    return {
        "seconds": seconds,
        "differences": differences,
        "machine": machine(),
        "bfloat16": bfloat16_instructions(),
        "load": [*load, os.getloadavg()[0]] if load else [],
        "date": f"{date.today():%Y-%m-%d}",
        "versions": {name: version(name) for name in ("torch", "onnxruntime", "openvino") if find_spec(name)},
    }


def start(name: str, folder: str, threads: int) -> "subprocess.Popen[str]":
    command = [sys.executable, __file__, "--worker", name, folder, "--threads", str(threads)]
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    return subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def one_run(worker: "subprocess.Popen[str]") -> dict[str, float]:
    assert worker.stdin and worker.stdout
    worker.stdin.write("run\n")
    worker.stdin.flush()
    answer = worker.stdout.readline()
    if not answer:
        sys.exit("a worker ended early; its error is above")
    return json.loads(answer)


def work(name: str, folder: str, threads: int) -> None:
    """One line on standard input is one run; its time and its difference go to standard output."""
    import numpy as np
    import torch

    torch.set_num_threads(threads)
    run = RUNS[name][1](Path(folder))
    expected = np.load(Path(folder) / "logits.npy")
    for _ in sys.stdin:
        began = time.perf_counter()
        logits = run()
        seconds = time.perf_counter() - began
        print(json.dumps({"seconds": seconds, "difference": float(np.abs(logits - expected).max())}), flush=True)


def bfloat16_instructions() -> list[str] | None:
    """Those of the CPU, as Linux names them; None where it is not Linux."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    words = {word for line in lines if line.lower().startswith(("flags", "features")) for word in line.split()}
    return [name for name in BFLOAT16 if name in words]


def page(options: argparse.Namespace, found: dict[str, Any]) -> str:
    seconds, instructions = found["seconds"], found["bfloat16"]
    eager = statistics.median(seconds["eager"])
    times_eager = {name: eager / statistics.median(times) for name, times in seconds.items()}
    rows = [
        "| | median ms | best ms | times eager | middle half of the rounds | largest difference of a logit |",
        "|---|--:|--:|--:|--:|--:|",
    ]
    for name, times in seconds.items():
        ratios = sorted(one / other for one, other in zip(seconds["eager"], times, strict=True))
        low, high = ratios[len(ratios) // 4], ratios[-1 - len(ratios) // 4]
        rows.append(
            f"| {RUNS[name][0]} | {1e3 * statistics.median(times):.1f} | {1e3 * min(times):.1f} | "
            f"**{times_eager[name]:.2f}** | {low:.2f} to {high:.2f} | {found['differences'][name]:.2g} |"
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
    versions = ", ".join(f"{name} {number}" for name, number in found["versions"].items())
    missing = "" if "openvino" in seconds else " OpenVINO is not installed there."
    load = ", load " + " before, ".join(f"{one:.1f}" for one in found["load"]) + " after" if found["load"] else ""
    changed = [f"--{name} {getattr(options, name)}" for name in ("height", "width", "threads", "rounds", "head")]
    return f"""\
# The speed of an exported net, measured

Written by `python benchmarks/export.py`; do not edit. {BACKBONE} with LR-ASPP (variant {options.head}), \
{CLASSES} classes,
random weights: one image, uint8 1x3x{options.height}x{options.width}, in; logits of its size out. Every run has
{options.threads} thread{"s" * (options.threads > 1)} and a process of its own; {options.rounds} rounds, in turn, \
after {options.warmup} that do not count.

Machine: {found["machine"]}; {bfloat16}. {versions}; {found["date"]}{load}.{missing}

{chr(10).join(rows)}

{chr(10).join(aims)}

    python benchmarks/export.py {" ".join(changed)}{" --static" * options.static}
"""


if __name__ == "__main__":
    main()
