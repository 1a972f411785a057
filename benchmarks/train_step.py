"""Images per second of our training step against a torchvision training loop, on the CPU, on the same batch.

    python benchmarks/train_step.py                                     # batch 8 of 256x512, 19 classes
    python benchmarks/train_step.py --batch 16 --height 128 --width 256   # the default run's size

The peer is torchvision's `lraspp_mobilenet_v3_large` as its reference scripts train it: float32, NCHW, normalized
images, `F.cross_entropy` of upsampled logits, SGD, torch's default settings. Ours is the same net with the same initial
weights (`variant=torchvision`) and the same result: uint8 images that the model normalizes, our loss at full
resolution, the settings of the training command. Each runs in a separate process, because allocator and OpenMP settings
belong to a process; steps alternate; the ratio is that of the medians. The losses of the first step, printed for both,
show that they compute the same. The machine should be idle.

Measured on two idle cores of an AVX-512 Xeon without native bfloat16, torch 2.14, ratio to the peer at 8x256x512 /
16x128x256 (15 rounds; the first row 7):

    channels_last alone                                       1.62 / 1.23
    + loss without upsampled logits (upsampled_cross_entropy) 1.74 / 1.50
    + freed memory kept (process_tuning.keep_freed_memory)           1.80 / 1.58
    + faster gradients (cpu_training.optimize_for_cpu)        2.14 / 1.88
    the same without the kept memory                          2.01 / 1.73

The short OpenMP spin (process_tuning.shorten_spin) saves time only on busy machines. With four other jobs on the two
cores the peer's step took 2.7 times as long under libgomp's default as without spinning; on an idle machine ours took
1.00 of the time with a count of 10000, 1.14 with 1000, 1.2 with 0.

Repeated later with this command: 2.06 / 1.65. Of that step 43 % are convolutions, at the speed of matrix products, 27 %
batch norm, 9 % activations, 5 % the loss; more needs a native kernel for batch norm with activation.

Tried, with too little gain:

    bfloat16 autocast, channels_last               0.73 / 0.64: emulated here; try --bf16 on CPUs with AMX
    batch norm + activation fused by hand, in cache-sized bands of torch operations   0.4 to 0.9 of torch's own speed
    the same unbanded, recomputing the output of batch norm                           0.90 to 1.02
    1x1 convolutions as matrix products (MKL)      as oneDNN: the large ones within a fifth, either way
    huge pages under the allocator's heap          1.03
    huge pages per tensor (THP_MEM_ALLOC_ENABLE)   0.6 to 1.07
    bands of other sizes in the loss               0.7 (128 kB) and 0.85 (4 MB) of the speed at 1 MB
"""

import argparse
import json
import os
import platform
import statistics
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.runs import Worker

CLASSES = 19
SGD: dict[str, Any] = {"lr": 0.01, "momentum": 0.9, "weight_decay": 1e-4}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--height", type=int, default=256)
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--warmup", type=int, default=2)
    parser.add_argument("--bf16", action="store_true", help="ours under bfloat16 autocast")
    parser.add_argument("--worker", choices=["peer", "ours"], help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    work(arguments) if arguments.worker else race(arguments)


def race(arguments: argparse.Namespace) -> None:
    workers = {name: Worker([sys.executable, __file__, *sys.argv[1:], "--worker", name]) for name in ("peer", "ours")}
    steps: dict[str, list[dict[str, float]]] = {name: [] for name in workers}
    for _ in range(arguments.warmup + arguments.rounds):
        for name, worker in workers.items():
            steps[name].append(worker.ask("step"))
    for worker in workers.values():
        worker.close()

    threads, load = os.cpu_count(), os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
    print(f"{platform.processor() or platform.machine()}, {threads} CPUs, load at the end {load:.1f}")
    print(
        f"batch {arguments.batch} of {arguments.height}x{arguments.width}, {CLASSES} classes, {arguments.rounds} rounds"
    )
    names = {"peer": "torchvision loop", "ours": "lightseg" + (" bf16" if arguments.bf16 else "")}
    medians = {}
    for name, all_steps in steps.items():
        seconds = [step["seconds"] for step in all_steps[arguments.warmup :]]
        medians[name] = statistics.median(seconds)
        print(
            f"{names[name]:18}{arguments.batch / medians[name]:7.2f} images/s   "
            f"step median {medians[name] * 1e3:6.0f} ms, best {min(seconds) * 1e3:6.0f} ms   "
            f"peak memory {all_steps[-1]['peak_mb']:5.0f} MB   first loss {all_steps[0]['loss']:.4f}"
        )
    print(f"ratio of medians {medians['peer'] / medians['ours']:.2f}")


def work(arguments: argparse.Namespace) -> None:
    """Run a step for each line on standard input; reply with its time, loss and the peak memory so far."""
    if arguments.worker == "ours":
        from lightseg import process_tuning

        process_tuning.tune_process()
    import resource

    step = (peer_step if arguments.worker == "peer" else our_step)(arguments)
    for _ in sys.stdin:
        start = time.perf_counter()
        loss = step()
        seconds = time.perf_counter() - start
        peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
        print(json.dumps({"seconds": seconds, "loss": loss, "peak_mb": peak_mb}), flush=True)


def make_batch(arguments: argparse.Namespace):
    """uint8 images, and masks in blocks of 16 pixels with ignored upper rows; the same in both processes."""
    import torch

    generator = torch.Generator().manual_seed(0)
    batch, height, width = arguments.batch, arguments.height, arguments.width
    images = torch.randint(0, 256, (batch, 3, height, width), dtype=torch.uint8, generator=generator)
    blocks = torch.randint(0, CLASSES, (batch, -(-height // 16), -(-width // 16)), generator=generator)
    masks = blocks.repeat_interleave(16, 1).repeat_interleave(16, 2)[:, :height, :width].contiguous()
    masks[:, : height // 32] = 255
    return images, masks


def torchvision_net():
    import torch
    from torchvision.models.segmentation import lraspp_mobilenet_v3_large

    torch.manual_seed(0)
    return lraspp_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=CLASSES).train()


def peer_step(arguments: argparse.Namespace):
    import torch
    import torch.nn.functional as F

    net, (images, masks) = torchvision_net(), make_batch(arguments)
    mean, std = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1), torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
    floats = (images / 255 - mean) / std
    optimizer = torch.optim.SGD(net.parameters(), **SGD)

    def step() -> float:
        loss = F.cross_entropy(net(floats)["out"], masks, ignore_index=255)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def our_step(arguments: argparse.Namespace):
    import torch

    from lightseg.cpu_training import optimize_for_cpu
    from lightseg.model import create_model

    model = create_model("mobilenetv3_large", "seg", CLASSES, head={"name": "lraspp", "variant": "torchvision"})
    weights = torchvision_net().state_dict().values()  # the two state dicts correspond in order
    model.load_state_dict(dict(zip(model.state_dict(), weights, strict=True)))
    model = optimize_for_cpu(model).train().to(memory_format=torch.channels_last)
    images, masks = make_batch(arguments)
    images = images.contiguous(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(model.parameters(), foreach=True, **SGD)

    def step() -> float:
        with torch.autocast("cpu", torch.bfloat16, enabled=arguments.bf16):
            outputs = model(images)
        loss = model.head.loss(outputs, {"masks": masks})["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


if __name__ == "__main__":
    main()
