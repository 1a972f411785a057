"""Images per second of training a classifier, from JPEG files to updated weights, against timm's loader and loop.

    python benchmarks/classification.py                                  # rendered JPEGs of 500x375
    python benchmarks/classification.py --root /data/photos/train        # your own: a folder per class
    python benchmarks/classification.py --backbone efficientnet_lite0

The peer is timm as its train.py runs on a CPU: `create_dataset` and `create_loader` without prefetcher, its net in
float32 and NCHW, `LabelSmoothingCrossEntropy`, `create_optimizer_v2`, torch's default settings. Ours is that of the
training command: ClassificationFolder, EpochSampler and the DataLoader of tasks/data.py, uint8 images in channels_last
that the model normalizes, `optimize_for_cpu`, `tune_process`, the fused optimizer. Both train the same net from random
weights, with the same number of workers, batch, label smoothing, optimizer and augmentation: random resized crop, flip,
color jitter 0.4, or with --randaugment 9 timm's `rand-m9-inc1` (its `mstd0.5` variant posterizes to 0 bits, an error in
Pillow 13).

Each side is a process, because allocator and OpenMP settings belong to a process. They take turns, in which the other
side and its data workers are stopped; the first batches of a turn, which are prefetched, are not timed. The ratios are
those of medians over turns. Three are printed: files to weights, the training step on a batch in memory with idle
workers, and the pipeline without a model (images/s of a worker, by its processor time, without collating). The machine
should be idle.

mobilenetv3_small, JPEGs of 500x375, batch 32 of 224x224, adamw, 2 workers, on two cores of an AVX-512 Xeon under torch
2.14, timm 1.0.31, at a load of 1.8 to 2.0 (its own), images/s:
                              timm  lightseg  ratio   each turn's ratio
    files to weights          52.0      94.1   1.81   1.73 1.78 1.64 1.86 1.90
    training step             64.1     107.8   1.68   1.81 1.56 1.68 1.62 5.28 (an outlier)
    pipeline, one worker     251.8     732.7   2.91   2.97 2.69 3.03 2.85 2.91

What helped: channels_last and uint8 batches in the step and between processes; gradients of `optimize_for_cpu`; in the
pipeline, cropping before resizing, color jitter as one matrix and OpenCV's JPEG reader. benchmarks/train_step.py and
benchmarks/input_pipeline.py measure each alone.
"""

import argparse
import json
import os
import platform
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.runs import Worker

SMOOTHING, LR, DECAY = 0.1, 1e-3, 0.02
WARM_UP = 2  # batches of a turn that are not timed, because they were prefetched


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, help="an ImageFolder (default: rendered JPEGs)")
    parser.add_argument("--backbone", default="mobilenetv3_small")
    parser.add_argument("--optimizer", default="adamw")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--randaugment", type=int, default=0, help="magnitude, 0 = color jitter")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--batches", type=int, default=8, help="timed batches per turn")
    parser.add_argument("--side", choices=["peer", "ours"], help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.side:
        work(arguments)
    elif arguments.root:
        race(arguments)
    else:
        with tempfile.TemporaryDirectory() as folder:
            arguments.root = Path(folder)
            write_jpegs(arguments.root)
            race(arguments)


def race(arguments: argparse.Namespace) -> None:
    options = [f"--{key}={value}" for key, value in vars(arguments).items() if key != "side"]
    # each side is a process group, which is stopped together with its data workers
    sides = {
        name: Worker([sys.executable, __file__, *options, "--side", name], start_new_session=True)
        for name in ("peer", "ours")
    }
    figures: dict[str, dict[str, list[float]]] = {name: {} for name in sides}
    before = os.getloadavg()[0]
    try:
        for side in sides.values():
            side.ask("ready")
            os.killpg(side.process.pid, signal.SIGSTOP)
        for turn in range(arguments.turns + 1):
            for name in sorted(sides, reverse=bool(turn % 2)):
                side = sides[name]
                os.killpg(side.process.pid, signal.SIGCONT)
                for kind in ("train", "step", "pipeline"):
                    speed = side.ask(kind)
                    if turn:  # the first turn is a warm-up
                        figures[name].setdefault(kind, []).append(speed)
                os.killpg(side.process.pid, signal.SIGSTOP)
    finally:
        for side in sides.values():
            os.killpg(side.process.pid, signal.SIGCONT)
            side.close()

    load = f"load {before:.1f} to {os.getloadavg()[0]:.1f}"
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} CPUs, {load}")
    extra = f"RandAugment {arguments.randaugment}" if arguments.randaugment else "color jitter 0.4"
    print(
        f"{arguments.backbone}, batch {arguments.batch} of {arguments.size}x{arguments.size}, {extra}, "
        f"{arguments.optimizer}, {arguments.workers} workers; {arguments.turns} turns of {arguments.batches} batches"
    )
    print(f"{'images/s':22}{'timm':>8}{'lightseg':>10}{'ratio':>7}   each turn's ratio")
    names = {"train": "files to weights", "step": "training step", "pipeline": "pipeline, one worker"}
    for kind, label in names.items():
        theirs, ours = figures["peer"][kind], figures["ours"][kind]
        by_turn = " ".join(f"{b / a:.2f}" for a, b in zip(theirs, ours, strict=True))
        a, b = statistics.median(theirs), statistics.median(ours)
        print(f"{label:22}{a:8.1f}{b:10.1f}{b / a:7.2f}   {by_turn}")


