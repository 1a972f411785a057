"""From an exported file's outputs to predictions, in numpy alone: what `Model.head.decode` does for a checkpoint."""

from typing import Any

import numpy as np

from lightseg.export.metadata import Metadata
from lightseg.export.nms import detections, softmax
from lightseg.export.pose import heatmap_keypoints, simcc_keypoints

Outputs = dict[str, np.ndarray]
Size = tuple[int, int]  # height, width


def decode(outputs: Outputs, metadata: Metadata, image_size: Size) -> Any:
    """Predictions for a batch, in pixels of the input of `image_size`.

    Returns:
        seg: class ids [B, H, W] int64. cls: probabilities [B, classes]. det: what
        `lightseg.export.nms.detections` returns. pose: a list of `keypoints` [K, 2] and `scores` [K].
    """
    return DECODERS[metadata.task](outputs, metadata, image_size)


def _seg(outputs: Outputs, metadata: Metadata, image_size: Size) -> np.ndarray:
    ids = outputs["class_ids"] if "class_ids" in outputs else outputs["logits"].argmax(1)
    return ids.astype(np.int64)


def _cls(outputs: Outputs, metadata: Metadata, image_size: Size) -> np.ndarray:
    return softmax(outputs["logits"])


def _det(outputs: Outputs, metadata: Metadata, image_size: Size) -> list[Outputs]:
    raw = (outputs[name] for name in ("class_logits", "box_deltas", "default_boxes"))
    return detections(*raw, image_size=image_size, **metadata.decoding)


def _pose(outputs: Outputs, metadata: Metadata, image_size: Size) -> list[Outputs]:
    if "heatmaps" in outputs:
        return heatmap_keypoints(outputs["heatmaps"], image_size=image_size, **metadata.decoding)
    return simcc_keypoints(outputs["x"], outputs["y"], image_size=image_size, **metadata.decoding)


DECODERS = {"seg": _seg, "cls": _cls, "det": _det, "pose": _pose}
