"""Speed of pose on the CPU: crops of persons per second, and encoding, decoding and evaluation relative to a training
step.

    python benchmarks/pose.py                               # synthetic images, batch 32 of 256x192, mobilenetv2
    python benchmarks/pose.py --root /data/coco --images val2017 --annotations annotations/person_keypoints_val2017.json
    python benchmarks/pose.py --head simcc

Crops: from an image on disk to a person of 256x192 with keypoints, on one thread, against torchvision's v2 transforms
and albumentations (benchmarks/pose_crops.py).

Step: that of the training command (forward, loss, backward, optimizer) on a batch in memory. Encoding is the head's
targets of a batch; decoding and evaluation are relative to the step for the same number of persons. Aims: encoding
below 3 %, decoding of 10,000 persons below 2 s.

Evaluation: from keypoints to COCO's metrics of 10,000 persons against pycocotools (benchmarks/pose_evaluation.py, which
also runs alone); the metrics must agree to 1e-6.

The machine should be idle.
"""

import argparse
import os
import platform
import statistics
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from lightseg import process_tuning

if __name__ == "__main__":
    process_tuning.tune_process()  # before torch is imported

import torch

from benchmarks.coco_evaluation import print_comparison
from benchmarks.pose_crops import race_crops
from benchmarks.pose_evaluation import NAMES, evaluation_ratio
from lightseg.cpu_training import optimize_for_cpu
from lightseg.heads.codecs import SimCCCodec
from lightseg.model import create_model

PEOPLE = 10_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, help="a COCO folder (default: synthetic images)")
    parser.add_argument("--images", default="train2017")
    parser.add_argument("--annotations", default="annotations/person_keypoints_train2017.json")
    parser.add_argument("--size", type=int, nargs=2, default=(256, 192), metavar=("HEIGHT", "WIDTH"))
    parser.add_argument("--backbone", default="mobilenetv2")
    parser.add_argument("--head", default="heatmap", help="heatmap or simcc")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--warmup", type=int, default=1)
    parser.add_argument("--crop-rounds", type=int, default=40, help="of 8 persons per side")
    parser.add_argument("--evaluation-people", type=int, default=PEOPLE)
    arguments = parser.parse_args()
    arguments.size = tuple(arguments.size)
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} CPUs", flush=True)
    evaluation = evaluation_ratio(arguments.evaluation_people)  # first, because its memory is measured
    print_comparison(f"{arguments.evaluation_people} people", evaluation)
    race_crops(arguments.root, arguments.images, arguments.annotations, arguments.size, arguments.crop_rounds)
    share_of_a_step(arguments, evaluation["ours_s"] / arguments.evaluation_people)
    print(f"load at the end {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "")


class TimedCodec:
    """The head's codec, with the time of the last encoding."""

    def __init__(self, codec: Any) -> None:
        self.codec, self.seconds = codec, 0.0

    def encode(self, *arguments: Any) -> Any:
        start = time.perf_counter()
        targets = self.codec.encode(*arguments)
        self.seconds = time.perf_counter() - start
        return targets

    def __getattr__(self, name: str) -> Any:
        return getattr(self.codec, name)


def share_of_a_step(arguments: argparse.Namespace, evaluation: float) -> None:
    """evaluation: seconds per person."""
    torch.manual_seed(0)
    size, points = arguments.size, len(NAMES)
    head = {"name": arguments.head, **({"image_size": size} if arguments.head == "simcc" else {})}
    model = optimize_for_cpu(create_model(arguments.backbone, "pose", points, head=head))
    model = model.train().to(memory_format=torch.channels_last)
    batch = make_batch(arguments.batch, size)
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-4, fused=True)
    timed = model.head.codec = TimedCodec(model.head.codec)
    steps, encodings = [], []
    for _ in range(arguments.warmup + arguments.rounds):
        start = time.perf_counter()
        loss = model.head.loss(model(batch["images"]), batch)["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        steps.append(time.perf_counter() - start)
        encodings.append(timed.seconds)
    shares = [encoding / step for encoding, step in zip(encodings, steps, strict=True)][arguments.warmup :]
    step = statistics.median(steps[arguments.warmup :])
    decoding = time_decoding(model.head, size)
    print(
        f"step: {arguments.backbone}, {arguments.head}, batch {arguments.batch} of {size[0]}x{size[1]}, "
        f"{torch.get_num_threads()} threads, median of {arguments.rounds}: {step * 1e3:.0f} ms, "
        f"{arguments.batch / step:.1f} images/s\n"
        f"  encoding     {statistics.median(encodings[arguments.warmup :]) * 1e3:6.2f} ms  "
        f"{statistics.median(shares):6.2%} of the step, at most {max(shares):.2%}\n"
        f"  decoding     {decoding * arguments.batch * 1e3:6.2f} ms  {decoding * arguments.batch / step:6.2%}; "
        f"{PEOPLE} people in {decoding * PEOPLE:.2f} s\n"
        f"  evaluation   {evaluation * arguments.batch * 1e3:6.2f} ms  {evaluation * arguments.batch / step:6.2%}; "
        f"{PEOPLE} people in {evaluation * PEOPLE:.2f} s"
    )


def make_batch(people: int, size: tuple[int, int]) -> dict[str, torch.Tensor]:
    height, width = size
    images = torch.randint(0, 256, (people, 3, height, width), dtype=torch.uint8)
    keypoints = torch.rand(people, len(NAMES), 2) * torch.tensor([width - 1.0, height - 1.0])
    return {
        "images": images.contiguous(memory_format=torch.channels_last),
        "keypoints": keypoints,
        "visible": torch.randint(0, 3, (people, len(NAMES))),
        "area": torch.full((people,), 0.4 * height * width),
    }


def time_decoding(head: Any, size: tuple[int, int], at_once: int = 500) -> float:
    """Seconds per person, for outputs that are the targets."""
    batch = make_batch(at_once, size)
    everywhere = torch.ones_like(batch["visible"])
    if isinstance(head.codec.codec, SimCCCodec):
        (x, y), _ = head.codec.encode(batch["keypoints"], everywhere, size)
        outputs: Any = {"x": x, "y": y}
    else:
        outputs, _ = head.codec.encode(batch["keypoints"], everywhere, size, (size[0] // 4, size[1] // 4))
    start = time.perf_counter()
    for _ in range(PEOPLE // at_once):
        keypoints = head.decode(outputs, size)["keypoints"]
    seconds = (time.perf_counter() - start) / (PEOPLE // at_once * at_once)
    error = (keypoints - batch["keypoints"]).norm(dim=2).mean().item()
    assert error < 1, f"decoding is {error:.2f} px off"
    return seconds


if __name__ == "__main__":
    main()
