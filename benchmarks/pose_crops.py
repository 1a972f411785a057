"""Crops of persons per second on one thread, against torchvision and albumentations. See benchmarks/pose.py.

Both peers take the same persons from the same files, with the same strength of scale, rotation and flip: torchvision's
v2 transforms with its KeyPoints, read with PIL, as in its reference scripts; and albumentations with keypoint
parameters, read with OpenCV. Each crops the padded box, with black beyond the image, resizes it and applies an affine
map, which loses the surroundings of the box; ours is a single warp and shows them. They return normalized float32, ours
uint8, which the model normalizes; `ours, normalized` includes the normalization. `ours, cached` has the decoded images
in memory (data.cache=true); `reading only` is the minimum without it. Times are processor time, medians over rounds in
which the sides alternate on the same persons.
"""

import json
import os
import tempfile
from copy import copy
from pathlib import Path
from typing import Any

os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"  # no network access at import

import cv2
import numpy as np
import torch
from PIL import Image
from torchvision import tv_tensors
from torchvision.transforms import v2

from benchmarks.input_pipeline import MEAN, STD, Read, compare, ours
from benchmarks.pose_evaluation import NAMES
from lightseg.data.datasets.coco_keypoints import CocoKeypoints
from lightseg.data.transforms.pose import train_transform

SCALE, ROTATION = (0.75, 1.25), 40.0


def race_crops(root: Path | None, images: str, annotations: str, size: tuple[int, int], rounds: int) -> None:
    """Print the table. root: a COCO folder; None: synthetic images."""
    threads = torch.get_num_threads(), cv2.getNumThreads()
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as temporary:
        folder = root or Path(temporary)
        if root is None:
            write_synthetic(folder, images, annotations)
        transform = train_transform(
            size, scale=SCALE, scale_prob=1.0, rotation=ROTATION, rotation_prob=1.0, shift_prob=0.0,
            half_body=0.0,
        )  # fmt: skip
        dataset = CocoKeypoints(folder, images=images, annotations=annotations, transform=transform)
        cached = copy(dataset)
        cached.keep_decoded()
        for index in range(len(cached)):
            cached.read(index)
        sides = {
            "torchvision v2": torchvision_crop(dataset, size),
            "albumentations": albumentations_crop(dataset, size),
            "ours": ours(dataset, normalize=False),
            "ours, normalized": ours(dataset, normalize=True),
            "ours, cached": ours(cached, normalize=False),
            "reading only": dataset.read,
        }
        seconds = compare(sides, len(dataset), rounds)
    print(f"crops: {root or 'synthetic'}, {len(dataset)} people, {size[0]}x{size[1]}, one thread each")
    for name, value in seconds.items():
        ratios = [seconds[peer] / value for peer in ("torchvision v2", "albumentations")]
        against = f"  {ratios[0]:5.2f}x torchvision  {ratios[1]:5.2f}x albumentations" if "ours" in name else ""
        print(f"  {name:18}{1e3 * value:6.2f} ms  {1 / value:7.1f} images/s a worker{against}", flush=True)
    torch.set_num_threads(threads[0])
    cv2.setNumThreads(threads[1])


