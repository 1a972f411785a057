"""Semantic segmentation: a class for every pixel.

Batches have `masks` uint8 [B, H, W], 255 = ignore, where there are labels. A prediction is class ids [H, W].
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from lightseg.data.collate import collate
from lightseg.data.datasets.segmentation import IGNORE
from lightseg.data.io.frame import Frame
from lightseg.data.io.pixels import MEAN_COLOR, PixelFormat
from lightseg.data.statistics.base import LabelStatistics
from lightseg.data.statistics.masks import BUDGET, mask_statistics
from lightseg.data.tiles import MAX_TILES, RandomTile, Tile, Tiling, merged_classes, tiles_at_once
from lightseg.data.transforms.detection import eval_transform as resize_transform
from lightseg.data.transforms.extra import with_extra
from lightseg.data.transforms.phase_transform import Transform
from lightseg.data.transforms.segmentation import DEFAULT_SCALE, train_transform
from lightseg.draw import overlay_mask, resize_to_width
from lightseg.errors import DataError, LightsegError, one_line
from lightseg.input_contract import InputContract
from lightseg.predictions.mask import Segmentation, blend, mask_colors
from lightseg.result_files import GrowingList, write_bytes, write_image
from lightseg.task_specs.base import (
    Options,
    Outputs,
    Preprocessing,
    Results,
    Size,
    TaskExport,
    TaskSpec,
    TileRunner,
    about,
    class_names,
    inputs_of,
    pixels_of,
)
from lightseg.text import shorten

MAX_PIXELS = 50_000_000  # of an image at its original size: about 15 GB of feature maps


class SegmentationSpec(TaskSpec):
    selects_classes = True

    def train_transform(self, options: Options, scheduled: Mapping[str, float]) -> Transform:
        """At a smaller `image_size` (of the crop's shorter side) the same part of the image has fewer pixels."""
        augment = dict(options["augment"])
        if "image_size" in scheduled:
            factor = scheduled["image_size"] / min(augment["crop_size"])
            augment["crop_size"] = [round(side * factor) for side in augment["crop_size"]]
            augment["scale"] = [scale * factor for scale in augment.get("scale", DEFAULT_SCALE)]
        augment["pixels"] = pixels_of(options)
        transform = with_extra(train_transform, augment, self.info.extra_target or None)
        tiling = Tiling.of(options.get("tile"))
        return transform if tiling is None else RandomTile(transform, tiling)

    def collate(self, samples: list[dict[str, Any]]) -> dict[str, Any]:
        try:
            batch = collate(samples)
        except DataError as error:
            raise DataError(f"{one_line(error)}; for evaluation that is data.eval_batch_size=1") from error
        masks = {"masks": batch["mask"]} if "mask" in batch else {}
        return {"images": batch["image"], "names": batch["name"], **masks}

    def label_statistics(self, dataset: Any, options: Options, budget: int | None = None) -> LabelStatistics | None:
        return mask_statistics(dataset, budget or BUDGET) if dataset.has_labels else None

    def draw_labels(self, image: np.ndarray, sample: Mapping[str, Any], dataset: Any, width: int) -> np.ndarray:
        return resize_to_width(overlay_mask(image, sample["mask"], dataset.palette), width)

    def label_text(self, sample: Mapping[str, Any], dataset: Any) -> str:
        return shorten([dataset.class_names[label] for label in np.unique(sample["mask"]) if label != IGNORE], 6)

    def export(self, head: str, *, argmax: bool = False) -> TaskExport:
        return CLASS_IDS if argmax else LOGITS

    def decode(self, outputs: Outputs, decoding: Mapping[str, Any], image_size: Size) -> np.ndarray:
        """Class ids int64 [B, H, W]."""
        ids = outputs["class_ids"] if "class_ids" in outputs else outputs["logits"].argmax(1)
        return ids.astype(np.int64)

    def agreement(self, a: np.ndarray, b: np.ndarray) -> tuple[float, int]:
        """Counts pixels."""
        return float((a == b).sum()), a.size

    def preprocessing(self, contract: InputContract, size: Size | None = None) -> Preprocessing:
        return WholeImage(size or contract.size, PixelFormat.of(contract).fill)

    def predict(self, head: Any, outputs: Tensor, image_size: Size, sizes: Sequence[Size]) -> list[np.ndarray]:
        # logits are resized to the original size image by image
        masks = (head.decode(outputs[i : i + 1], size)[0] for i, size in enumerate(sizes))
        return [mask.to(torch.int16).cpu().numpy() for mask in masks]

    def scores(self, logits: Tensor, sizes: Sequence[Size]) -> list[Tensor]:
        """Logits for a batch -> probabilities [classes, height, width] of each image at its size."""
        return [upsample(logits[i : i + 1].float(), size).softmax(1)[0] for i, size in enumerate(sizes)]

    def predict_tiles(
        self, run: TileRunner, image: np.ndarray, tiling: Tiling, preprocess: Preprocessing
    ) -> np.ndarray:
        def scores(tiles: list[Tile]) -> Tensor:
            sizes = [(tile.height, tile.width) for tile in tiles]
            return torch.stack(run.scores(inputs_of(image, tiles, preprocess), sizes))

        batch = min(tiles_at_once(tiling.size), run.max_images or MAX_TILES)
        return merged_classes(image.shape[:2], tiling, scores, batch).cpu().numpy()

    def explained_score(
        self, head: Any, outputs: Tensor, image_size: Size, label: int | None, score: float
    ) -> Tensor | None:
        """The sum of the class's logits over the pixels that are predicted as that class."""
        highest, ids = upsample(outputs.float(), image_size).max(1)
        of_class = torch.ones_like(ids, dtype=torch.bool) if label is None else ids == label
        return highest[of_class].sum() if of_class.any() else None

    def predict_exported(
        self, outputs: Outputs, decoding: Mapping[str, Any], image_size: Size, sizes: Sequence[Size]
    ) -> list[np.ndarray]:
        if "logits" not in outputs:
            ids = self.decode(outputs, decoding, image_size)
            return [_nearest(mask, size) for mask, size in zip(ids, sizes, strict=True)]
        masks = []
        for i, size in enumerate(sizes):
            logits = torch.from_numpy(outputs["logits"][i : i + 1])
            logits = logits if tuple(logits.shape[-2:]) == tuple(size) else upsample(logits, size)
            masks.append(self.decode({"logits": logits.numpy()}, decoding, image_size)[0])
        return masks

    def only(self, prediction: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """-1 in place of the other classes."""
        return np.where(np.isin(prediction, labels), prediction.astype(np.int32), -1)

    def typed(
        self, prediction: np.ndarray, frame: Frame, index: int, contract: InputContract, score: float | None
    ) -> Segmentation:
        names = class_names(contract)
        shared = about(frame, index, names, score)
        mask = prediction.astype(np.uint8 if len(names) <= 255 else np.uint16)
        return Segmentation(**shared, mask=mask, palette=mask_colors(names, contract.palette))

    def results(self, folder: Path, contract: InputContract, score: float) -> Results:
        return MaskResults(folder, class_names(contract), contract.palette)


# -- export ------------------------------------------------------------------------------------------------------------


def upsample(logits: Tensor, size: Size) -> Tensor:
    """Logits [B, C, h, w] at `size`."""
    return F.interpolate(logits, size=size, mode="bilinear", align_corners=False)


def _argmax(logits: Tensor, size: Size) -> Tensor:
    return upsample(logits, size).argmax(1).to(torch.uint8 if logits.shape[1] <= 256 else torch.int32)


LOGITS = TaskExport(
    {"logits": "float32 [B, classes, H, W], a logit per class and pixel of the image; the largest is the prediction"},
    lambda logits, size: (upsample(logits, size),),
    any_size=True,
)
CLASS_IDS = TaskExport(
    {"class_ids": "uint8 [B, H, W], the class of each pixel of the image (int32 for more than 256 classes)"},
    lambda logits, size: (_argmax(logits, size),),
    any_size=True,
)


def _nearest(ids: np.ndarray, size: Size) -> np.ndarray:
    """Class ids [h, w] at `size`: those of the pixels whose centers are nearest."""
    if ids.shape == tuple(size):
        return ids
    return cv2.resize(ids.astype(np.uint16), size[::-1], interpolation=cv2.INTER_NEAREST_EXACT)


# -- inference ---------------------------------------------------------------------------------------------------------


class WholeImage:
    """Resizes images, or takes them at their original size. Predictions have the original size.

    size: (height, width) of the network's input. None: the original size.
    """

    def __init__(self, size: Size | None, fill: Sequence[float] = MEAN_COLOR) -> None:
        self.resize = None if size is None else resize_transform(size, fill=fill)

    def __call__(self, image: np.ndarray) -> np.ndarray:
        if self.resize is not None:
            boxes, labels = np.zeros((0, 4), np.float32), np.zeros(0, np.int64)
            return self.resize(0, image=image, boxes=boxes, labels=labels)["image"]
        if image.shape[0] * image.shape[1] > MAX_PIXELS:
            raise LightsegError(
                f"{image.shape[1]}x{image.shape[0]} pixels are too many at the original size: give --size"
            )
        return image

    def restore(self, prediction: np.ndarray, size: Size) -> np.ndarray:
        return prediction


class MaskResults:
    """masks/<name>.png: class ids. legend.json: [{id, name, color}]. results.json: [{file_name, mask, height, width}].

    Each frame of a video is an entry with `frame`, its number from 0, and the mask masks/<video>/<frame>.png.
    """

    def __init__(self, folder: Path, names: Sequence[str], palette: Sequence[Sequence[int]] | None) -> None:
        self.folder, self.colors = folder, mask_colors(names, palette)
        self.dtype = np.uint8 if len(names) <= 256 else np.uint16
        rows = zip(names, self.colors.tolist(), strict=True)
        legend = [{"id": number, "name": name, "color": color} for number, (name, color) in enumerate(rows)]
        write_bytes(folder / "legend.json", (json.dumps(legend, ensure_ascii=False, indent=1) + "\n").encode())
        self.list = GrowingList(folder / "results.json")

    def add(self, frame: Frame, prediction: np.ndarray) -> None:
        path = self.folder / "masks" / f"{frame.name}.png"
        write_image(path, prediction.astype(self.dtype))
        height, width = prediction.shape
        mask = path.relative_to(self.folder).as_posix()
        self.list.append({**frame.origin, "mask": mask, "height": height, "width": width})

    def draw(self, image: np.ndarray, prediction: np.ndarray) -> np.ndarray:
        return blend(image, prediction, self.colors)

    def finish(self) -> None:
        self.list.finish()
