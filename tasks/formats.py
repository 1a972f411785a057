"""From `data.format` to data sets, transforms and batches: what the DataModule needs to know of each kind of data."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch

from lightseg.data.datasets.cityscapes import Cityscapes
from lightseg.data.datasets.coco import CocoDetection, check_same_categories
from lightseg.data.datasets.coco import collate as coco_batch
from lightseg.data.datasets.coco_keypoints import CocoKeypoints, check_same_skeletons
from lightseg.data.datasets.coco_keypoints import collate as pose_batch
from lightseg.data.datasets.folder import SegmentationFolder
from lightseg.data.datasets.imagefolder import ClassificationFolder, check_same_classes
from lightseg.data.datasets.segmentation import collate
from lightseg.data.transforms.extra import with_extra
from lightseg.data.transforms.stage_transform import Transform
from lightseg.errors import DataError, LightsegError, nearest, one_line

Options = dict[str, Any]  # the `data` group of the configuration
Batch = dict[str, Any]


class Format(NamedTuple):
    """One kind of data.

    Attributes:
        dataset: (options, name of the split, transform) -> data set.
        train: (options, scheduled values of the stage) -> transform.
        evaluation: (options) -> transform, or None for whole pictures.
        batch: samples -> batch: `images` uint8 [B, C, H, W], `names`, and the task's targets.
        prepare: makes the data where it is made on this machine.
        agree: refuses two splits that are not of the same classes.
    """

    dataset: Callable[[Options, str, Transform | None], Any]
    train: Callable[[Options, dict[str, float]], Transform]
    evaluation: Callable[[Options], Transform | None]
    batch: Callable[[list[dict[str, Any]]], Batch]
    prepare: Callable[[Options], object] | None = None
    agree: Callable[[Any, Any], None] | None = None


# -- segmentation ------------------------------------------------------------------------------------------------------


def seg_train(options: Options, values: dict[str, float]) -> Transform:
    """At a smaller `image_size` (of the crop's shorter side) the same part of the picture has fewer pixels."""
    from lightseg.data.transforms.segmentation import DEFAULT_SCALE, train_transform

    augment = dict(options["augment"])
    if "image_size" in values:
        share = values["image_size"] / min(augment["crop_size"])
        augment["crop_size"] = [round(side * share) for side in augment["crop_size"]]
        augment["scale"] = [scale * share for scale in augment.get("scale", DEFAULT_SCALE)]
    return with_extra(train_transform, augment, "mask")


def seg_batch(samples: list[dict[str, Any]]) -> Batch:
    """`masks` uint8 [B, H, W] where there are labels."""
    try:
        batch = collate(samples)
    except DataError as error:
        raise DataError(f"{one_line(error)}; for evaluation that is data.eval_batch_size=1") from error
    masks = {"masks": batch["mask"]} if "mask" in batch else {}
    return {"images": batch["image"], "names": batch["name"], **masks}


def cityscapes(options: Options, split: str, transform: Transform | None) -> Cityscapes:
    return Cityscapes(
        options["root"], options["split"][split], coarse=options.get("coarse", False), transform=transform
    )


def seg_folder(options: Options, split: str, transform: Transform | None) -> SegmentationFolder:
    where = options["split"][split]
    if not options["classes"]:
        raise LightsegError("data.classes is not set: give the class names, as in data.classes=[road, car]")
    return SegmentationFolder(
        options["root"],
        images=where["images"],
        labels=where["masks"],
        classes=options["classes"],
        ignore=options["ignore"],
        palette=options["palette"],
        colors=options.get("colors"),
        image_end=options.get("image_end", ""),
        label_end=options.get("mask_end", ""),
        transform=transform,
    )


def mini_seg(options: Options) -> None:
    from lightseg.streets import write_cityscapes

    height, width = options["size"]
    write_cityscapes(Path(options["root"]), seed=options["world_seed"], height=height, width=width, **options["count"])


# -- classification ----------------------------------------------------------------------------------------------------


def cls_train(options: Options, values: dict[str, float]) -> Transform:
    from lightseg.data.transforms.classification import train_transform

    augment = dict(options["augment"])
    if "image_size" in values:
        augment["size"] = int(values["image_size"])
    if "randaugment" in values:
        augment["randaugment"] = values["randaugment"]
    return with_extra(train_transform, augment, None)


def cls_evaluation(options: Options) -> Transform:
    from lightseg.data.transforms.classification import eval_transform

    return eval_transform(**options["eval"])


def cls_batch(samples: list[dict[str, Any]]) -> Batch:
    """`labels` int64 [B]."""
    batch = collate([{key: sample[key] for key in ("image", "name")} for sample in samples])
    labels = torch.tensor([sample["label"] for sample in samples])
    return {"images": batch["image"], "names": batch["name"], "labels": labels}


def cls_folder(options: Options, split: str, transform: Transform | None) -> ClassificationFolder:
    where = options["split"][split]
    return ClassificationFolder(options["root"], where, class_names=options["classes"], transform=transform)


def mini_cls(options: Options) -> None:
    from lightseg.streets import write_imagefolder

    write_imagefolder(Path(options["root"]), seed=options["world_seed"], size=options["size"], **options["count"])


# -- detection ---------------------------------------------------------------------------------------------------------


def det_train(options: Options, values: dict[str, float]) -> Transform:
    """`image_size` is the shorter side of the network's input."""
    from lightseg.data.transforms.detection import train_transform

    augment = {key: value for key, value in options["augment"].items() if key != "multi_scale"}  # of whole batches
    if "image_size" in values:
        share = values["image_size"] / min(augment["size"])
        augment["size"] = [round(side * share) for side in augment["size"]]
    return with_extra(train_transform, augment, "bboxes")


def det_evaluation(options: Options) -> Transform:
    from lightseg.data.transforms.detection import eval_transform

    return eval_transform(**options["eval"])


def coco(options: Options, split: str, transform: Transform | None) -> CocoDetection:
    where = options["split"][split]
    return CocoDetection(options["root"], images=where["images"], annotations=where["annotations"], transform=transform)


def mini_det(options: Options) -> None:
    from lightseg.streets import write_coco

    height, width = options["size"]
    write_coco(Path(options["root"]), seed=options["world_seed"], height=height, width=width, **options["count"])


# -- pose --------------------------------------------------------------------------------------------------------------


def pose_train(options: Options, values: dict[str, float]) -> Transform:
    """`image_size` is the shorter side of the crop."""
    from lightseg.data.transforms.pose import train_transform

    augment = dict(options["augment"])
    if "image_size" in values:
        share = values["image_size"] / min(augment["size"])
        augment["size"] = [round(side * share) for side in augment["size"]]
    return with_extra(train_transform, augment, "keypoints")


def pose_evaluation(options: Options) -> Transform:
    from lightseg.data.transforms.pose import eval_transform

    return eval_transform(**options["eval"])


def coco_keypoints(options: Options, split: str, transform: Transform | None) -> CocoKeypoints:
    where = options["split"][split]
    return CocoKeypoints(
        options["root"],
        images=where["images"],
        annotations=where["annotations"],
        transform=transform,
        person_boxes=None if split == "train" else options["person_boxes"],
        least_score=options["least_box_score"],
        category=options["category"],
        skeleton=options["skeleton"],
    )


def mini_pose(options: Options) -> None:
    from lightseg.streets import write_persons

    height, width = options["size"]
    write_persons(Path(options["root"]), seed=options["world_seed"], height=height, width=width, **options["count"])


FORMATS = {
    "cityscapes": Format(cityscapes, seg_train, lambda options: None, seg_batch),
    "mini_seg": Format(cityscapes, seg_train, lambda options: None, seg_batch, mini_seg),
    "folder": Format(seg_folder, seg_train, lambda options: None, seg_batch),
    "imagefolder": Format(cls_folder, cls_train, cls_evaluation, cls_batch, agree=check_same_classes),
    "mini_cls": Format(cls_folder, cls_train, cls_evaluation, cls_batch, mini_cls),
    "coco": Format(coco, det_train, det_evaluation, coco_batch, agree=check_same_categories),
    "mini_det": Format(coco, det_train, det_evaluation, coco_batch, mini_det),
    "coco_keypoints": Format(coco_keypoints, pose_train, pose_evaluation, pose_batch, agree=check_same_skeletons),
    "mini_pose": Format(coco_keypoints, pose_train, pose_evaluation, pose_batch, mini_pose),
}


def format_of(options: Options) -> Format:
    if options["format"] not in FORMATS:
        raise LightsegError(f"data.format={options['format']}: {nearest(options['format'], FORMATS)}")
    return FORMATS[options["format"]]
