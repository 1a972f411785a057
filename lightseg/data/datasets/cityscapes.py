"""Cityscapes as it is distributed: `leftImg8bit/<split>/<city>/` and `gtFine/<split>/<city>/*_labelIds.png`.

Label ids are mapped to the 19 train ids when read, so `labelTrainIds` files and cityscapesscripts are not needed. Ids,
names and colors are those of Cordts et al., "The Cityscapes Dataset" (CVPR 2016), Table "classes", as published by the
benchmark; classes that the benchmark does not evaluate become 255.
"""

from pathlib import Path
from typing import Any

import cv2
import numpy as np

from lightseg.data.datasets.base import find_folder
from lightseg.data.datasets.segmentation import IGNORE, UNKNOWN, Pair, SegmentationDataset
from lightseg.data.transforms.phase_transform import Transform
from lightseg.errors import DataError, LightsegError, nearest

# label id, class name, color; the row of the table is the train id
CLASSES: tuple[tuple[int, str, tuple[int, int, int]], ...] = (
    (7, "road", (128, 64, 128)),
    (8, "sidewalk", (244, 35, 232)),
    (11, "building", (70, 70, 70)),
    (12, "wall", (102, 102, 156)),
    (13, "fence", (190, 153, 153)),
    (17, "pole", (153, 153, 153)),
    (19, "traffic light", (250, 170, 30)),
    (20, "traffic sign", (220, 220, 0)),
    (21, "vegetation", (107, 142, 35)),
    (22, "terrain", (152, 251, 152)),
    (23, "sky", (70, 130, 180)),
    (24, "person", (220, 20, 60)),
    (25, "rider", (255, 0, 0)),
    (26, "car", (0, 0, 142)),
    (27, "truck", (0, 0, 70)),
    (28, "bus", (0, 60, 100)),
    (31, "train", (0, 80, 100)),
    (32, "motorcycle", (0, 0, 230)),
    (33, "bicycle", (119, 11, 32)),
)
# unlabeled, ego vehicle, rectification border, out of roi, static, dynamic, ground, parking, rail track, guard rail,
# bridge, tunnel, polegroup, caravan, trailer; 255: -1, the license plate, as a byte
IGNORED_LABEL_IDS = (0, 1, 2, 3, 4, 5, 6, 9, 10, 14, 15, 16, 18, 29, 30, 255)

SPLITS = ("train", "val", "test", "train_extra")

_IMAGE_END = "_leftImg8bit.png"
_LABEL_ID = np.array([label_id for label_id, _, _ in CLASSES], np.uint8)  # by train id


def train_id_to_label_id(train_ids: np.ndarray) -> np.ndarray:
    """Train ids 0..18 (255 = unlabeled) -> label ids, which the evaluator reads, uint8 of the same shape."""
    table = np.full(256, UNKNOWN, np.uint8)
    table[: len(CLASSES)] = _LABEL_ID
    table[IGNORE] = 0
    label_ids = table[np.asarray(train_ids).astype(np.uint8)]
    if np.any(np.asarray(train_ids) > 255) or np.any(np.asarray(train_ids) < 0) or np.any(label_ids == UNKNOWN):
        raise LightsegError(
            f"predictions must be train ids 0..{len(CLASSES) - 1} (or {IGNORE}) to be written as label ids"
        )
    return label_ids


class Cityscapes(SegmentationDataset):
    """`<city>_<sequence>_<frame>_leftImg8bit.png` with label ids from gtFine or, `coarse`, from gtCoarse.

    split: train, val, test (without labels unless every image has them) or train_extra (coarse labels only).
    """

    def __init__(
        self, root: str | Path, split: str, *, coarse: bool = False, transform: Transform | None = None
    ) -> None:
        if split not in SPLITS:
            raise LightsegError(f"unknown Cityscapes split {split!r}: {nearest(split, SPLITS)}")
        if split == "train_extra" and not coarse:
            raise LightsegError("Cityscapes' train_extra has coarse labels only: set coarse=true")
        images = find_folder(Path(root) / "leftImg8bit" / split, f"the images of Cityscapes' {split} split")
        kind = "gtCoarse" if coarse else "gtFine"
        labels = Path(root) / kind / split
        if split != "test":
            find_folder(labels, f"the {kind} labels of Cityscapes' {split} split")
        pairs = []
        for image in sorted(images.glob(f"*/*{_IMAGE_END}")):
            name = image.name.removesuffix(_IMAGE_END)
            pairs.append(Pair(name, image, labels / image.parent.name / f"{name}_{kind}_labelIds.png"))
        if not pairs:
            raise DataError(f"{images}: no image here; expected <city>/*{_IMAGE_END}")
        if split == "test" and not all(pair.label is not None and pair.label.is_file() for pair in pairs):
            pairs = [Pair(pair.name, pair.image, None) for pair in pairs]
        super().__init__(
            pairs, [name for _, name, _ in CLASSES], [color for _, _, color in CLASSES], _table(), transform
        )

    def write_prediction(self, prediction: np.ndarray, name: str, folder: Path) -> Path:
        """Write label ids in the format of the benchmark's evaluator: see `write_submission`."""
        return write_submission(self.file_ids(prediction), name, folder)


def write_submission(prediction_train_ids: np.ndarray, image: str | Path, folder: str | Path) -> Path:
    """Write a prediction [H, W] of train ids as a PNG of label ids, named as the benchmark's evaluator expects.

    image: the image's path or name, which begins with `<city>_<sequence>_<frame>`. Returns the path.
    """
    name = Path(image).name.removesuffix(_IMAGE_END)
    if len(name.split("_")) != 3:
        raise LightsegError(
            f"{image}: not a Cityscapes name (<city>_<sequence>_<frame>), so no submission can be named after it"
        )
    if prediction_train_ids.ndim != 2:
        raise LightsegError(f"a prediction has the shape [H, W], not {list(prediction_train_ids.shape)}")
    path = Path(folder) / f"{name}_pred_labelIds.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(cv2.imencode(".png", train_id_to_label_id(prediction_train_ids))[1].tobytes())
    return path


def _table() -> np.ndarray:
    table = np.full(256, UNKNOWN, np.uint8)
    table[list(IGNORED_LABEL_IDS)] = IGNORE
    table[_LABEL_ID] = np.arange(len(CLASSES))
    return table


def from_options(options: dict[str, Any], split: str, transform: Transform | None) -> Cityscapes:
    """The data set of the `data` options."""
    return Cityscapes(
        options["root"], options["split"][split], coarse=options.get("coarse", False), transform=transform
    )
