"""Classification: a class for every image.

Batches have `labels` int64 [B], or float [B, C] once mixed. A prediction is probabilities [C].
"""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lightseg.data.collate import collate
from lightseg.data.datasets.imagefolder import check_same_classes
from lightseg.data.io.frame import Frame
from lightseg.data.statistics.base import LabelStatistics
from lightseg.data.statistics.classes import class_statistics
from lightseg.data.transforms.classification import eval_transform, train_transform
from lightseg.data.transforms.extra import with_extra
from lightseg.data.transforms.phase_transform import Transform
from lightseg.decoding.boxes import softmax
from lightseg.errors import LightsegError
from lightseg.input_contract import InputContract
from lightseg.predictions.classes import TOP, Classification, best_first, draw_classes
from lightseg.result_files import GrowingFile, GrowingList
from lightseg.task_specs.base import (
    Options,
    Outputs,
    Preprocessing,
    Results,
    Size,
    TaskExport,
    TaskSpec,
    about,
    class_names,
    pixels_of,
)

MAX_ASPECT = 16  # aspect ratio of an image beyond which its ends, which the crop drops anyway, are cut off first


class ClassificationSpec(TaskSpec):
    def train_transform(self, options: Options, scheduled: Mapping[str, float]) -> Transform:
        augment = dict(options["augment"])
        if "image_size" in scheduled:
            augment["size"] = int(scheduled["image_size"])
        if "randaugment" in scheduled:
            augment["randaugment"] = scheduled["randaugment"]
        augment["pixels"] = pixels_of(options)
        return with_extra(train_transform, augment, self.info.extra_target or None)

    def eval_transform(self, options: Options) -> Transform:
        return eval_transform(**options["eval"])

    def collate(self, samples: list[dict[str, Any]]) -> dict[str, Any]:
        batch = collate([{key: sample[key] for key in ("image", "name")} for sample in samples])
        labels = torch.tensor([sample["label"] for sample in samples])
        return {"images": batch["image"], "names": batch["name"], "labels": labels}

    def check_splits(self, train: Any, val: Any) -> None:
        check_same_classes(train, val)

    def label_statistics(self, dataset: Any, options: Options, budget: int | None = None) -> LabelStatistics | None:
        return class_statistics(dataset)

    def balanced_weights(self, dataset: Any) -> np.ndarray:
        labels = np.asarray(dataset.labels)
        return 1 / np.bincount(labels)[labels]

    def label_text(self, sample: Mapping[str, Any], dataset: Any) -> str:
        return dataset.class_names[sample["label"]]

    def export(self, head: str, *, argmax: bool = False) -> TaskExport:
        self.refuse_argmax(argmax)
        return LOGITS

    def decode(self, outputs: Outputs, decoding: Mapping[str, Any], image_size: Size) -> np.ndarray:
        """Probabilities float32 [B, C]."""
        return softmax(outputs["logits"])

    def agreement(self, a: np.ndarray, b: np.ndarray) -> tuple[float, int]:
        """Counts images."""
        return float((a.argmax(1) == b.argmax(1)).sum()), len(a)

    def preprocessing(self, contract: InputContract, size: Size | None = None) -> Preprocessing:
        height, width = size or contract.size or (0, 0)
        if height != width:
            raise LightsegError(f"a classifier takes a square: give one side, not {height}x{width}")
        if not height or contract.crop_pct is None or contract.interpolation is None:
            raise LightsegError("its input contract has no size, crop_pct and interpolation: export it again")
        return CenterCrop(height, contract.crop_pct, contract.interpolation)

    def predict(self, head: Any, outputs: Tensor, image_size: Size, sizes: Sequence[Size]) -> list[np.ndarray]:
        return list(head.decode(outputs, image_size).cpu().numpy())

    def explained_score(
        self, head: Any, outputs: Tensor, image_size: Size, label: int | None, score: float
    ) -> Tensor | None:
        """The logit of the class, or of the most likely class."""
        return outputs[0].max() if label is None else outputs[0, label]

    def typed(
        self, prediction: np.ndarray, frame: Frame, index: int, contract: InputContract, score: float | None
    ) -> Classification:
        labels = best_first(prediction)
        labels = labels if score is None else labels[prediction[labels] >= score]
        shared = about(frame, index, class_names(contract), score)
        return Classification(**shared, probabilities=prediction, labels=labels, scores=prediction[labels])

    def results(self, folder: Path, contract: InputContract, score: float) -> Results:
        return ClassResults(folder, class_names(contract))


LOGITS = TaskExport({"logits": "float32 [B, classes]; softmax gives probabilities"}, lambda logits, size: (logits,))


class CenterCrop:
    """`lightseg.data.transforms.classification.eval_transform`: the shorter side resized, the center cut out."""

    def __init__(self, size: int, crop_pct: float, interpolation: str) -> None:
        self.crop = eval_transform(size, crop_pct, interpolation)

    def __call__(self, image: np.ndarray) -> np.ndarray:
        longest = MAX_ASPECT * min(image.shape[:2])
        top, left = (max(0, (side - longest) // 2) for side in image.shape[:2])
        return self.crop(0, image=image[top : top + longest, left : left + longest])["image"]

    def restore(self, prediction: np.ndarray, size: Size) -> np.ndarray:
        return prediction


class ClassResults:
    """results.json: [{file_name, class, top: [{class, probability}, ... five]}]. results.csv: the same as a table."""

    def __init__(self, folder: Path, names: Sequence[str]) -> None:
        self.class_names = names
        self.list = GrowingList(folder / "results.json")
        self.table = GrowingFile(folder / "results.csv")
        self._row(["file_name", "frame", *self._columns()])

    def _columns(self) -> list[str]:
        ranks = range(1, min(TOP, len(self.class_names)) + 1)
        return [f"{key}_{rank}" for rank in ranks for key in ("class", "probability")]

    def _row(self, cells: Sequence[Any]) -> None:
        line = io.StringIO()
        csv.writer(line, lineterminator="\n").writerow(cells)
        self.table.write(line.getvalue())

    def _top(self, prediction: np.ndarray) -> list[tuple[str, float]]:
        return [(self.class_names[i], round(float(prediction[i]), 6)) for i in best_first(prediction)[:TOP]]

    def add(self, frame: Frame, prediction: np.ndarray) -> None:
        top = self._top(prediction)
        named = [{"class": name, "probability": probability} for name, probability in top]
        self._write(frame, {"class": top[0][0], "top": named}, [cell for pair in top for cell in pair])

    def _write(self, frame: Frame, values: dict[str, Any], cells: Sequence[Any]) -> None:
        self.list.append({**frame.origin, **values})
        self._row([frame.file_name, "" if frame.index is None else frame.index, *cells])

    def draw(self, image: np.ndarray, prediction: np.ndarray) -> np.ndarray:
        return draw_classes(image, self._top(prediction))

    def finish(self) -> None:
        try:
            self.list.finish()
        finally:
            self.table.finish()
