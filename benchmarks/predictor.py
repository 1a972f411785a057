"""`lightseg.load(...)` against a hand-written loop over the same model, and the memory of a long stream.

    python benchmarks/predictor.py                        # short: minutes on two cores
    python benchmarks/predictor.py --task cls --rounds 21 --images 64

Both sides take the same arrays in batches of the same size and give the same values: the loop resizes (OpenCV; for
classification PIL, as timm does), stacks, runs the model and decodes, and scales boxes back to the images; it keeps
plain arrays. Times are processor time; rounds alternate, each side first in every second round, and the figure is the
median of the ratios of paired rounds, so that a busy machine slows both sides. Weights are
random: their values change no duration but that of the boxes' suppression, which both sides have.

Two cores of a shared, busy server, one thread, mobilenetv3_small, 32 images of 640x480, 7 rounds; ratio of times:
    det  0.99    cls  1.05    seg  1.05

`stream`: 1,000 images from a generator, of which none is kept. Memory is that of the process.
"""

import argparse
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from time import process_time
from typing import Any

import cv2
import numpy as np
import psutil
import torch
from PIL import Image

import lightseg
from lightseg.checkpoint import load_model
from lightseg.model import create_model

SIZES = {"det": (320, 320), "cls": (224, 224), "seg": (256, 512)}
CLASSES = {"det": 80, "cls": 1000, "seg": 19}
STREAMED = 1000


def save_checkpoint(folder: Path, task: str, backbone: str) -> Path:
    torch.manual_seed(0)
    contract: dict[str, Any] = {"size": list(SIZES[task])}
    if task == "cls":
        contract |= {"crop_pct": 1.0, "interpolation": "bilinear"}
    model = create_model(backbone, task, CLASSES[task], input=contract)
    state = {f"model.{key}": value for key, value in model.state_dict().items()}
    path = folder / "best.ckpt"
    torch.save({"hyper_parameters": {"model": model.spec}, "state_dict": state}, path)
    return path


def hand_written(checkpoint: Path, task: str, batch_size: int) -> Callable[[list[np.ndarray]], list[Any]]:
    """A loop as one writes it for a single model."""
    model = load_model(checkpoint).to(memory_format=torch.channels_last)
    height, width = SIZES[task]

    @torch.inference_mode()
    def run(images: list[np.ndarray]) -> list[Any]:
        results: list[Any] = []
        for start in range(0, len(images), batch_size):
            batch = images[start : start + batch_size]
            resized = [resize(image, task, height, width) for image in batch]
            outputs = model(torch.from_numpy(np.stack(resized)).permute(0, 3, 1, 2))
            if task == "seg":
                for i, image in enumerate(batch):
                    mask = model.head.decode(outputs[i : i + 1], image.shape[:2])[0]
                    results.append(mask.to(torch.uint8).numpy())
                continue
            decoded = model.head.decode(outputs, (height, width))
            if task == "cls":
                results += list(decoded.numpy())
                continue
            for image, prediction in zip(batch, decoded, strict=True):
                scale = np.array([image.shape[1] / width, image.shape[0] / height] * 2, np.float32)
                results.append({**prediction, "boxes": prediction["boxes"].numpy() * scale})
        return results

    return run


def resize(image: np.ndarray, task: str, height: int, width: int) -> np.ndarray:
    if task != "cls":
        return cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)
    scale = height / min(image.shape[:2])
    longer = int(scale * image.shape[1])
    left = round((longer - width) / 2)
    return np.asarray(Image.fromarray(image).resize((longer, height), Image.Resampling.BILINEAR))[
        :, left : left + width
    ]


def check_equal(ours: list[Any], theirs: list[Any], task: str) -> None:
    names = {"det": "boxes", "cls": "", "seg": ""}
    for prediction, expected in zip(ours, theirs, strict=True):
        value = {"det": "boxes_xyxy", "cls": "probabilities", "seg": "mask"}[task]
        wanted = expected[names[task]] if names[task] else expected
        np.testing.assert_allclose(getattr(prediction, value), wanted, atol=1e-3)


def seconds(call: Callable[[], Any]) -> float:
    started = process_time()
    call()
    return process_time() - started


def stream_memory(predictor: Any, side: int) -> tuple[float, float]:
    """MB of the process after the first hundred images of the stream, and its maximum over all."""
    image = np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)

    def images() -> Iterator[np.ndarray]:
        for number in range(STREAMED):
            yield np.roll(image, number, 1)

    process, sizes = psutil.Process(), []
    for _ in predictor(images()):
        sizes.append(process.memory_info().rss / 2**20)
    return sizes[99], max(sizes)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--task", choices=SIZES, default="det")
    parser.add_argument("--backbone", default="mobilenetv3_small")
    parser.add_argument("--images", type=int, default=32)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    cv2.setNumThreads(arguments.threads)
    generator = np.random.default_rng(0)
    small = generator.integers(0, 256, (arguments.images, 30, 40, 3), dtype=np.uint8)
    images = [cv2.resize(image, (640, 480), interpolation=cv2.INTER_CUBIC) for image in small]
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = save_checkpoint(Path(folder), arguments.task, arguments.backbone)
        loop = hand_written(checkpoint, arguments.task, arguments.batch_size)
        predictor = lightseg.load(checkpoint, device="cpu")
    sides: list[Callable[[], Any]] = [
        lambda: loop(images),
        lambda: predictor(images, batch_size=arguments.batch_size),
    ]
    check_equal(sides[1](), sides[0](), arguments.task)
    pairs = []
    for number in range(arguments.rounds):
        order = (0, 1) if number % 2 else (1, 0)
        times = {index: seconds(sides[index]) for index in order}
        pairs.append((times[0], times[1]))
    ratio = median(ours / theirs for theirs, ours in pairs)
    theirs, ours = (1000 * median(times) / len(images) for times in zip(*pairs, strict=True))
    print(f"{arguments.task}, {arguments.backbone}, {len(images)} images of 640x480, batch {arguments.batch_size}:")
    print(f"  loop {theirs:.2f} ms an image, predictor {ours:.2f} ms; time, ratio of paired rounds: {ratio:.3f}")
    early, peak = stream_memory(predictor, 96)
    print(f"  stream of {STREAMED} images of 96x96: {early:.0f} MB after 100, at most {peak:.0f} MB")


if __name__ == "__main__":
    main()