def work(arguments: argparse.Namespace) -> None:
    """Reply to each line on standard input (train, step, pipeline) with images/s."""
    if arguments.side == "ours":
        from lightseg import process_tuning

        process_tuning.tune_process()
    import torch

    torch.manual_seed(0)
    step, loader, load_images = (timm_side if arguments.side == "peer" else our_side)(arguments)
    stream = endless(loader)
    batch = next(stream)
    for line in sys.stdin:
        kind, seconds = line.strip(), 1.0
        if kind == "train":
            for _ in range(WARM_UP + arguments.workers * 2):  # those that the workers prefetched in the other's turn
                step(next(stream))
            start = time.perf_counter()
            for _ in range(arguments.batches):
                step(next(stream))
            seconds = time.perf_counter() - start
        elif kind == "step":
            step(batch)
            start = time.perf_counter()
            for _ in range(arguments.batches):
                step(batch)
            seconds = time.perf_counter() - start
        elif kind == "pipeline":
            seconds = load_images(arguments.batches * arguments.batch)
        print(json.dumps(arguments.batches * arguments.batch / seconds), flush=True)


def endless(loader: Any) -> Iterator[Any]:
    epoch = 0
    while True:
        for sampler in (getattr(loader, "sampler", None), getattr(loader.batch_sampler, "sampler", None)):
            if sampler is not None and hasattr(sampler, "set_epoch"):
                sampler.set_epoch(epoch)
        yield from loader
        epoch += 1


def timm_side(arguments: argparse.Namespace):
    """The training step of timm's train.py, its data loader, and its pipeline in this process."""
    import torch
    from timm import create_model
    from timm.data import create_dataset, create_loader
    from timm.loss import LabelSmoothingCrossEntropy
    from timm.optim import create_optimizer_v2

    from lightseg.catalog.backbones import CATALOG

    dataset = create_dataset("", root=str(arguments.root), is_training=True)
    classes = len(set(dataset.reader.class_to_idx))
    net = create_model(CATALOG[arguments.backbone].timm_name, num_classes=classes).train()
    optimizer = create_optimizer_v2(net, opt=arguments.optimizer, lr=LR, weight_decay=DECAY)
    criterion = LabelSmoothingCrossEntropy(SMOOTHING)
    loader = create_loader(
        dataset,
        input_size=(3, arguments.size, arguments.size),
        batch_size=arguments.batch,
        is_training=True,
        color_jitter=0.4,
        auto_augment=f"rand-m{arguments.randaugment}-inc1" if arguments.randaugment else None,
        interpolation="random",  # train.py's default
        num_workers=arguments.workers,
        device=torch.device("cpu"),
        use_prefetcher=False,
    )

    def step(batch: Any) -> None:
        images, labels = batch
        loss = criterion(net(images), labels)
        loss.item()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    return step, loader, image_loader(dataset)


def our_side(arguments: argparse.Namespace):
    """The training step and the data loader of train.py, and its pipeline in this process."""
    import torch

    from lightseg.cpu_training import optimize_for_cpu
    from lightseg.model import create_model
    from tasks.data import DataModule
    from tasks.run.optimization import build_optimizer
    from tasks.run.progressive import NAMES, Progressive

    augment = {
        "size": arguments.size, "scale": [0.08, 1.0], "ratio": [0.75, 1.3333], "hflip": 0.5, "color": 0.4,
        "randaugment": arguments.randaugment, "trivialaugment": False, "erasing": 0.0,
    }  # fmt: skip
    options = {
        "name": "imagefolder", "format": "imagefolder", "root": str(arguments.root),
        "split": {"train": ".", "val": "."}, "classes": None, "batch_size": arguments.batch,
        "workers": arguments.workers, "cache": False, "on_error": "raise", "augment": augment,
        "eval": {"size": 224, "crop_pct": 0.875, "interpolation": "bicubic"},
    }  # fmt: skip
    plain = {"stages": 1, "images_per_step": False, **dict.fromkeys(NAMES)}
    data = DataModule(options, 0, Progressive(plain, 1))
    dataset = data.dataset("train")
    model = create_model(arguments.backbone, "cls", dataset.num_classes, loss={"label_smoothing": SMOOTHING})
    model = optimize_for_cpu(model).train().to(memory_format=torch.channels_last)
    optimizer = build_optimizer(
        model, name=arguments.optimizer, lr=LR, weight_decay=DECAY, momentum=0.9, backbone_lr_mult=1.0, eps=None,
        layer_decay=None, fused=True,
    )  # fmt: skip

    def step(batch: Any) -> None:
        loss = model.head.loss(model(batch["images"]), batch)["loss"]
        loss.item()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step, data.train_dataloader(), image_loader(dataset, keys=True)


def image_loader(dataset: Any, keys: bool = False):
    """A function that loads a number of images on one thread, as in a data worker, and returns processor seconds."""
    import cv2
    import torch

    index = 0

    def load_images(number: int) -> float:
        nonlocal index
        threads, opencv = torch.get_num_threads(), cv2.getNumThreads()
        torch.set_num_threads(1)
        cv2.setNumThreads(0)
        start = time.process_time()
        for _ in range(number):
            dataset[(index % len(dataset), index, 0) if keys else index % len(dataset)]
            index += 37  # through all classes
        seconds = time.process_time() - start
        torch.set_num_threads(threads)
        cv2.setNumThreads(opencv)
        return seconds

    return load_images


def write_jpegs(root: Path, scenes: int = 96) -> None:
    """Street scenes of 500x375, ImageNet's usual size, in two folders of arbitrary classes."""
    import cv2

    from lightseg.streets import render

    for number in range(scenes):
        folder = root / ("a", "b")[number % 2]
        folder.mkdir(exist_ok=True)
        image = render(number, 375, 500).image
        cv2.imwrite(str(folder / f"{number:03}.jpg"), image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 92])


if __name__ == "__main__":
    main()
