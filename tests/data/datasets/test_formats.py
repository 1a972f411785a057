"""The same labeled images in every format: identical samples, and identical figures of the same predictions."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lightseg.catalog.tasks import get_task
from lightseg.data.datasets.opening import open_split
from lightseg.metrics.detection import DetectionMetric
from lightseg.metrics.pose import PoseMetric
from lightseg.metrics.segmentation import SegmentationMetric
from lightseg.task_specs import task_spec
from tests.data.datasets.label_writers import (
    CLASSES,
    Scene,
    make_scenes,
    options_of,
    write_coco,
    write_cvat,
    write_folder,
    write_labelme,
    write_panoptic,
    write_voc,
    write_voc_masks,
    write_yolo,
)

JSON = [
    "data.split.train={images: train, annotations: train.json}",
    "data.split.val={images: val, annotations: val.json}",
]
PANOPTIC = [
    f"data.split.{s}={{images: {s}, annotations: panoptic_{s}.json, masks: panoptic_{s}}}" for s in ("train", "val")
]
MASK_CLASSES = f"data.classes=[background, {', '.join(CLASSES)}]"
BOXES = {
    "coco": (write_coco, ["data=coco", *JSON]),
    "coco without boxes": (partial(write_coco, boxes=False), ["data=coco", *JSON]),
    "coco rle without boxes": (partial(write_coco, boxes=False, rle=True), ["data=coco", *JSON]),
    "yolo": (write_yolo, ["data=yolo"]),
    "yolo polygons": (partial(write_yolo, kind="polygon"), ["data=yolo"]),
    "yolo of roboflow": (partial(write_yolo, roboflow=True, names=dict(enumerate(CLASSES))), ["data=yolo"]),
    "voc": (write_voc, ["data=voc"]),
    "voc of roboflow": (partial(write_voc, beside=True), ["data=voc"]),
    "labelme": (write_labelme, ["data=labelme"]),
    "labelme polygons": (partial(write_labelme, kind="polygon"), ["data=labelme"]),
    "cvat": (write_cvat, ["data=cvat"]),
    "cvat polygons": (partial(write_cvat, kind="polygon"), ["data=cvat"]),
}
MASKS = {
    "folder": (write_folder, ["data=folder", MASK_CLASSES]),
    "voc": (write_voc_masks, ["data=voc", MASK_CLASSES]),
    "coco": (write_coco, ["data=coco", *JSON]),
    "coco rle": (partial(write_coco, rle=True), ["data=coco", *JSON]),
    "panoptic": (write_panoptic, ["data=coco", *PANOPTIC]),
    "yolo": (partial(write_yolo, kind="polygon"), ["data=yolo"]),
    "labelme": (partial(write_labelme, kind="polygon"), ["data=labelme"]),
    "cvat": (partial(write_cvat, kind="polygon"), ["data=cvat"]),
}
POINTS = {
    "coco": (write_coco, ["data=coco", *JSON]),
    "yolo": (partial(write_yolo, kind="pose"), ["data=yolo"]),
    "labelme": (partial(write_labelme, kind="pose"), ["data=labelme"]),
}
SKELETONS = {  # without boxes
    "coco": (partial(write_coco, boxes=False, outlines=False), ["data=coco", *JSON]),
    "cvat": (partial(write_cvat, kind="pose"), ["data=cvat"]),
}
Write = Callable[[Path, dict[str, list[Scene]]], None]


def open_format(write: Write, overrides: list[str], task: str, splits: dict[str, list[Scene]], root: Path) -> dict:
    root.mkdir()
    write(root, splits)
    options = options_of(root, task, *overrides)
    return {split: open_split(options, split, None) for split in splits}


def assert_same(sample: dict, expected: dict, *, atol: float, name: str) -> None:
    assert sample.keys() == expected.keys()
    for key, value in expected.items():
        if isinstance(value, torch.Tensor):
            torch.testing.assert_close(sample[key], value, atol=atol, rtol=0, msg=f"{name}: {key}")
        else:
            assert sample[key] == value, (name, key)


def box_figures(dataset: Any) -> dict[str, float]:
    metric = DetectionMetric(dataset.ground_truth(), dataset.class_names, dataset.category_ids)
    for index in range(len(dataset)):
        sample = dataset[index]
        shift = torch.tensor([1.0, 0.0, 3.0, 2.0]) * (index % 3)
        scores = torch.linspace(0.9, 0.3, len(sample["boxes"]))
        metric.update(
            [{"boxes": sample["boxes"] + shift, "labels": sample["labels"], "scores": scores}], [sample["image_id"]]
        )
    return metric.compute()


def mask_figures(dataset: Any) -> dict[str, float]:
    metric = SegmentationMetric(dataset.num_classes, dataset.class_names)
    for index in range(len(dataset)):
        mask = dataset[index]["mask"]
        metric.update(mask.roll(index % 4, 1) % dataset.num_classes, mask)
    return metric.compute()


def point_figures(dataset: Any) -> dict[str, float]:
    metric = PoseMetric(dataset.ground_truth(), dataset.class_names, dataset.skeleton.sigmas)
    for index in range(len(dataset)):
        sample = dataset[index]
        points = sample["keypoints"][None] + index % 3
        scores = torch.full(points.shape[:2], 0.8)
        metric.update(points, scores, torch.ones(1), sample["box"][None], [sample["image_id"]], [sample["id"]])
    return metric.compute()


FIGURES = {"det": box_figures, "seg": mask_figures, "pose": point_figures}


def check_all(task: str, formats: dict, count: int, tmp_path: Path, *, size: tuple[int, int], atol: float) -> None:
    scenes = make_scenes(count, height=size[0], width=size[1])
    splits = {"train": scenes[: count // 2], "val": sorted(scenes[count // 2 :], key=lambda scene: scene.name)}
    splits["train"].sort(key=lambda scene: scene.name)
    reference: dict = {}
    expected_figures: dict = {}
    for number, (name, (write, overrides)) in enumerate(formats.items()):
        sets = open_format(write, overrides, task, splits, tmp_path / str(number))
        for dataset in sets.values():
            for index in range(len(dataset)):
                dataset.check(index)
        samples = {split: [dataset[i] for i in range(len(dataset))] for split, dataset in sets.items()}
        if task == "pose":  # the name ends in the annotation's id, which is of all images of the file
            assert all(sample["name"].startswith("clip") for split in samples.values() for sample in split)
        figures = FIGURES[task](sets["val"])
        figures |= label_counts(task, sets["train"])
        reference, expected_figures = reference or samples, expected_figures or figures
        classes = {"det": CLASSES, "seg": ["background", *CLASSES], "pose": ["left_ear", "nose", "right_ear"]}[task]
        assert sets["train"].class_names == classes, name
        assert [len(split) for split in samples.values()] == [len(split) for split in reference.values()]
        for split, listed in samples.items():
            for sample, expected in zip(listed, reference[split], strict=True):
                assert_same(sample, expected, atol=atol, name=f"{name} {split}")
        assert figures == pytest.approx(expected_figures, abs=1e-9, nan_ok=True), name
    main = {"det": "mAP", "seg": "mIoU", "pose": "AP"}[task]
    assert 0.1 < expected_figures[main] < 0.95


def label_counts(task: str, dataset: Any) -> dict[str, float]:
    """The pixels or objects of each class, which are printed before training."""
    counted = task_spec(get_task(task)).label_statistics(dataset, {"augment": {"size": [64, 128]}})
    assert counted is not None and counted.total == len(dataset)
    return {f"labels/{name}": int(count) for name, count in zip(counted.class_names, counted.counts, strict=True)}


CASES = [("det", BOXES), ("seg", MASKS), ("pose", POINTS), ("pose", SKELETONS)]


@pytest.mark.parametrize(("task", "formats"), CASES, ids=["boxes", "masks", "points", "skeletons"])
def test_six_images_are_the_same_in_every_format(task, formats, tmp_path):
    """Sides that are powers of two, so that YOLO's shares are exact."""
    check_all(task, formats, 6, tmp_path, size=(64, 128), atol=0)


