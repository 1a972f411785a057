"""Multi-label classification: any number of classes for every image.

Batches have `labels` float32 [B, C] of 0 and 1, or between them once mixed. A prediction is probabilities [C], each of
its class alone.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lightseg.data.collate import collate
from lightseg.data.io.frame import Frame
from lightseg.data.statistics.base import LabelStatistics
from lightseg.data.statistics.classes import multi_label_statistics
from lightseg.input_contract import InputContract
from lightseg.predictions.classes import MultiLabel, best_first, draw_classes
from lightseg.task_specs.base import Options, Outputs, Results, Size, TaskExport, TaskSpec, about, class_names
from lightseg.task_specs.classification import ClassificationSpec, ClassResults

PRESENT = 0.5  # probability from which a class counts as predicted


class MultiLabelSpec(ClassificationSpec):
    def collate(self, samples: list[dict[str, Any]]) -> dict[str, Any]:
        batch = collate([{key: sample[key] for key in ("image", "name")} for sample in samples])
        labels = torch.stack([sample["label"] for sample in samples])
        return {"images": batch["image"], "names": batch["name"], "labels": labels}

    def label_statistics(self, dataset: Any, options: Options, budget: int | None = None) -> LabelStatistics | None:
        return multi_label_statistics(dataset)

    def balanced_weights(self, dataset: Any) -> np.ndarray:
        return TaskSpec.balanced_weights(self, dataset)  # refuses: an image is of several classes

    def label_text(self, sample: Mapping[str, Any], dataset: Any) -> str:
        names = [dataset.class_names[label] for label in np.flatnonzero(np.asarray(sample["label"]))]
        return ", ".join(names) or "no class"

    def export(self, head: str, *, argmax: bool = False) -> TaskExport:
        self.refuse_argmax(argmax)
        return LOGITS

    def decode(self, outputs: Outputs, decoding: Mapping[str, Any], image_size: Size) -> np.ndarray:
        """Probabilities float32 [B, C]."""
        return np.exp(-np.logaddexp(0, -outputs["logits"]))  # the sigmoid, without overflow

    def agreement(self, a: np.ndarray, b: np.ndarray) -> tuple[float, int]:
        """Counts classes of images: whether both predict them."""
        return float(((a >= PRESENT) == (b >= PRESENT)).sum()), a.size

    def explained_score(
        self, head: Any, outputs: Tensor, image_size: Size, label: int | None, score: float
    ) -> Tensor | None:
        """The logit of the class, or the sum over the classes that are predicted."""
        if label is not None:
            return outputs[0, label]
        chosen = outputs[0].sigmoid() >= score
        return outputs[0, chosen].sum() if chosen.any() else None

    def typed(
        self, prediction: np.ndarray, frame: Frame, index: int, contract: InputContract, score: float | None
    ) -> MultiLabel:
        labels = best_first(prediction)
        labels = labels if score is None else labels[prediction[labels] >= score]
        shared = about(frame, index, class_names(contract), score)
        return MultiLabel(**shared, probabilities=prediction, labels=labels, scores=prediction[labels])

    def results(self, folder: Path, contract: InputContract, score: float) -> Results:
        return LabelResults(folder, class_names(contract), score)


LOGITS = TaskExport(
    {"logits": "float32 [B, classes]; sigmoid gives the probability of each"}, lambda logits, size: (logits,)
)


class LabelResults(ClassResults):
    """results.json: [{file_name, classes: [{class, probability}, ...]}], those from `score` on, the most likely first.
    results.csv: the probability of every class, a column each."""

    def __init__(self, folder: Path, names: Sequence[str], score: float) -> None:
        self.score = score
        super().__init__(folder, names)

    def _columns(self) -> list[str]:
        return list(self.class_names)

    def _present(self, prediction: np.ndarray) -> list[tuple[str, float]]:
        order = [label for label in best_first(prediction) if prediction[label] >= self.score]
        return [(self.class_names[label], round(float(prediction[label]), 6)) for label in order]

    def add(self, frame: Frame, prediction: np.ndarray) -> None:
        classes = [{"class": name, "probability": probability} for name, probability in self._present(prediction)]
        self._write(frame, {"classes": classes}, [round(float(probability), 6) for probability in prediction])

    def draw(self, image: np.ndarray, prediction: np.ndarray) -> np.ndarray:
        return draw_classes(image, self._present(prediction))
