"""TaskSpec: the functions of a task for training, export, inference and profiling.

Batches, targets and predictions of a task are described in its module.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from lightseg.catalog.tasks import TaskInfo
from lightseg.data.io.frame import Frame
from lightseg.data.io.pixels import PixelFormat
from lightseg.data.statistics.base import LabelStatistics
from lightseg.data.tiles import Tile, Tiling
from lightseg.data.transforms.phase_transform import Transform
from lightseg.draw import resize_to_width
from lightseg.errors import LightsegError
from lightseg.input_contract import InputContract

Size = tuple[int, int]  # height, width in pixels
Options = dict[str, Any]  # the `data` group of the configuration
DRAWN_SCORE = 0.3  # minimum score of what is drawn unless told
Outputs = dict[str, np.ndarray]  # of an exported file, by name


class TaskExport(NamedTuple):
    """The outputs of an exported model.

    Attributes:
        outputs: name -> meaning, shape, unit.
        of_head: (the head's raw outputs, (height, width) of the images) -> the file's outputs, in that order.
        any_size: whether a file can take images of any size. SSDLite's default boxes and last maps and SimCC's bins
            belong to a fixed size. Classifiers take the size of their evaluation.
        decoding: dotted names of the head's attributes that decoding needs. The last part is the key in the metadata.
    """

    outputs: dict[str, str]
    of_head: Callable[[Any, Size], tuple[Tensor, ...]]
    any_size: bool = False
    decoding: tuple[str, ...] = ()


class Preprocessing(Protocol):
    """Preprocessing of an image as in evaluation, without labels, and its inverse for predictions."""

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """[H, W, C] as the contract says -> [h, w, C]. LightsegError for an image that cannot be prepared."""
        ...

    def restore(self, prediction: Any, size: Size) -> Any:
        """The prediction in pixels of the original image of `size` (height, width)."""
        ...


class TileRunner(Protocol):
    """A network that predicts tiles.

    Attributes:
        max_images: the largest batch. None: any.
        nms_threshold: of a detector: IoU above which one of two boxes of a class is dropped.
    """

    max_images: int | None
    nms_threshold: float

    def __call__(self, images: Tensor, sizes: Sequence[Size]) -> list[Any]:
        """[B, C, h, w], and the (height, width) of each tile -> a prediction for each."""
        ...

    def scores(self, images: Tensor, sizes: Sequence[Size]) -> list[Tensor]:
        """Likewise -> probabilities [classes, height, width] of each, of a segmentation network."""
        ...


class Results(Protocol):
    """Writes predictions to files and draws them."""

    def add(self, frame: Frame, prediction: Any) -> None: ...
    def draw(self, image: np.ndarray, prediction: Any) -> np.ndarray: ...
    def finish(self) -> None: ...


class TaskSpec(ABC):
    """The functions of a task. Each task has a subclass.

    Attributes:
        top_down: whether each object is predicted in its crop (pose), so that a detector can run first.
        detects_boxes: whether predictions have `boxes`, `labels` and `scores`, so that it can be such a detector.
        selects_classes: whether `only` leaves classes out.
    """

    top_down = False
    detects_boxes = False
    selects_classes = False

    def __init__(self, info: TaskInfo) -> None:
        self.info = info

    # -- data ----------------------------------------------------------------------------------------------------------

    @abstractmethod
    def train_transform(self, options: Options, scheduled: Mapping[str, float]) -> Transform:
        """The transform of training samples.

        options: with `pixels`, the `PixelFormat` of the images, where they are not uint8 RGB.
        scheduled: values of the `schedule` group in this phase, such as `image_size`.
        """

    def eval_transform(self, options: Options) -> Transform | None:
        """The transform of evaluation samples. None: images are not changed."""
        return None

    @abstractmethod
    def collate(self, samples: list[dict[str, Any]]) -> dict[str, Any]:
        """Samples of the data set -> a batch: `images` [B, C, H, W], `names`, and the task's targets."""

    def check_splits(self, train: Any, val: Any) -> None:
        """Raise DataError if the splits do not have the same classes."""
        return None

    def label_statistics(self, dataset: Any, options: Options, budget: int | None = None) -> LabelStatistics | None:
        """The counts of a split's labels, after `verify`; None for a task that counts none.

        budget: pixels of masks that are decoded; None: those of a second.
        """
        return None

    def balanced_weights(self, dataset: Any) -> np.ndarray:
        """Weights float [N] of the samples with which every class is drawn equally often: `data.sampler=balanced`."""
        raise LightsegError(f"data.sampler=balanced is not for task {self.info.name}: leave it null")

    def draw_labels(self, image: np.ndarray, sample: Mapping[str, Any], dataset: Any, width: int) -> np.ndarray:
        """An image uint8 [H, W, 3] with the targets of a sample of the data set, `width` pixels wide.

        sample: the targets as NumPy arrays, in pixels of the image.
        """
        return resize_to_width(image, width)

    def label_text(self, sample: Mapping[str, Any], dataset: Any) -> str:
        """The targets of such a sample in words."""
        return ""

    # -- export --------------------------------------------------------------------------------------------------------

    @abstractmethod
    def export(self, head: str, *, argmax: bool = False) -> TaskExport:
        """The outputs of an exported model with this head. argmax: class ids instead of logits, for segmentation."""

    @abstractmethod
    def decode(self, outputs: Outputs, decoding: Mapping[str, Any], image_size: Size) -> Any:
        """An exported file's outputs for a batch -> predictions, in NumPy only, equal to the head's `decode`.

        decoding: from the file's metadata. image_size: (height, width) of the network's input.
        """

    @abstractmethod
    def agreement(self, a: Any, b: Any) -> tuple[float, int]:
        """Two results of `decode` -> the number of equal predictions, and the number of all predictions."""

    def refuse_argmax(self, argmax: bool) -> None:
        """Raise LightsegError if `argmax` is set, for tasks without it."""
        if argmax:
            outputs = ", ".join(self.export("").outputs)
            raise LightsegError(f"argmax is for segmentation; a file for {self.info.name} has the outputs {outputs}")

    # -- inference -----------------------------------------------------------------------------------------------------

    def complete(self, contract: InputContract, num_classes: int, where: str | Path) -> InputContract:
        """Complete and check the contract of a file: without class names it gets numbers as names.

        where: the file, for error texts.

        Raises:
            LightsegError: the number of class names is not `num_classes`.
        """
        names = contract.class_names or tuple(map(str, range(num_classes)))
        if len(names) != num_classes:
            raise LightsegError(
                f"{where} has {len(names)} class names and predicts {num_classes} classes: it is damaged"
            )
        return contract.replace(class_names=names)

    @abstractmethod
    def preprocessing(self, contract: InputContract, size: Size | None = None) -> Preprocessing:
        """The preprocessing of images. size: (height, width) instead of the contract's."""

    @abstractmethod
    def predict(self, head: nn.Module, outputs: Any, image_size: Size, sizes: Sequence[Size]) -> list[Any]:
        """A head's raw outputs for a batch -> a prediction per image, as NumPy arrays.

        image_size: (height, width) of the network's input. sizes: (height, width) of the original images.
        """

    def predict_tiles(self, run: TileRunner, image: np.ndarray, tiling: Tiling, preprocess: Preprocessing) -> Any:
        """The prediction of a large image [H, W, C] from its tiles, in pixels of the image."""
        raise LightsegError(f"tiles are not for task {self.info.name}: leave them out")

    def explained_score(
        self, head: nn.Module, outputs: Any, image_size: Size, label: int | None, score: float
    ) -> Tensor | None:
        """The score of a class, whose gradient by the feature maps says where its evidence lies.

        outputs: the head's, for one image, with their graph. image_size: (height, width) of the network's input. label:
        of the class; None: of everything that is predicted. score: minimum score of predictions that count.

        Returns a scalar, or None where nothing of the class is predicted.
        """
        raise LightsegError(f"--explain is not for task {self.info.name}: leave it out")

    def predict_exported(
        self, outputs: Outputs, decoding: Mapping[str, Any], image_size: Size, sizes: Sequence[Size]
    ) -> list[Any]:
        """Like `predict`, for the outputs of an exported file."""
        return list(self.decode(outputs, decoding, image_size))

    def only(self, prediction: Any, labels: np.ndarray) -> Any:
        """The prediction without classes that are not in `labels` int64 [n]."""
        return prediction

    def typed(self, prediction: Any, frame: Frame, index: int, contract: InputContract, score: float | None) -> Any:
        """The prediction in pixels of the image as the task's class of `lightseg.predictions`.

        index: of the image in the source. score: minimum score of what is kept; None: all, and 0.3 for drawing.

        A task without such a class returns the prediction itself.
        """
        return prediction

    @abstractmethod
    def results(self, folder: Path, contract: InputContract, score: float) -> Results:
        """The writer of result files in `folder`. score: predictions with a lower score are not drawn."""


def pixels_of(options: Options) -> PixelFormat:
    """Of the images of the `data` options."""
    return options.get("pixels") or PixelFormat()


def inputs_of(image: np.ndarray, tiles: Sequence[Tile], preprocess: Preprocessing) -> Tensor:
    """The tiles of an image [H, W, C] as the network's input [n, C, h, w]."""
    pixels = np.stack([preprocess(np.ascontiguousarray(tile.cut(image))) for tile in tiles])
    return torch.from_numpy(pixels).permute(0, 3, 1, 2)


def about(frame: Frame, index: int, names: Sequence[str], score: float | None) -> dict[str, Any]:
    """The fields that all classes of `lightseg.predictions` share."""
    return {
        "image": frame.image,
        "file_name": frame.file_name,
        "index": index,
        "frame": frame.index,
        "note": frame.note,
        "class_names": tuple(names),
        "min_score": DRAWN_SCORE if score is None else score,
    }


def class_names(contract: InputContract) -> list[str]:
    """The class names of a contract that `TaskSpec.complete` returned."""
    assert contract.class_names is not None
    return list(contract.class_names)
