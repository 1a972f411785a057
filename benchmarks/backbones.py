"""Latency, throughput and memory of every backbone, and the ones torchvision has too beside torchvision's own.

    python benchmarks/backbones.py                          # every row: minutes
    python benchmarks/backbones.py "shufflenet*" --size 224

Per row: milliseconds for one image (eager, float32, evaluation; median) with 1 thread and with all, images a second at
--batch with all threads, and the peak of living tensors in one forward. Then, for ShuffleNetV2 and SqueezeNet, the time
of our classification net as a ratio to torchvision's with the same weights, the two taking turns: the median over
rounds. Then the share of a forward that ShuffleNetV1 and MicroNet spend in channel shuffles and shifts, from torch's
profiler, with 1 thread at --batch.

An idle machine, please: with another job on two cores, two threads are slower than one.
"""

import argparse
import statistics
import sys
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
SHUFFLES = ("shuffle", "aten::index_select")  # ShuffleNetV1's function, and all that MicroNet shuffles and shifts with


def row(name: str, size: int, batch: int, threads: int, runs: int) -> str:
    net = create_backbone(name).eval()
    one = measure_latency(net, (1, 3, size, size), threads=1, runs=runs)["latency_ms"]
    many = measure_latency(net, (1, 3, size, size), threads=threads, runs=runs)["latency_ms"]
    rate = (
        1000
        * batch
        / measure_latency(net, (batch, 3, size, size), threads=threads, runs=max(3, runs // 4))["latency_ms"]
    )
    memory = peak_memory(net, (1, 3, size, size)) / 2**20
    return f"{name:<32}{one:>10.1f}{many:>10.1f}{rate:>10.0f}{memory:>10.1f}"


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


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pattern", nargs="?", default="*", help="shell pattern of names")
    parser.add_argument("--size", type=int, default=224, help="pixels of the square image")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=30, help="turns of ours and torchvision's")
    words = parser.parse_args()
    threads = torch.get_num_threads()
    names = list_backbones(words.pattern)
    if not names:
        raise LightsegError(f"no backbone is named {words.pattern!r}")
    print(f"{words.size}x{words.size}, {threads} threads, torch {torch.__version__}")
    print(f"{'backbone':<32}{'ms, 1 thr':>10}{'ms, all':>10}{'images/s':>10}{'MB':>10}")
    for name in names:
        print(row(name, words.size, words.batch, threads, words.runs), flush=True)
    print(f"\n{'ours / torchvision, time':<32}{'threads':>10}{'batch':>10}{'NCHW':>10}{'channels_last':>15}")
    for name in filter(PEERS.__contains__, names):
        for count, batch in ((1, 1), (threads, words.batch)):
            print(against_torchvision(name, words.size, batch, count, words.rounds), flush=True)
    print(f"\n{'shuffles and shifts':<32}{'of time':>10}")
    for name in filter(SHUFFLING.__contains__, names):
        print(shuffle_share(name, words.size, words.batch), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
