"""Milliseconds of one image through MobileNetV3-Large LR-ASPP: eager, eager as a CPU likes it, and ONNX Runtime.

    python benchmarks/export.py                                # 1x3x512x1024, 19 classes, all cores
    python benchmarks/export.py --threads 1 --rounds 30
    python benchmarks/export.py --height 128 --width 256 --rounds 3    # does it run?

All give logits at the size of the image from the same uint8 pixels and the same weights (random, seed 0):

    eager       float32, NCHW, torch's defaults: the model as `load_model` gives it
    fast eager  channels_last, bfloat16 autocast; emulated, and slow, where the CPU has no bfloat16 (said below)
    folded      channels_last, float32, batch norm folded into the convolutions
    folded bf16 the same with bfloat16 weights
    onnx        the file of `lightseg export`, float32, in ONNX Runtime

Each runs in a process of its own, since thread pools and allocators belong to a process; rounds alternate, and ratios
are those of the medians. The largest difference from eager's logits is printed for each.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

CLASSES = 19
WORKERS = {
    "eager": "eager fp32 NCHW",
    "fast": "channels_last bf16",
    "folded": "channels_last folded",
    "folded_bf16": "folded, bf16",
    "onnx": "ONNX Runtime",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--height", type=int, default=512)
    parser.add_argument("--width", type=int, default=1024)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--warmup", type=int, default=3)
    parser.add_argument("--head", choices=["paper", "torchvision"], default="paper", help="variant of LR-ASPP")
    parser.add_argument("--static", action="store_true", help="a file of this size alone")
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    parser.add_argument("--worker", choices=WORKERS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    work(arguments) if arguments.worker else race(arguments)


def race(arguments: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory() as folder:
        prepare(arguments, Path(folder))
        command = [sys.executable, __file__, *sys.argv[1:], "--folder", folder, "--worker"]
        environment = {**os.environ, "OMP_NUM_THREADS": str(arguments.threads)}
        workers = {
            name: subprocess.Popen(
                [*command, name], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
            for name in WORKERS
        }
        times: dict[str, list[float]] = {name: [] for name in workers}
        differences = {}
        for _ in range(arguments.warmup + arguments.rounds):
            for name, worker in workers.items():
                answer = one_round(worker)
                times[name].append(answer["seconds"])
                differences[name] = answer["difference"]
        for worker in workers.values():
            assert worker.stdin
            worker.stdin.close()
            worker.wait()
    report(arguments, {name: all_times[arguments.warmup :] for name, all_times in times.items()}, differences)


def report(arguments: argparse.Namespace, times: dict[str, list[float]], differences: dict[str, float]) -> None:
    from lightseg.runtime import emulates_bfloat16

    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
    print(f"{platform.processor() or platform.machine()}, {arguments.threads} threads, load at the end {load:.1f}")
    if emulates_bfloat16():
        print("this CPU has no bfloat16 instructions: torch emulates them")
    print(f"1x3x{arguments.height}x{arguments.width}, {CLASSES} classes, {arguments.rounds} rounds")
    eager = statistics.median(times["eager"])
    for name, seconds in times.items():
        median = statistics.median(seconds)
        print(
            f"{WORKERS[name]:22}median {median * 1e3:8.1f} ms   best {min(seconds) * 1e3:8.1f} ms   "
            f"{eager / median:5.2f} times eager   max difference {differences[name]:.2g}"
        )


def one_round(worker: "subprocess.Popen[str]") -> dict[str, float]:
    assert worker.stdin and worker.stdout
    worker.stdin.write("run\n")
    worker.stdin.flush()
    answer = worker.stdout.readline()
    if not answer:
        sys.exit("a worker ended early; its error is above")
    return json.loads(answer)


def prepare(arguments: argparse.Namespace, folder: Path) -> None:
    """The checkpoint, its ONNX file, one drawn street and eager's logits of it, for all workers."""
    import numpy as np
    import torch

    from lightseg.data.mini import render
    from lightseg.export.exporting import export
    from lightseg.model import create_model

    torch.manual_seed(0)
    model = create_model("mobilenetv3_large", "seg", CLASSES, head={"name": "lraspp", "variant": arguments.head})
    state = {f"model.{key}": value for key, value in model.state_dict().items()}
    torch.save({"hyper_parameters": {"model": model.spec}, "state_dict": state}, folder / "best.ckpt")
    size = (arguments.height, arguments.width)
    export(folder / "best.ckpt", folder / "best.onnx", size=size, static=arguments.static)
    image = render(0, *size).image.transpose(2, 0, 1)[None]
    np.save(folder / "image.npy", np.ascontiguousarray(image))
    np.save(folder / "logits.npy", eager_run(folder)())


