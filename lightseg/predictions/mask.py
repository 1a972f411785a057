"""The prediction of a segmentation network."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from lightseg.data.datasets.cityscapes import CLASSES as CITYSCAPES
from lightseg.data.datasets.segmentation import default_palette
from lightseg.errors import LightsegError
from lightseg.predictions.base import Prediction, names_of, supervision
from lightseg.result_files import write_image

BLENDED = 1 << 21  # pixels
OPACITY = 0.6  # of class colors over the image


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Segmentation(Prediction):
    """
    Attributes:
        mask: [H, W], the class of each pixel, uint8 (uint16 for more than 255 classes). The largest number (255, 65535)
            are pixels of a class that the call's `classes` leave out.
        palette: uint8 [classes, 3], an RGB color a class.
    """

    mask: np.ndarray
    palette: np.ndarray

    @property
    def labels(self) -> np.ndarray:
        """int64 [n], the classes in the mask, ascending."""
        present = np.flatnonzero(np.bincount(self.mask.ravel(), minlength=len(self.class_names)))
        return present[present < len(self.class_names)]

    def plot(self, min_score: float | None = None) -> np.ndarray:
        return blend(self.image, unsigned_to_signed(self.mask, len(self.class_names)), self.palette)

    def save_mask(self, path: str | Path) -> Path:
        """Write the class ids as a PNG file, and return its path. LightsegError as `save`."""
        path = Path(path)
        if path.suffix.lower() != ".png":
            raise LightsegError(f"{path}: class ids need a file without losses: give a name that ends in .png")
        try:
            write_image(path, self.mask)
        except OSError as error:
            raise LightsegError(f"cannot write {path}: {error.strerror or error}") from error
        return path

    def to_dict(self) -> dict[str, Any]:
        """The number of pixels of each class; `save_mask` writes the mask."""
        counts = np.bincount(self.mask.ravel(), minlength=len(self.class_names)).tolist()
        return {**self._origin(), "pixels": {self.class_names[label]: counts[label] for label in self.labels.tolist()}}

    def to_coco(
        self, image_id: int | str | None = None, category_ids: Sequence[int] | None = None
    ) -> list[dict[str, Any]]:
        """COCO-Stuff's results: a run-length encoded `segmentation` a class in the mask, with score 1."""
        from faster_coco_eval.core import mask as rle

        image, ids = self._ids(image_id, category_ids)
        entries = []
        for label in self.labels.tolist():
            encoded = rle.encode(np.asfortranarray(self.mask == label, np.uint8))
            encoded["counts"] = encoded["counts"].decode()
            entries.append({"image_id": image, "category_id": ids[label], "segmentation": encoded, "score": 1.0})
        return entries

    def to_supervision(self) -> Any:
        """Detections: a mask a class in the image, with the box around it."""
        labels = self.labels
        masks = self.mask[None] == labels[:, None, None].astype(self.mask.dtype)
        boxes = [_bounds(mask) for mask in masks]
        return supervision().Detections(
            xyxy=np.array(boxes, np.float32).reshape(-1, 4),
            mask=masks,
            class_id=labels,
            data={"class_name": np.array(names_of(self.class_names, labels))},
        )

    def _summary(self) -> str:
        return ", ".join(names_of(self.class_names, self.labels))


def mask_colors(class_names: Sequence[str], palette: Sequence[Sequence[int]] | None) -> np.ndarray:
    """uint8 [classes, 3]. palette: of the contract; None: Cityscapes' where the classes are its, else distinct ones."""
    if palette is None:
        cityscapes = {name: color for _, name, color in CITYSCAPES}
        same = list(class_names) == list(cityscapes)
        palette = list(cityscapes.values()) if same else default_palette(len(class_names))
    return np.array([list(color) for color in palette], np.uint8).reshape(-1, 3)


def blend(image: np.ndarray, classes: np.ndarray, colors: np.ndarray) -> np.ndarray:
    """uint8 [H, W, 3] with the colors of class ids [H, W] over it; ids below 0 keep the image."""
    drawn = np.empty_like(image)
    step = max(1, BLENDED // max(1, image.shape[1]))  # rows at a time: a large image would need three times its memory
    for row in range(0, len(image), step):
        part, ids = image[row : row + step], classes[row : row + step]
        mixed = cv2.addWeighted(part, 1 - OPACITY, colors[ids], OPACITY, 0)
        left_out = ids < 0
        mixed[left_out] = part[left_out]
        drawn[row : row + step] = mixed
    return drawn


def unsigned_to_signed(mask: np.ndarray, classes: int) -> np.ndarray:
    """Class ids, -1 in place of ids without a class."""
    return np.where(mask < classes, mask.astype(np.int32), -1)


def _bounds(mask: np.ndarray) -> list[int]:
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]
