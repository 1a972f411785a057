"""Images per second of training a classifier, from JPEG files to updated weights, against timm's loader and loop.

    python benchmarks/classification.py                                  # JPEGs of the mini world, 500x375
    python benchmarks/classification.py --root /data/photos/train        # your own: a folder a class
    python benchmarks/classification.py --backbone efficientnet_lite0

The peer is timm as its train.py runs on a CPU: `create_dataset` and `create_loader` without prefetcher, its own net in
float32 and NCHW, `LabelSmoothingCrossEntropy`, `create_optimizer_v2`, torch's default settings. Ours is the training
command's: ClassificationFolder, EpochSampler and the DataLoader of tasks/data.py, uint8 pictures in channels_last that
the model normalises, `optimize_for_cpu`, `tune_process`, the fused optimiser. Both train the same net from random
weights, with the same number of workers, batch, label smoothing, optimiser and augmentation: random resized crop, flip,
colour jitter 0.4, or with --randaugment 9 timm's `rand-m9-inc1` (whose `mstd0.5` variant asks Pillow for 0 bits of
posterize, which Pillow 13 refuses).

Each side is a process of its own, because allocator and OpenMP settings belong to a process. They take turns: in one
the other is stopped, its data workers too, and a turn's first batches, which lay ready, are not timed. The ratios are
those of medians over turns. Three are printed: the whole, the training step on one batch in memory with the workers
idle, and the pipeline without a model (images/s of one worker, by its processor time, without the gathering of
batches). On a busy machine times and ratios mean little.

mobilenetv3_small, JPEGs of 500x375, batch 32 of 224x224, adamw, 2 workers, on two cores of an AVX-512 Xeon under torch
2.14, timm 1.0.31, at a load of 1.8 to 2.0 (its own), images/s:
                              timm  lightseg  ratio   each turn's ratio
    files to weights          52.0      94.1   1.81   1.73 1.78 1.64 1.86 1.90
    training step             64.1     107.8   1.68   1.81 1.56 1.68 1.62 5.28 (an outlier)
    pipeline, one worker     251.8     732.7   2.91   2.97 2.69 3.03 2.85 2.91

What helped: channels_last and uint8 batches in the step and between processes; gradients of `optimize_for_cpu`; the
crop cut out before it is resized, colour as one matrix and OpenCV's JPEG reader in the pipeline. See
benchmarks/train_step.py and benchmarks/input_pipeline.py for each alone.
"""

import argparse
import json
import os
import platform
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

SMOOTHING, LR, DECAY = 0.1, 1e-3, 0.02
WARM_UP = 2  # batches of a turn that are not timed: those that lay ready


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, help="an ImageFolder; JPEGs of the mini world without")
    parser.add_argument("--backbone", default="mobilenetv3_small")
    parser.add_argument("--optimizer", default="adamw")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--randaugment", type=int, default=0, help="magnitude, 0 = colour jitter")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--batches", type=int, default=8, help="that are timed in a turn")
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
    words = [f"--{key}={value}" for key, value in vars(arguments).items() if key != "side"]
    sides = {
        name: subprocess.Popen(
            [sys.executable, __file__, *words, "--side", name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,  # a group of its own, to be stopped with its workers
        )
        for name in ("peer", "ours")
    }
    figures: dict[str, dict[str, list[float]]] = {name: {} for name in sides}
    before = os.getloadavg()[0]
    try:
        for side in sides.values():
            ask(side, "ready")
            os.killpg(side.pid, signal.SIGSTOP)
        for turn in range(arguments.turns + 1):
            for name in sorted(sides, reverse=bool(turn % 2)):
                side = sides[name]
                os.killpg(side.pid, signal.SIGCONT)
                for what in ("train", "step", "pipeline"):
                    speed = ask(side, what)
                    if turn:  # the first warms up
                        figures[name].setdefault(what, []).append(speed)
                os.killpg(side.pid, signal.SIGSTOP)
    finally:
        for side in sides.values():
            os.killpg(side.pid, signal.SIGCONT)
            assert side.stdin
            side.stdin.close()
            side.wait()

    load = f"load {before:.1f} to {os.getloadavg()[0]:.1f}"
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} CPUs, {load}")
    extra = f"RandAugment {arguments.randaugment}" if arguments.randaugment else "colour jitter 0.4"
    print(
        f"{arguments.backbone}, batch {arguments.batch} of {arguments.size}x{arguments.size}, {extra}, "
        f"{arguments.optimizer}, {arguments.workers} workers; {arguments.turns} turns of {arguments.batches} batches"
    )
    print(f"{'images/s':22}{'timm':>8}{'lightseg':>10}{'ratio':>7}   each turn's ratio")
    names = {"train": "files to weights", "step": "training step", "pipeline": "pipeline, one worker"}
    for what, label in names.items():
        theirs, ours = figures["peer"][what], figures["ours"][what]
        each = " ".join(f"{b / a:.2f}" for a, b in zip(theirs, ours, strict=True))
        a, b = statistics.median(theirs), statistics.median(ours)
        print(f"{label:22}{a:8.1f}{b:10.1f}{b / a:7.2f}   {each}")