def work(arguments: argparse.Namespace) -> None:
    """One line on standard input is one run; its time and its difference go to standard output."""
    import numpy as np
    import torch

    torch.set_num_threads(arguments.threads)
    folder = Path(arguments.folder)
    makers = {
        "eager": eager_run,
        "fast": fast_run,
        "folded": lambda folder: folded_run(folder, torch.float32),
        "folded_bf16": lambda folder: folded_run(folder, torch.bfloat16),
        "onnx": onnx_run,
    }
    run = makers[arguments.worker](folder)
    expected = np.load(folder / "logits.npy")
    for _ in sys.stdin:
        start = time.perf_counter()
        logits = run()
        seconds = time.perf_counter() - start
        print(json.dumps({"seconds": seconds, "difference": float(np.abs(logits - expected).max())}), flush=True)


def load(folder: Path):
    import numpy as np
    import torch

    from lightseg.export.wrapper import Exportable, task_export
    from lightseg.model import load_model

    return Exportable(load_model(folder / "best.ckpt"), task_export("seg")).eval(), torch.from_numpy(
        np.load(folder / "image.npy")
    )


def eager_run(folder: Path):
    import torch

    model, image = load(folder)

    def run():
        with torch.inference_mode():
            return model(image)[0].numpy()

    return run


def fast_run(folder: Path):
    import torch

    model, image = load(folder)
    model.to(memory_format=torch.channels_last)
    image = image.contiguous(memory_format=torch.channels_last)

    def run():
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
            return model(image)[0].float().numpy()

    return run


def folded_run(folder: Path, dtype):
    import torch

    from lightseg.model import Model

    wrapped, image = load(folder)
    fold_batch_norm(wrapped)
    wrapped.to(memory_format=torch.channels_last)
    model: Model = wrapped.model
    model.backbone.to(dtype)
    model.head.to(dtype)
    image = image.contiguous(memory_format=torch.channels_last)

    def run():
        with torch.inference_mode():
            size = tuple(image.shape[-2:])
            outputs = model.head(model.backbone(model.normalise(image).to(dtype)), size)
            return wrapped.what.of_head(outputs, size)[0].float().numpy()

    return run


def fold_batch_norm(model) -> None:
    """Each batch norm that follows a convolution directly becomes part of it; its activation stays where it is."""
    import torch
    from torch import nn
    from torch.nn.utils.fusion import fuse_conv_bn_eval

    traced = torch.export.export(model, (torch.zeros(1, 3, 64, 128, dtype=torch.uint8),))
    calls = [node for node in traced.graph.nodes if node.op == "call_function"]
    layer = {
        node: [*node.meta["nn_module_stack"].values()][-1][0] for node in calls if node.meta.get("nn_module_stack")
    }
    for node in calls:
        source = node.args[0] if node.args else None
        if "batch_norm" not in str(node.target) or source not in layer or "conv" not in str(source.target):
            continue
        name, norm_name = (layer[one].removeprefix("L['self'].") for one in (source, node))
        conv, norm = model.get_submodule(name), model.get_submodule(norm_name)
        if not isinstance(conv, nn.Conv2d) or not isinstance(norm, nn.BatchNorm2d):
            continue
        replaced = fuse_conv_bn_eval(conv, norm)
        parent, _, child = name.rpartition(".")
        setattr(model.get_submodule(parent), child, replaced)
        # timm's BatchNormAct2d is a BatchNorm2d that also drops and activates
        activation = nn.Sequential(*(getattr(norm, part) for part in ("drop", "act") if hasattr(norm, part)))
        parent, _, child = norm_name.rpartition(".")
        setattr(model.get_submodule(parent), child, activation)


def onnx_run(folder: Path):
    import numpy as np
    import torch

    from lightseg.export.runner import open_exported

    image = np.load(folder / "image.npy")
    runner = open_exported(folder / "best.onnx", threads=torch.get_num_threads())
    return lambda: runner.run(image)["logits"]


if __name__ == "__main__":
    main()
