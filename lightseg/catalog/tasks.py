"""The tasks without torch: name, heads, data formats, metrics, and the import paths of their code.

A task is a `TaskInfo` here (or from another package, with `register_task`), a `TaskSpec` (lightseg/task_specs/), a
LightningModule (tasks/) and a YAML file (configs/task/). Code that depends on the task uses its `TaskInfo` or
`TaskSpec`; nothing else compares task names.

Import paths are written `package.module:attribute`. A path that begins with a dot is relative to `tasks/`.
"""

from importlib import import_module
from typing import Any

from lightseg.catalog.task_info import FormatInfo, HeadInfo, MetricInfo, TaskInfo
from lightseg.errors import LightsegError, nearest

__all__ = [
    "PUBLISHED",
    "TASKS",
    "FormatInfo",
    "HeadInfo",
    "MetricInfo",
    "TaskInfo",
    "formats",
    "get_task",
    "register_task",
    "resolve",
]

PUBLISHED = "published"  # an evaluation value: that of the backbone's published weights

_CITYSCAPES = "lightseg.data.datasets.cityscapes:from_options"
_IMAGEFOLDER = "lightseg.data.datasets.imagefolder:from_options"
_COCO = "lightseg.data.datasets.coco:from_options"
_KEYPOINTS = "lightseg.data.datasets.coco_keypoints:from_options"
_YOLO = "lightseg.data.datasets.yolo:from_options"
_VOC = "lightseg.data.datasets.voc:from_options"
_LABELME = "lightseg.data.datasets.labelme:from_options"
_CSV_MULTILABEL = "lightseg.data.datasets.csv_multilabel:from_options"
_CVAT = "lightseg.data.datasets.cvat:from_options"

TASKS: dict[str, TaskInfo] = {}


def register_task(info: TaskInfo) -> None:
    """Add a task, or replace the task of the same name."""
    TASKS[info.name] = info