@pytest.mark.slow
@pytest.mark.parametrize(("task", "formats"), CASES, ids=["boxes", "masks", "points", "skeletons"])
def test_forty_images_are_the_same_in_every_format(task, formats, tmp_path):
    check_all(task, formats, 40, tmp_path, size=(96, 150), atol=1e-4)


def test_masks_are_those_that_were_drawn(tmp_path):
    """Against a mask that the test paints: inside an outline the class, outside the background."""
    scenes = make_scenes(4)
    sets = open_format(*MASKS["coco"], "seg", {"train": scenes[:2], "val": scenes[2:]}, tmp_path / "coco")
    for scene, sample in zip(scenes[2:], (sets["val"][i] for i in range(2)), strict=True):
        expected = np.zeros(scene.size, np.uint8)
        for entry in scene.objects:
            x1, y1, x2, y2 = entry.box
            x, y = np.arange(scene.size[1]) + 0.5 - (x1 + x2) / 2, np.arange(scene.size[0]) + 0.5 - (y1 + y2) / 2
            half_x, half_y = (x2 - x1) / 2, (y2 - y1) / 2
            inside = (np.abs(x)[None] < half_x - 2) & (np.abs(y)[:, None] < half_y - 2)
            corner = np.abs(x)[None] / half_x + np.abs(y)[:, None] / half_y > 1.3
            expected[inside & ~corner] = CLASSES.index(entry.label) + 1
        marked = expected > 0
        assert marked.any() and (sample["mask"].numpy()[marked] == expected[marked]).all()
        assert (
            0 < (sample["mask"] > 0).sum() <= sum((e.box[2] - e.box[0]) * (e.box[3] - e.box[1]) for e in scene.objects)
        )