def ask(side: "subprocess.Popen[str]", what: str) -> float:
    assert side.stdin and side.stdout
    side.stdin.write(what + "\n")
    side.stdin.flush()
    answer = side.stdout.readline()
    if not answer:
        sys.exit("a side ended early; its error is above")
    return float(json.loads(answer))


def work(arguments: argparse.Namespace) -> None:
    """Answers every line on standard input with images/s of what it names."""
    if arguments.side == "ours":
        from lightseg import process_tuning

        process_tuning.tune_process()
    import torch

    torch.manual_seed(0)
    step, batches, picture = (timm_side if arguments.side == "peer" else our_side)(arguments)
    stream = endless(batches)
    kept = next(stream)
    for line in sys.stdin:
        what, seconds = line.strip(), 1.0
        if what == "train":
            for _ in range(WARM_UP + arguments.workers * 2):  # what the workers had ready when the other's turn began
                step(next(stream))
            start = time.perf_counter()
            for _ in range(arguments.batches):
                step(next(stream))
            seconds = time.perf_counter() - start
        elif what == "step":
            step(kept)
            start = time.perf_counter()
            for _ in range(arguments.batches):
                step(kept)
            seconds = time.perf_counter() - start
        elif what == "pipeline":
            seconds = picture(arguments.batches * arguments.batch)
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
    """The training step of timm's train.py, its loader, and its pipeline in this process."""
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

    return step, loader, alone(dataset, len(dataset))


def our_side(arguments: argparse.Namespace):
    """The training step and the loader of train.py, and the data set in this process."""
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

    return step, data.train_dataloader(), alone(dataset, len(dataset), keys=True)


def alone(dataset: Any, count: int, keys: bool = False):
    """Processor seconds for so many pictures on one thread, as a worker makes them."""
    import cv2
    import torch

    place = 0

    def pictures(number: int) -> float:
        nonlocal place
        threads, opencv = torch.get_num_threads(), cv2.getNumThreads()
        torch.set_num_threads(1)
        cv2.setNumThreads(0)
        start = time.process_time()
        for _ in range(number):
            dataset[(place % count, place, 0) if keys else place % count]
            place += 37  # through all classes
        seconds = time.process_time() - start
        torch.set_num_threads(threads)
        cv2.setNumThreads(opencv)
        return seconds

    return pictures


def write_jpegs(root: Path, scenes: int = 96) -> None:
    """Street scenes of 500x375, which is ImageNet's usual size, in two folders: what they show makes no difference."""
    import cv2

    from lightseg.streets import render

    for number in range(scenes):
        folder = root / ("a", "b")[number % 2]
        folder.mkdir(exist_ok=True)
        image = render(number, 375, 500).image
        cv2.imwrite(str(folder / f"{number:03}.jpg"), image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 92])


if __name__ == "__main__":
    main()
