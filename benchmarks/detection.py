"""Speed of detection on the CPU: training step, loss and decoding against torchvision's own SSDLite, evaluation against
pycocotools.

    python benchmarks/detection.py                          # batch 24 of 320x320, 90 classes, COCO's mean of 7 boxes
    OMP_NUM_THREADS=1 python benchmarks/detection.py        # on one thread

Step: the peer is torchvision's `ssdlite320_mobilenet_v3_large` in training mode as its reference scripts train it:
float32, NCHW, a list of images in 0..1 that its transform normalises and resizes to the size they have, SGD, torch's
default settings. Ours is the same network with the same starting weights and the same targets: uint8 images,
channels_last, the settings of the training command (`process_tuning.tune_process`, `cpu_training.optimize_for_cpu`).
Each runs in a process of its own, because allocator and OpenMP settings belong to a process; steps alternate; the
ratio is that of the medians. The losses of the first step, printed for both, show that the two compute the same.

Loss: matching, loss and their gradient down to the head's outputs, as a share of our step.

Decoding: raw outputs of 32 images to detections, against `SSD.postprocess_detections`, both in one process with torch's
settings; they must agree. Outputs are random with the background's logit raised to leave as many candidates above the
score threshold as are printed: a net at the start of its training has most boxes of most classes, a trained one few.

Evaluation: from predictions to COCO's figures for 5,000 pictures of 100 detections (benchmarks/coco_evaluation.py,
which also runs alone); the figures must agree to 1e-6.

On a busy machine times and ratios mean little.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

CLASSES = 90
SIZE = 320
SGD: dict[str, Any] = {"lr": 0.01, "momentum": 0.9, "weight_decay": 4e-5}
BACKGROUNDS = {"a fresh net's": 0.0, "in between": 11.0, "a trained net's": 14.0, "a sure net's": 17.0}


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
    race_evaluation(arguments)  # before this process has used memory for anything else: its own is measured
    race_decoding(arguments)
    print(f"load at the end {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "")


def race(arguments: argparse.Namespace) -> None:
    workers = {
        name: subprocess.Popen(
            [sys.executable, __file__, *sys.argv[1:], "--worker", name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for name in ("peer", "ours")
    }
    steps: dict[str, list[dict[str, float]]] = {name: [] for name in workers}
    for _ in range(arguments.warmup + arguments.rounds):
        for name, worker in workers.items():
            steps[name].append(ask(worker, "step"))
    losses = [ask(workers["ours"], "loss")["seconds"] for _ in range(arguments.rounds)]
    for worker in workers.values():
        assert worker.stdin
        worker.stdin.close()
        worker.wait()

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


def ask(worker: "subprocess.Popen[str]", what: str) -> dict[str, float]:
    assert worker.stdin and worker.stdout
    worker.stdin.write(f"{what}\n")
    worker.stdin.flush()
    answer = worker.stdout.readline()
    if not answer:
        sys.exit("a worker ended early; its error is above")
    return json.loads(answer)


def work(arguments: argparse.Namespace) -> None:
    """One line on standard input is one step or loss; the answer is its time and value, and peak memory."""
    if arguments.worker == "ours":
        from lightseg import process_tuning

        process_tuning.tune_process()
    import resource

    import torch

    jobs = (peer_jobs if arguments.worker == "peer" else our_jobs)(arguments)
    for line in sys.stdin:
        seconds, loss = jobs[line.strip()]()
        peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
        answer = {"seconds": seconds, "loss": loss, "peak_mb": peak_mb, "threads": torch.get_num_threads()}
        print(json.dumps(answer), flush=True)


def make_batch(arguments: argparse.Namespace):
    """uint8 images, boxes [n,4] xyxy and labels 0..89 [n], 0 to 14 an image: the same in both processes."""
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
        targets = [{"boxes": b, "labels": one + 1} for b, one in zip(boxes, labels, strict=True)]
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
    from benchmarks.coco_evaluation import evaluation_ratio

    found = evaluation_ratio(arguments.evaluation_images)
    print(
        f"evaluation: {arguments.evaluation_images} images of 100 detections\n"
        f"  pycocotools {found['pycocotools_s']:.1f} s   lightseg {found['ours_s']:.1f} s, {found['gigabytes']:.2f} GB "
        f"  ratio {found['ratio']:.2f}   mAP {found['mAP']:.4f}, figures differ by {found['difference']:.0e} at most",
        flush=True,
    )
    assert found["difference"] <= 1e-6, "the two disagree"


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
                found = model.head.decode(ours, (SIZE, SIZE))
                middle = time.perf_counter()
                expected = net.postprocess_detections(theirs, [defaults] * batch, [(SIZE, SIZE)] * batch)
                seconds["ours"].append(middle - start)
                seconds["peer"].append(time.perf_counter() - middle)
        for mine, other in zip(found, expected, strict=True):
            assert torch.equal(mine["scores"], other["scores"]), "the two disagree"
        candidates = (logits.softmax(2)[..., 1:] > model.head.score_threshold).sum().item() / batch
        peer, mine = (statistics.median(seconds[key][1:]) for key in ("peer", "ours"))
        print(
            f"  {name:16}{candidates:8.0f} candidates an image   torchvision {peer * 1e3:5.0f} ms   "
            f"lightseg {mine * 1e3:5.0f} ms   ratio {peer / mine:.2f}"
        )


if __name__ == "__main__":
    main()
