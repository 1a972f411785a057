"""Collate functions: samples to batches, and batches to images that can be shown.

The images of a batch are a tensor in channels_last memory.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch.utils.data import default_collate

from lightseg.data.io.pixels import PixelFormat
from lightseg.errors import DataError
from lightseg.input_contract import InputContract


def collate(samples: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """A batch: image [B, C, H, W] in channels_last memory, mask uint8 [B, H, W], name list[str], index int64 [B].

    torch's default collate would make the images contiguous, channel by channel. In the memory format of decoding, a
    batch needs only B plain copies. Raises DataError for samples of different sizes.
    """
    for key in ("image", "mask"):
        sizes = {tuple(sample[key].shape[-2:]): sample["name"] for sample in samples if key in sample}
        if len(sizes) > 1:
            shown = ", ".join(f"{name} is {width}x{height}" for (height, width), name in list(sizes.items())[:3])
            raise DataError(
                f"the {key}s of a batch differ in size ({shown}): use batches of 1 or a transform with a fixed size"
            )
    batch = default_collate([{**sample, "image": sample["image"].permute(1, 2, 0)} for sample in samples])
    return {**batch, "image": batch["image"].permute(0, 3, 1, 2)}


def collate_detection(samples: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """A batch: images [B, C, H, W] in channels_last memory, boxes list of [Ni, 4], labels list of [Ni], sizes
    list of (height, width), image_ids list[int], names list[str]. Raises DataError for images of different sizes.
    """
    lists = {f"{key}s": [sample[key] for sample in samples] for key in ("size", "image_id", "name")}
    targets = {key: [sample[key] for sample in samples] for key in ("boxes", "labels")}
    return {"images": _images(samples), **targets, **lists}


def collate_pose(samples: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """A batch: images [B, C, H, W] in channels_last memory, keypoints [B, K, 2], visible [B, K], area [B],
    matrices [B, 2, 3], boxes [B, 4], box_scores [B], image_ids and ids list[int], names list[str].

    Raises DataError for images of different sizes.
    """
    batch_keys = {"keypoints": "keypoints", "visible": "visible", "area": "area", "matrix": "matrices", "box": "boxes"}
    batch_keys["box_score"] = "box_scores"
    stacked = {batch_key: torch.stack([sample[key] for sample in samples]) for key, batch_key in batch_keys.items()}
    lists = {f"{key}s": [sample[key] for sample in samples] for key in ("image_id", "id", "name")}
    return {"images": _images(samples), **stacked, **lists}


def _images(samples: Sequence[Mapping[str, Any]]) -> torch.Tensor:
    return collate([{"image": sample["image"], "name": sample["name"]} for sample in samples])["image"]


def shown(image: torch.Tensor, contract: InputContract) -> np.ndarray:
    """An image [C, H, W] of a batch as uint8 RGB [H, W, 3], to be drawn on."""
    return PixelFormat.of(contract).shown(image.permute(1, 2, 0).cpu().numpy())


def as_type(images: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Images in float, as they come from resizing or mixing, in the type of their values; rounded for whole numbers."""
    if dtype.is_floating_point:
        return images
    limits = torch.iinfo(dtype)
    return images.round_().clamp_(limits.min, limits.max).to(dtype)
