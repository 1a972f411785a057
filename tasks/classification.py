"""Classification: top-1 accuracy, with top-5, accuracy per class and calibration."""

from typing import Any

import numpy as np
import torch
from timm.data import Mixup
from torch import Tensor

from lightseg.data.collate import as_type, shown
from lightseg.draw import classification_row, confusion_image
from lightseg.metrics.classification import ClassificationMetric

from .base import Batch, Task

TOP = 5  # classes that are drawn into an image


class ClassificationTask(Task):
    headings = ("image", "prediction")
    colors_mean_classes = False
    resolution = "the evaluation crop's"
    metric_type: Any = ClassificationMetric  # of (number of classes, their names)

    @staticmethod
    def own_options(config: dict[str, Any], dataset: Any) -> dict[str, Any]:
        return {"mix": config["mix"]}

    def __init__(self, model: dict[str, Any], *args: Any, mix: dict[str, Any], **options: Any) -> None:
        """
        Args:
            mix: options of timm's mixup and CutMix: `mixup` and `cutmix` (the alphas, 0 = off), `prob`, `switch_prob`.
        """
        super().__init__(model, *args, **options)
        self.metric = self.metric_type(model["num_classes"], self.class_names)
        self.mix = mix

    def prepare_batch(self, batch: Batch) -> Batch:
        return self.mixed(batch, self.metric.num_classes)

    def mixed(self, batch: Batch, num_classes: int) -> Batch:
        """timm's mixup and CutMix, seeded by the step."""
        values = {**self.mix, **self.scheduled}
        if not (values["mixup"] or values["cutmix"]) or len(batch["names"]) % 2:
            return batch
        mixing = Mixup(
            mixup_alpha=values["mixup"],
            cutmix_alpha=values["cutmix"],
            prob=values["prob"],
            switch_prob=values["switch_prob"],
            label_smoothing=0.0,  # the loss smooths the labels
            num_classes=num_classes,
        )
        state = np.random.get_state()
        np.random.seed(torch.initial_seed() % 2**32)  # timm uses numpy's generator, the step's seed is torch's
        images, labels = mixing(batch["images"].float(), batch["labels"])
        np.random.set_state(state)
        # back to the type that models take: rounds by half a gray level at most
        images = as_type(images, batch["images"].dtype).contiguous(memory_format=torch.channels_last)
        return {**batch, "images": images, "labels": labels}

    def evaluate(self, batch: Batch) -> Tensor:
        views = (False, True) if self.flip else (False,)
        images = batch["images"]
        probabilities = [self.head.decode(self(images.flip(-1) if flipped else images)) for flipped in views]
        mean = torch.stack(probabilities).mean(0)
        self.metric.update(mean, batch["labels"])
        return mean

    def draw(self, sample: Batch, prediction: Tensor) -> list[np.ndarray]:
        image = shown(sample["images"], self.model.contract)
        top = prediction.topk(min(TOP, len(prediction)))
        named = [(self.class_names[i], p) for i, p in zip(top.indices.tolist(), top.values.tolist(), strict=True)]
        return classification_row(image, self.true_names(sample), named)

    def true_names(self, sample: Batch) -> list[str]:
        """The true classes of a sample."""
        return [self.class_names[int(sample["labels"])]]

    def charts(self) -> dict[str, np.ndarray]:
        with self.metric.sync_context():
            counts = self.metric.confusion.cpu().numpy()
        return {"confusion": confusion_image(counts, self.class_names)}

    def annotations(self, sample: Batch, prediction: Tensor) -> dict[str, Any]:
        best = int(prediction.argmax())
        text = f"{self.class_names[best]} {float(prediction[best]):.2f}"
        return {"caption": f"{sample['name']}: {text}, truth {', '.join(self.true_names(sample))}"}
