"""Speed of detection on the CPU: training step, loss and decoding against torchvision's SSDLite, evaluation against
pycocotools.

    python benchmarks/detection.py                          # batch 24 of 320x320, 90 classes, COCO's mean of 7 boxes
    OMP_NUM_THREADS=1 python benchmarks/detection.py        # on one thread

Step: the peer is torchvision's `ssdlite320_mobilenet_v3_large` in training mode as in its reference scripts: float32,
NCHW, a list of images in 0..1 that its transform normalizes, SGD, torch's default settings. Ours is the same net with
the same initial weights and targets: uint8 images, channels_last, the settings of the training command
(`process_tuning.tune_process`, `cpu_training.optimize_for_cpu`). Each runs in a separate process, because allocator and
OpenMP settings belong to a process; steps alternate; the ratio is that of the medians. The losses of the first step,
printed for both, show that they compute the same.

Loss: matching, loss and their gradient with respect to the head's outputs, as a fraction of our step.

Decoding: raw outputs of 32 images to detections, against `SSD.postprocess_detections`, both in the same process with
torch's settings; they must agree. Outputs are random, with a higher background logit for fewer candidates above the
score threshold: an untrained net has most boxes of most classes, a trained net few.

Evaluation: from predictions to COCO's metrics for 5,000 images of 100 detections (benchmarks/coco_evaluation.py, which
also runs alone); the metrics must agree to 1e-6.

The machine should be idle.
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

CLASSES = 90
SIZE = 320
SGD: dict[str, Any] = {"lr": 0.01, "momentum": 0.9, "weight_decay": 4e-5}
BACKGROUNDS = {"untrained": 0.0, "in between": 11.0, "trained": 14.0, "confident": 17.0}  # added to the logit


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=24)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--warmup", type=int, default=1)
    parser.add_argument("--decode-batch", type=int, default=32)
    parser.add_argument("--evaluation-images", type=int, default=5000)
    parser.add_argument("--worker", choices=["peer", "ours"], help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        work(arguments)
        return
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} CPUs", flush=True)
    race(arguments)
    race_evaluation(arguments)  # first in this process, because its memory is measured
    race_decoding(arguments)
    print(f"load at the end {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "")


def race(arguments: argparse.Namespace) -> None:
    workers = {name: Worker([sys.executable, __file__, *sys.argv[1:], "--worker", name]) for name in ("peer", "ours")}
    steps: dict[str, list[dict[str, float]]] = {name: [] for name in workers}
    for _ in range(arguments.warmup + arguments.rounds):
        for name, worker in workers.items():
            steps[name].append(worker.ask("step"))
    losses = [workers["ours"].ask("loss")["seconds"] for _ in range(arguments.rounds)]
    for worker in workers.values():
        worker.close()

    print(f"step: batch {arguments.batch} of {SIZE}x{SIZE}, {CLASSES} classes, {arguments.rounds} rounds")
    names = {"peer": "torchvision", "ours": "lightseg"}
    medians = {}
    for name, all_steps in steps.items():
        seconds = [step["seconds"] for step in all_steps[arguments.warmup :]]
        medians[name] = statistics.median(seconds)
        print(
            f"  {names[name]:12}{arguments.batch / medians[name]:7.2f} images/s   "
            f"step median {medians[name] * 1e3:6.0f} ms, best {min(seconds) * 1e3:6.0f} ms   "
            f"peak memory {all_steps[-1]['peak_mb']:5.0f} MB   first loss {all_steps[0]['loss']:.4f}   "
            f"threads {all_steps[0]['threads']:.0f}"
        )
    print(f"  ratio of medians {medians['peer'] / medians['ours']:.2f}")
    loss = statistics.median(losses)
    print(f"loss and matching: {loss * 1e3:.0f} ms, {loss / medians['ours']:.1%} of our step")


def work(arguments: argparse.Namespace) -> None:
    """Run a step or a loss for each line on standard input; reply with its time and value, and peak memory."""
    if arguments.worker == "ours":
        from lightseg import process_tuning

        process_tuning.tune_process()
    import resource

    import torch

    jobs = (peer_jobs if arguments.worker == "peer" else our_jobs)(arguments)
    for line in sys.stdin:
        seconds, loss = jobs[line.strip()]()
        peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
        reply = {"seconds": seconds, "loss": loss, "peak_mb": peak_mb, "threads": torch.get_num_threads()}
        print(json.dumps(reply), flush=True)


def make_batch(arguments: argparse.Namespace):
    """uint8 images, boxes [n,4] xyxy and labels 0..89 [n], 0 to 14 per image; the same in both processes."""
    import torch

    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (arguments.batch, 3, SIZE, SIZE), dtype=torch.uint8, generator=generator)
    boxes, labels = [], []
    for count in torch.randint(0, 15, (arguments.batch,), generator=generator).tolist():
        corner = torch.rand(count, 2, generator=generator) * (SIZE - 20)
        size = 10 + torch.rand(count, 2, generator=generator) ** 2 * SIZE
        boxes.append(torch.cat([corner, (corner + size).clamp(max=SIZE)], 1))
        labels.append(torch.randint(0, CLASSES, (count,), generator=generator))
    return images, boxes, labels


def torchvision_net():
    import torch
    from torchvision.models.detection import ssdlite320_mobilenet_v3_large

    torch.manual_seed(0)
    return ssdlite320_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=CLASSES + 1).train()


def peer_jobs(arguments: argparse.Namespace):
    import torch

    net, (images, boxes, labels) = torchvision_net(), make_batch(arguments)
    floats = list(images / 255)
    optimizer = torch.optim.SGD(net.parameters(), **SGD)

    def step() -> tuple[float, float]:
        start = time.perf_counter()
        targets = [{"boxes": b, "labels": numbers + 1} for b, numbers in zip(boxes, labels, strict=True)]
        loss = sum(net(floats, targets).values())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return time.perf_counter() - start, loss.item()

    return {"step": step}


def our_model():
    from lightseg.model import create_model
    from lightseg.torchvision_ssdlite import load as load_torchvision_ssdlite

    model = create_model("mobilenetv3_large_reduced", "det", CLASSES, head={"variant": "torchvision"})
    load_torchvision_ssdlite(model, torchvision_net().state_dict())
    return model


def our_jobs(arguments: argparse.Namespace):
    import torch

    from lightseg.cpu_training import optimize_for_cpu

    model = optimize_for_cpu(our_model()).train().to(memory_format=torch.channels_last)
    images, boxes, labels = make_batch(arguments)
    images = images.contiguous(memory_format=torch.channels_last)
    targets = {"boxes": boxes, "labels": labels}
    optimizer = torch.optim.SGD(model.parameters(), foreach=True, **SGD)

    def step() -> tuple[float, float]:
        start = time.perf_counter()
        loss = model.head.loss(model(images), targets)["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return time.perf_counter() - start, loss.item()

    def loss() -> tuple[float, float]:
        with torch.no_grad():
            outputs = model(images)
        leaves = {key: outputs[key].requires_grad_() for key in ("class_logits", "box_deltas")}
        start = time.perf_counter()
        value = model.head.loss({**outputs, **leaves}, targets)["loss"]
        torch.autograd.grad(value, list(leaves.values()))
        return time.perf_counter() - start, value.item()

    return {"step": step, "loss": loss}


def race_evaluation(arguments: argparse.Namespace) -> None:
    from benchmarks.coco_evaluation import evaluation_ratio, print_comparison

    images = arguments.evaluation_images
    print_comparison(f"{images} images of 100 detections", evaluation_ratio(images))


def race_decoding(arguments: argparse.Namespace) -> None:
    import torch

    net, model = torchvision_net().eval(), our_model().eval()
    with torch.no_grad():
        outputs = model(torch.zeros(1, 3, SIZE, SIZE, dtype=torch.uint8))
    defaults, batch = outputs["default_boxes"], arguments.decode_batch
    print(f"decoding: batch of {batch}, {len(defaults)} boxes, {CLASSES} classes, on {torch.get_num_threads()} threads")
    for name, background in BACKGROUNDS.items():
        generator = torch.Generator().manual_seed(0)
        logits = 2 * torch.randn(batch, len(defaults), CLASSES + 1, generator=generator)
        logits[..., 0] += background
        deltas = torch.randn(batch, len(defaults), 4, generator=generator)
        ours = {"class_logits": logits, "box_deltas": deltas, "default_boxes": defaults}
        theirs = {"cls_logits": logits, "bbox_regression": deltas}
        seconds: dict[str, list[float]] = {"peer": [], "ours": []}
        with torch.no_grad():
            for _ in range(4):
                start = time.perf_counter()
                predictions = model.head.decode(ours, (SIZE, SIZE))
                middle = time.perf_counter()
                expected = net.postprocess_detections(theirs, [defaults] * batch, [(SIZE, SIZE)] * batch)
                seconds["ours"].append(middle - start)
                seconds["peer"].append(time.perf_counter() - middle)
        for prediction, other in zip(predictions, expected, strict=True):
            assert torch.equal(prediction["scores"], other["scores"]), "predictions differ"
        candidates = (logits.softmax(2)[..., 1:] > model.head.score_threshold).sum().item() / batch
        peer_s, our_s = (statistics.median(seconds[key][1:]) for key in ("peer", "ours"))
        print(
            f"  {name:16}{candidates:8.0f} candidates per image   torchvision {peer_s * 1e3:5.0f} ms   "
            f"lightseg {our_s * 1e3:5.0f} ms   ratio {peer_s / our_s:.2f}"
        )


if __name__ == "__main__":
    main()
