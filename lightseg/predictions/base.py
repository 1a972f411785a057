"""What the predictions of all tasks share: the image, its origin, drawing and saving."""

import io
import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from lightseg.errors import LightsegError
from lightseg.output_paths import is_same_file
from lightseg.result_files import write_bytes, write_image

IMAGE_ENDINGS = (".png", ".jpg", ".jpeg", ".webp")
NOTEBOOK_SIDE = 1024  # pixels of the longer side in a notebook


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Prediction(ABC):
    """A model's prediction for an image.

    Attributes:
        image: uint8 RGB [H, W, 3], as displayed.
        file_name: of the image or video; "image 3" for an array.
        index: position in the source, from 0.
        frame: number in a video, from 0. None: not of a video.
        note: a remark on the image (truncated, animated), or None.
        class_names: in the order of the labels.
        min_score: of what `plot` draws.
    """

    image: np.ndarray
    file_name: str
    index: int
    frame: int | None
    note: str | None
    class_names: tuple[str, ...]
    min_score: float

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the image in pixels."""
        return self.image.shape[0], self.image.shape[1]

    @abstractmethod
    def plot(self, min_score: float | None = None) -> np.ndarray:
        """The image with the prediction drawn in, uint8 RGB [H, W, 3].

        min_score: of what is drawn. None: the `score` of the call, or 0.3.
        """

    @abstractmethod
    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""

    def to_coco(
        self, image_id: int | str | None = None, category_ids: Sequence[int] | None = None
    ) -> list[dict[str, Any]]:
        """Entries of COCO results.

        Args:
            image_id: None: the position in the source, from 1.
            category_ids: the id of each label. None: the labels, from 1.

        Raises:
            LightsegError: COCO has no results of this task, or the number of ids is not that of the classes.
        """
        raise LightsegError(f"COCO has no results for a {type(self).__name__}: take to_dict() or save('a.json')")

    @abstractmethod
    def to_supervision(self) -> Any:
        """As the package supervision has it (Detections, KeyPoints or Classifications).

        Raises:
            LightsegError: supervision is not installed.
        """

    def save(self, path: str | Path) -> Path:
        """Write the drawing (.png, .jpg, .webp) or the values (.json), and return the path.

        Raises:
            LightsegError: another suffix, the image that was read, or a file that cannot be written.
        """
        path = Path(path)
        ending = path.suffix.lower()
        if ending not in (*IMAGE_ENDINGS, ".json"):
            raise LightsegError(f"{path}: give a name that ends in {', '.join(IMAGE_ENDINGS)} or .json")
        if is_same_file(path, Path(self.file_name)):
            raise LightsegError(f"{path} is the image itself: give another name")
        try:
            if ending == ".json":
                write_bytes(path, (json.dumps(self.to_dict(), ensure_ascii=False) + "\n").encode())
            else:
                write_image(path, self.plot())
        except OSError as error:
            raise LightsegError(f"cannot write {path}: {error.strerror or error}") from error
        return path

    def _repr_png_(self) -> bytes:
        """What a notebook shows."""
        drawn = Image.fromarray(self.plot())
        drawn.thumbnail((NOTEBOOK_SIDE, NOTEBOOK_SIDE))
        data = io.BytesIO()
        drawn.save(data, "PNG")
        return data.getvalue()

    def __repr__(self) -> str:
        height, width = self.size
        return f"<{type(self).__name__} of {self.file_name}, {width}x{height}: {self._summary() or 'nothing'}>"

    @abstractmethod
    def _summary(self) -> str: ...

    def _origin(self) -> dict[str, Any]:
        height, width = self.size
        frame = {} if self.frame is None else {"frame": self.frame}
        return {"file_name": self.file_name, **frame, "height": height, "width": width}

    def _ids(self, image_id: int | str | None, category_ids: Sequence[int] | None) -> tuple[int | str, Sequence[int]]:
        if category_ids is not None and len(category_ids) != len(self.class_names):
            raise LightsegError(f"{len(category_ids)} category_ids for {len(self.class_names)} classes: give one each")
        ids = range(1, len(self.class_names) + 1) if category_ids is None else category_ids
        return self.index + 1 if image_id is None else image_id, ids

    def _shown(self, min_score: float | None) -> float:
        return self.min_score if min_score is None else min_score


def names_of(class_names: Sequence[str], labels: np.ndarray) -> list[str]:
    return [class_names[label] for label in labels.tolist()]


def count(names: Sequence[str]) -> str:
    """ "3 car, 1 person"."""
    return ", ".join(f"{names.count(name)} {name}" for name in dict.fromkeys(names))


def supervision() -> Any:
    """The package. Raises LightsegError where it is not installed."""
    try:
        return import_module("supervision")
    except ImportError as error:
        raise LightsegError("to_supervision needs supervision: pip install supervision") from error