register_task(
    TaskInfo(
        name="seg",
        title="Semantic segmentation",
        monitor="val/mIoU",
        spec="lightseg.task_specs.segmentation:SegmentationSpec",
        scoring="lightseg.scoring.label_images:score_masks",
        module=".segmentation:SegmentationTask",
        loss="lightseg.losses.segmentation:SegmentationLoss",
        heads={
            "lraspp": HeadInfo("lightseg.heads.lraspp:LRASPP", variants=("paper", "torchvision")),
            "raspp": HeadInfo("lightseg.heads.lraspp:RASPP"),
            "mobileseg": HeadInfo("lightseg.heads.mobileseg:MobileSeg", output_stride=32),
        },
        formats={
            "cityscapes": FormatInfo(_CITYSCAPES, "cityscapes"),
            "folder": FormatInfo("lightseg.data.datasets.folder:from_options", "folder"),
            "yolo_seg": FormatInfo(_YOLO, "yolo_seg"),
            "voc_seg": FormatInfo(_VOC, "voc_seg"),
            "labelme_seg": FormatInfo(_LABELME, "labelme_seg"),
            "cvat_seg": FormatInfo(_CVAT, "cvat_seg"),
            "coco_seg": FormatInfo("lightseg.data.datasets.coco_masks:from_options", "coco_seg"),
            "mini_seg": FormatInfo(_CITYSCAPES, "mini_seg", "lightseg.streets.prepare:mini_seg"),
        },
        output_stride=16,
        num_classes=19,
        image_size=(512, 1024),
        scales=True,
        extra_target="mask",
        tiles=True,
        searches=("dmasking", "netadapt"),
    )
)
register_task(
    TaskInfo(
        name="cls",
        title="Image classification",
        monitor="val/top1",
        spec="lightseg.task_specs.classification:ClassificationSpec",
        scoring="lightseg.scoring.class_lists:score_classes",
        module=".classification:ClassificationTask",
        loss="lightseg.losses.classification:ClassificationLoss",
        heads={
            "native": HeadInfo(
                "lightseg.heads.classification:NativeHead",
                pretrained=(bool, str),
                pretrained_hint="pretrained=true with head.name=native",
            ),
            "linear": HeadInfo("lightseg.heads.classification:LinearHead"),
        },
        formats={
            "imagefolder": FormatInfo(_IMAGEFOLDER, "imagefolder"),
            "csv": FormatInfo("lightseg.data.datasets.csv_labels:from_options", "csv"),
            "mini_cls": FormatInfo(_IMAGEFOLDER, "mini_cls", "lightseg.streets.prepare:mini_cls"),
        },
        metrics={"ece": MetricInfo(lower_is_better=True)},
        input={"size": PUBLISHED, "crop_pct": PUBLISHED, "interpolation": PUBLISHED},
        square_input=True,
        schedules=("randaugment", "mixup", "cutmix"),
        searches=("dmasking", "netadapt"),
        search_head="linear",
    )
)
register_task(
    TaskInfo(
        name="multilabel",
        title="Multi-label classification",
        monitor="val/mAP",
        spec="lightseg.task_specs.multilabel:MultiLabelSpec",
        module=".multilabel:MultiLabelTask",
        loss="lightseg.losses.multilabel:MultiLabelLoss",
        heads={
            "native": HeadInfo("lightseg.heads.classification:NativeHead"),
            "linear": HeadInfo("lightseg.heads.classification:LinearHead"),
        },
        formats={
            "csv_multilabel": FormatInfo(_CSV_MULTILABEL, "csv_multilabel"),
            "mini_multilabel": FormatInfo(
                _CSV_MULTILABEL, "mini_multilabel", "lightseg.streets.prepare:mini_multilabel"
            ),
        },
        num_classes=80,
        input={"size": PUBLISHED, "crop_pct": PUBLISHED, "interpolation": PUBLISHED},
        square_input=True,
        schedules=("randaugment", "mixup", "cutmix"),
        searches=(),
    )
)
register_task(
    TaskInfo(
        name="det",
        title="Object detection",
        monitor="val/mAP",
        spec="lightseg.task_specs.detection:DetectionSpec",
        scoring="lightseg.scoring.coco_results:score_boxes",
        module=".detection:DetectionTask",
        loss="lightseg.losses.detection:DetectionLoss",
        heads={
            "ssdlite": HeadInfo(
                "lightseg.heads.ssdlite:SSDLite",
                variants=("torchvision",),
                pretrained=(str,),
                pretrained_hint="pretrained=<the file of torchvision's SSDLite>",
                full_weights="lightseg.torchvision_ssdlite",
            )
        },
        formats={
            "coco": FormatInfo(_COCO, "coco"),
            "yolo": FormatInfo(_YOLO, "yolo"),
            "voc": FormatInfo(_VOC, "voc"),
            "labelme": FormatInfo(_LABELME, "labelme"),
            "cvat": FormatInfo(_CVAT, "cvat"),
            "mini_det": FormatInfo(_COCO, "mini_det", "lightseg.streets.prepare:mini_det"),
        },
        num_classes=80,
        image_size=(320, 320),
        input={"size": (320, 320), "keep_aspect": False},  # that of the published SSDLite
        flip=False,
        extra_target="bboxes",
        tiles=True,
    )
)
register_task(
    TaskInfo(
        name="pose",
        title="Pose estimation",
        monitor="val/AP",
        spec="lightseg.task_specs.pose:PoseSpec",
        scoring="lightseg.scoring.coco_results:score_keypoints",
        module=".pose:PoseTask",
        loss="lightseg.losses.pose:PoseLoss",
        heads={
            "heatmap": HeadInfo("lightseg.heads.heatmap:HeatmapHead", variants=("light", "simple")),
            "simcc": HeadInfo("lightseg.heads.simcc:SimCCHead", single_size=True),
            "rtmcc": HeadInfo("lightseg.heads.rtmcc:RTMCCHead", single_size=True),
        },
        formats={
            "coco_keypoints": FormatInfo(_KEYPOINTS, "coco_pose"),
            "yolo_pose": FormatInfo(_YOLO, "yolo_pose"),
            "labelme_pose": FormatInfo(_LABELME, "labelme_pose"),
            "cvat_pose": FormatInfo(_CVAT, "cvat_pose"),
            "mini_pose": FormatInfo(_KEYPOINTS, "mini_pose", "lightseg.streets.prepare:mini_pose"),
        },
        num_classes=17,
        image_size=(256, 192),
        # size of the crops and padding of a person's box are SimpleBaseline's (arXiv:1804.06208)
        input={"size": (256, 192), "oks_nms": 0.9, "person_padding": 1.25},
        extra_target="keypoints",
    )
)


def get_task(name: str) -> TaskInfo:
    """Raises LightsegError for an unknown name, with the nearest names."""
    if name not in TASKS:
        raise LightsegError(f"no task named '{name}': {nearest(name, TASKS)}")
    return TASKS[name]


def formats() -> dict[str, TaskInfo]:
    """The task of every data format, by the format's name."""
    return {name: info for info in TASKS.values() for name in info.formats}


def resolve(path: str) -> Any:
    """The object of an import path `package.module:attribute`, or the module of `package.module`."""
    module, _, attribute = path.partition(":")
    loaded = import_module(module)
    return getattr(loaded, attribute) if attribute else loaded
