"""Latency, throughput and memory of every backbone, and a comparison with torchvision's nets.

    python benchmarks/backbones.py                          # every row: minutes
    python benchmarks/backbones.py "shufflenet*" --size 224

Per row: milliseconds for one image (eager, float32, evaluation; median) with 1 thread and with all, images per second
at --batch with all threads, and the peak memory of tensors in a forward pass. For ShuffleNetV2 and SqueezeNet: the time
of our classification net as a ratio to torchvision's with the same weights, alternating, the median over rounds. For
ShuffleNetV1 and MicroNet: the fraction of a forward pass in channel shuffles and shifts, from torch's profiler, with 1
thread at --batch.

The machine must be idle: with another job on two cores, two threads are slower than one.
"""

import argparse
import statistics
import time
from typing import Any
from unittest import mock

import timm
import torch
import torchvision
from torch import nn
from torch.profiler import ProfilerActivity, profile, record_function

from lightseg.backbones import create_backbone, list_backbones, shufflenetv1
from lightseg.errors import LightsegError
from lightseg.profile import measure_latency, peak_memory

PEERS = {  # ours: torchvision's
    "shufflenetv2_x0_5": "shufflenet_v2_x0_5",
    "shufflenetv2_x1_0": "shufflenet_v2_x1_0",
    "shufflenetv2_x1_5": "shufflenet_v2_x1_5",
    "shufflenetv2_x2_0": "shufflenet_v2_x2_0",
    "squeezenet1_0": "squeezenet1_0",
    "squeezenet1_1": "squeezenet1_1",
}
SHUFFLING = ("shufflenetv1_g3_x1_0", "shufflenetv1_g8_x1_0", "micronet_m0", "micronet_m1", "micronet_m2", "micronet_m3")
SHUFFLES = ("shuffle", "aten::index_select")  # of ShuffleNetV1 and of MicroNet


def row(name: str, size: int, batch: int, threads: int, runs: int) -> str:
    net, shape = create_backbone(name).eval(), (1, 3, size, size)
    single_ms = measure_latency(net, shape, threads=1, runs=runs)["latency_ms"]
    all_ms = measure_latency(net, shape, threads=threads, runs=runs)["latency_ms"]
    batch_ms = measure_latency(net, (batch, *shape[1:]), threads=threads, runs=max(3, runs // 4))["latency_ms"]
    memory = peak_memory(net, shape) / 2**20
    return f"{name:<32}{single_ms:>10.1f}{all_ms:>10.1f}{1000 * batch / batch_ms:>10.0f}{memory:>10.1f}"


def against_torchvision(name: str, size: int, batch: int, threads: int, rounds: int) -> str:
    theirs = torchvision.models.get_model(PEERS[name], weights=None).eval()
    ours = timm.create_model(name).eval()
    ours.load_state_dict(theirs.state_dict())
    ratios = []
    torch.set_num_threads(threads)
    for channels_last in (False, True):
        images = torch.randn(batch, 3, size, size)
        nets: list[nn.Module] = [ours, theirs]
        if channels_last:
            images = images.to(memory_format=torch.channels_last)
            nets = [net.to(memory_format=torch.channels_last) for net in nets]
        pairs = []
        with torch.inference_mode():
            for net in nets * 2:
                net(images)
            for index in range(rounds):
                turn = nets if index % 2 else nets[::-1]
                seconds = {id(net): timed(net, images) for net in turn}
                pairs.append(seconds[id(ours)] / seconds[id(theirs)])
        ratios.append(statistics.median(pairs))
    return f"{name:<32}{threads:>10}{batch:>10}{ratios[0]:>10.3f}{ratios[1]:>15.3f}"


def timed(net: nn.Module, images: torch.Tensor) -> float:
    start = time.perf_counter()
    net(images)
    return time.perf_counter() - start


def shuffle_share(name: str, size: int, batch: int) -> str:
    net = timm.create_model(name).eval()
    images = torch.randn(batch, 3, size, size)
    torch.set_num_threads(1)
    plain = shufflenetv1.shuffle

    def marked(*arguments: Any) -> torch.Tensor:
        with record_function("shuffle"):
            return plain(*arguments)

    with torch.inference_mode(), mock.patch.object(shufflenetv1, "shuffle", marked):
        for _ in range(3):
            net(images)
        with profile(activities=[ProfilerActivity.CPU]) as profiler:
            for _ in range(5):
                net(images)
    events = profiler.key_averages()
    total = sum(event.self_cpu_time_total for event in events)
    return f"{name:<32}{sum(e.cpu_time_total for e in events if e.key in SHUFFLES) / total:>10.1%}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pattern", nargs="?", default="*", help="shell pattern of names")
    parser.add_argument("--size", type=int, default=224, help="pixels of the square image")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=30, help="of the comparison with torchvision")
    options = parser.parse_args()
    threads = torch.get_num_threads()
    names = list_backbones(options.pattern)
    if not names:
        raise LightsegError(f"no backbone is named {options.pattern!r}")
    print(f"{options.size}x{options.size}, {threads} threads, torch {torch.__version__}")
    print(f"{'backbone':<32}{'ms, 1 thr':>10}{'ms, all':>10}{'images/s':>10}{'MB':>10}")
    for name in names:
        print(row(name, options.size, options.batch, threads, options.runs), flush=True)
    print(f"\n{'ours / torchvision, time':<32}{'threads':>10}{'batch':>10}{'NCHW':>10}{'channels_last':>15}")
    for name in filter(PEERS.__contains__, names):
        for count, batch in ((1, 1), (threads, options.batch)):
            print(against_torchvision(name, options.size, batch, count, options.rounds), flush=True)
    print(f"\n{'shuffles and shifts':<32}{'of time':>10}")
    for name in filter(SHUFFLING.__contains__, names):
        print(shuffle_share(name, options.size, options.batch), flush=True)


if __name__ == "__main__":
    main()