def write_synthetic(root: Path, images: str, annotations: str, count: int = 48) -> None:
    """Write images of COCO's usual size and about its bytes per file: noisy blobs of color, with three persons each."""
    random = np.random.default_rng(0)
    (root / images).mkdir(parents=True)
    (root / annotations).parent.mkdir(parents=True, exist_ok=True)
    truth: dict[str, Any] = {
        "images": [{"id": i + 1, "file_name": f"{i:03}.jpg", "height": 480, "width": 640} for i in range(count)],
        "annotations": [],
        "categories": [{"id": 1, "name": "person", "keypoints": NAMES, "skeleton": []}],
    }
    for image in truth["images"]:
        blobs = cv2.resize(random.uniform(0, 255, (6, 8, 3)), (640, 480), interpolation=cv2.INTER_CUBIC)
        noisy = blobs + cv2.GaussianBlur(random.normal(0, 30, (480, 640, 3)), (0, 0), 1.2)
        path = str(root / images / image["file_name"])
        cv2.imwrite(path, noisy.clip(0, 255).astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, 92])
        for _ in range(3):
            size = np.array([0.45, 1.0]) * random.uniform(60, 400)
            corner = random.uniform(0, 1, 2) * (np.array([639, 479]) - size)
            points = np.hstack([corner + random.random((len(NAMES), 2)) * size, np.full((len(NAMES), 1), 2)])
            truth["annotations"].append(
                {
                    "id": len(truth["annotations"]) + 1, "image_id": image["id"], "category_id": 1, "iscrowd": 0,
                    "bbox": [*corner.tolist(), *size.tolist()], "area": float(size.prod() * 0.6),
                    "num_keypoints": len(NAMES), "keypoints": points.ravel().tolist(),
                }
            )  # fmt: skip
    (root / annotations).write_text(json.dumps(truth))


def window_of(box: np.ndarray, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """Left, top, width and height of the padded box with the input's aspect ratio, in whole pixels."""
    middle, (width, height) = (box[:2] + box[2:]) / 2, (box[2:] - box[:2]) * 1.25
    width = max(width, height * size[1] / size[0])
    height = width * size[0] / size[1]
    left, top = np.round(middle - np.array([width, height]) / 2).astype(int).tolist()
    return left, top, max(1, round(width)), max(1, round(height))


def torchvision_crop(dataset: CocoKeypoints, size: tuple[int, int]) -> Read:
    paths, people = dataset.paths, annotations_of(dataset)
    kinds = {tv_tensors.Image: torch.float32, "others": None}
    transform = v2.Compose(
        [
            v2.ToImage(),
            v2.RandomHorizontalFlip(0.5),
            v2.RandomAffine(ROTATION, scale=SCALE, interpolation=v2.InterpolationMode.BILINEAR),
            v2.ToDtype(kinds, scale=True),
            v2.Normalize(MEAN, STD),
            v2.ToPureTensor(),
        ]
    )

    def read(index: int) -> Any:
        person = people[index]
        image = Image.open(paths[index]).convert("RGB")
        points = tv_tensors.KeyPoints(person["keypoints"], canvas_size=(image.height, image.width))
        left, top, width, height = window_of(person["box"], size)
        window = (top, left, height, width, list(size))
        return transform(v2.functional.resized_crop(image, *window), v2.functional.resized_crop(points, *window))

    return read


def annotations_of(dataset: CocoKeypoints) -> list[dict[str, Any]]:
    """Box and keypoints of each person, without the image."""
    samples = (dataset.read(index) for index in range(len(dataset)))
    return [{key: sample[key] for key in ("box", "keypoints")} for sample in samples]


def albumentations_crop(dataset: CocoKeypoints, size: tuple[int, int]) -> Read:
    import albumentations as A

    paths, people = dataset.paths, annotations_of(dataset)
    transform = A.Compose(
        [
            A.Resize(*size),
            A.HorizontalFlip(p=0.5),
            A.Affine(scale=SCALE, rotate=(-ROTATION, ROTATION), p=1.0),
            A.Normalize(MEAN, STD),
            A.ToTensorV2(),
        ],
        keypoint_params=A.KeypointParams(format="xy", remove_invisible=False),
    )

    def read(index: int) -> Any:
        person = people[index]
        image: Any = cv2.imread(str(paths[index]), cv2.IMREAD_COLOR_RGB)
        left, top, width, height = window_of(person["box"], size)
        right, bottom = left + width, top + height
        inside = image[max(0, top) : max(0, bottom), max(0, left) : max(0, right)]
        sides = (max(0, -top), max(0, bottom - image.shape[0]), max(0, -left), max(0, right - image.shape[1]))
        window = cv2.copyMakeBorder(inside, *sides, cv2.BORDER_CONSTANT)
        return transform(image=window, keypoints=person["keypoints"] - (left, top))

    return read
