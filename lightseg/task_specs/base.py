"""TaskSpec: what training, export, inference and profiling ask of a task, declared in one class.

The batches, targets and predictions of each task are described in its own file.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from torch import Tensor, nn

from lightseg.catalog.tasks import TaskInfo
from lightseg.data.io.frame import Frame
from lightseg.data.transforms.stage_transform import Transform
from lightseg.errors import LightsegError
from lightseg.input_contract import InputContract

Size = tuple[int, int]  # height, width in pixels
Options = dict[str, Any]  # the `data` group of the configuration
Outputs = dict[str, np.ndarray]  # of an exported file, by name


class TaskExport(NamedTuple):
    """How a model's outputs are exported.

    Attributes:
        outputs: name -> meaning, shape, unit.
        of_head: (the head's raw outputs, size of the images) -> the file's outputs, in that order.
        any_size: whether one file can take images of any size. SSDLite's default boxes and last maps, of a single cell,
            belong to one size, and so do SimCC's bins; classifiers take the size of their evaluation.
        decoding: attributes of the head that turn its raw outputs into predictions, known by their last name.
    """

    outputs: dict[str, str]
    of_head: Callable[[Any, Size], tuple[Tensor, ...]]
    any_size: bool = False
    decoding: tuple[str, ...] = ()


class Preprocessing(Protocol):
    """An image as the network wants it, and the way back: what evaluation in training does, without labels."""

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """uint8 RGB [H, W, 3] -> uint8 [h, w, 3]. LightsegError for an image that cannot be prepared."""
        ...

    def restore(self, prediction: Any, size: Size) -> Any:
        """The prediction in pixels of the image of `size`."""
        ...


class Results(Protocol):
    """Writes predictions to files and draws them."""

    def add(self, frame: Frame, prediction: Any) -> None: ...
    def draw(self, image: np.ndarray, prediction: Any) -> np.ndarray: ...
    def finish(self) -> None: ...


class TaskSpec(ABC):
    """One task; a subclass a task.

    Attributes:
        top_down: whether an image is predicted object by object, in crops (pose), so that a detector may go before it.
        detects_boxes: whether its predictions have `boxes`, `labels` and `scores`: it may be such a detector.
    """

    top_down = False
    detects_boxes = False

    def __init__(self, info: TaskInfo) -> None:
        self.info = info

    # -- data ----------------------------------------------------------------------------------------------------------

    @abstractmethod
    def train_transform(self, options: Options, scheduled: Mapping[str, float]) -> Transform:
        """scheduled: values of the `schedule` group in this phase of training, such as `image_size`."""

    def eval_transform(self, options: Options) -> Transform | None:
        """None: whole images."""
        return None

    @abstractmethod
    def collate(self, samples: list[dict[str, Any]]) -> dict[str, Any]:
        """Samples of the data set -> a batch: `images` uint8 [B, C, H, W], `names`, and the task's targets."""

    def check_splits(self, train: Any, val: Any) -> None:
        """Raises DataError for two splits that are not of the same classes."""
        return None

    # -- export --------------------------------------------------------------------------------------------------------

    @abstractmethod
    def export(self, head: str, *, argmax: bool = False) -> TaskExport:
        """How a model with this head is exported. argmax: class ids in place of logits, where pixels are labeled."""

    @abstractmethod
    def decode(self, outputs: Outputs, decoding: Mapping[str, Any], image_size: Size) -> Any:
        """An exported file's outputs for a batch -> predictions, in NumPy alone: what the head's `decode` gives.

        decoding: of the file's metadata. image_size: (height, width) of the network's input.
        """

    @abstractmethod
    def agreement(self, a: Any, b: Any) -> tuple[float, int]:
        """Two results of `decode` -> how many predictions are the same, of how many."""

    def refuse_argmax(self, argmax: bool) -> None:
        if argmax:
            outputs = ", ".join(self.export("").outputs)
            raise LightsegError(f"argmax is for segmentation; a file for {self.info.name} has the outputs {outputs}")

    # -- inference -----------------------------------------------------------------------------------------------------

    def complete(self, contract: InputContract, num_classes: int, where: str | Path) -> InputContract:
        """The contract of a file, with numbers for class names that it does not have; what it says must fit together.

        Raises:
            LightsegError: it names another number of classes; `where` is the file.
        """
        names = contract.class_names or tuple(map(str, range(num_classes)))
        if len(names) != num_classes:
            raise LightsegError(f"{where} names {len(names)} classes and predicts {num_classes}: it is damaged")
        return contract.replace(class_names=names)

    @abstractmethod
    def preprocessing(self, contract: InputContract, size: Size | None = None) -> Preprocessing:
        """How an image is prepared. size: (height, width) in place of the contract's."""

    @abstractmethod
    def predict(self, head: nn.Module, outputs: Any, image_size: Size, sizes: Sequence[Size]) -> list[Any]:
        """A head's raw outputs for a batch -> a prediction an image, as NumPy arrays.

        image_size: (height, width) of the network's input. sizes: of the images as they are displayed.
        """

    def predict_exported(
        self, outputs: Outputs, decoding: Mapping[str, Any], image_size: Size, sizes: Sequence[Size]
    ) -> list[Any]:
        """The same of an exported file's outputs."""
        return list(self.decode(outputs, decoding, image_size))

    @abstractmethod
    def results(self, folder: Path, contract: InputContract, score: float) -> Results:
        """The files of the predictions. score: predictions of a lower one are not drawn."""


def class_names(contract: InputContract) -> list[str]:
    """Of a contract that `TaskSpec.complete` has seen."""
    assert contract.class_names is not None
    return list(contract.class_names)
