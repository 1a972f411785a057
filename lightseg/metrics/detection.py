"""COCO's detection metrics (Lin et al., arXiv:1405.0312) with faster-coco-eval, equal to those of pycocotools.

AP is the mean over IoU 0.50:0.05:0.95 of the precision at 101 levels of recall. Crowds and objects outside the range of
areas are ignored. small: below 32 x 32 px of the image file; large: from 96 x 96 px.
The evaluation needs the predictions of all images. They are kept at 24 bytes per box.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from faster_coco_eval import COCOeval_faster
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from lightseg.errors import LightsegError
from lightseg.metrics import coco

_log = logging.getLogger(__name__)
_CLASSES_AT_ONCE = 16
_SUMMARY: coco.Summary = (  # as in COCOeval.summarize
    ("mAP", "precision", None, 0, -1), ("mAP50", "precision", 0.5, 0, -1), ("mAP75", "precision", 0.75, 0, -1),
    ("mAP_small", "precision", None, 1, -1), ("mAP_medium", "precision", None, 2, -1),
    ("mAP_large", "precision", None, 3, -1),
    ("AR1", "recall", None, 0, 0), ("AR10", "recall", None, 0, 1),
)  # fmt: skip


class DetectionMetric(Metric):
    """Fractions 0..1 over the images of `update`. An image counts once, however often it is given.

    Args:
        ground_truth: of `CocoDetection.ground_truth()`: COCO's `images`, `annotations` (bbox, area, iscrowd, ids other
            than 0) and `categories`.
        class_names, category_ids: of the labels 0..C-1.
        max_detections: the best boxes of an image and class that count. COCO's is 100; another number has its own `AR`.
    """

    higher_is_better = True
    full_state_update = False
    images: list[Tensor]
    detections: list[Tensor]

    def __init__(
        self,
        ground_truth: Mapping[str, Any],
        class_names: Sequence[str],
        category_ids: Sequence[coco.Id],
        max_detections: int = coco.MAX_DETECTIONS,
    ) -> None:
        super().__init__()
        if isinstance(max_detections, bool) or not isinstance(max_detections, int) or max_detections <= 10:
            raise LightsegError(f"data.max_detections is {max_detections!r}: must be a whole number above 10")
        self.max_detections = max_detections
        self._summary = (*_SUMMARY, (f"AR{max_detections}", "recall", None, 0, 2))
        if len(class_names) != len(category_ids):
            raise LightsegError(f"{len(category_ids)} category ids, but {len(class_names)} class names")
        if len(set(category_ids)) < len(category_ids):
            raise LightsegError(f"category_ids must differ: {category_ids}")
        self.ground_truth = ground_truth
        self.class_names, self.category_ids = list(class_names), list(category_ids)
        self._by_category = np.array(sorted(range(len(category_ids)), key=self.category_ids.__getitem__), np.int64)
        self.image_ids = coco.checked_image_ids(ground_truth)
        self._image_numbers = coco.evaluation_numbers(self.image_ids)
        self._category_numbers = coco.evaluation_numbers(self.category_ids)
        self._image_index = {image_id: i for i, image_id in enumerate(self.image_ids)}
        # flat float32, like the empty tensor that torchmetrics adds for a process without images
        self.add_state("images", [], dist_reduce_fx="cat")  # (index in image_ids, number of detections) per image
        self.add_state("detections", [], dist_reduce_fx="cat")  # (x1, y1, x2, y2, score, label) per detection

    def update(self, predictions: Sequence[Mapping[str, Tensor]], image_ids: Sequence[coco.Id]) -> None:
        """Add a batch of predictions: per image boxes [n, 4] xyxy in pixels of the image file, labels [n], scores [n].

        Raises LightsegError for an image that is not in the ground truth, a label that is not a class, a value that is
        not finite, and shapes that do not fit.
        """
        if len(predictions) != len(image_ids):
            raise LightsegError(f"{len(predictions)} predictions for {len(image_ids)} images")
        rows, counts = [], []
        for prediction, image_id in zip(predictions, image_ids, strict=True):
            if image_id not in self._image_index:
                raise LightsegError(f"image {image_id} is not in the ground truth of the evaluation")
            boxes, labels, scores = (prediction[key] for key in ("boxes", "labels", "scores"))
            n = len(scores)
            if boxes.shape != (n, 4) or labels.shape != (n,) or scores.ndim != 1:
                raise LightsegError(
                    f"image {image_id}: boxes {list(boxes.shape)}, labels {list(labels.shape)} and scores "
                    f"{list(scores.shape)} do not fit: they are [n, 4], [n] and [n]"
                )
            rows.append(torch.cat([boxes.float(), scores.float()[:, None], labels.float()[:, None]], 1).to(self.device))
            counts += [self._image_index[image_id], n]
        if not rows:
            return
        batch = torch.cat(rows)
        self._check(batch, counts)
        self.images.append(torch.tensor(counts, dtype=torch.float32, device=self.device))
        self.detections.append(batch.flatten())

    def compute(self) -> dict[str, float]:
        """`{"mAP", "mAP50", "mAP75", "mAP_small", "mAP_medium", "mAP_large", "AR1", "AR10", "AR100", "AP/<class>"}`.

        NaN where there is no object (pycocotools: -1). Classes without an object are not listed.
        """
        images, rows, image_of_row = self._unique()
        if not len(images):
            return dict.fromkeys((key for key, *_ in self._summary), float("nan"))
        return self._figures(
            [self.image_ids[i] for i in images.tolist()], lambda labels: self._of_labels(rows, image_of_row, labels)
        )

    def of_results(self, results: Sequence[Mapping[str, Any]]) -> dict[str, float]:
        """The same for COCO results of any program, over all images of the ground truth, in the precision that they
        came in. Results of other categories do not count.

        results: `image_id` in the ground truth, `category_id`, `bbox` [x, y, width, height] and `score`.
        """
        images, categories = self._image_numbers, self._category_numbers
        by_category: dict[coco.Id, list[Any]] = {}
        for entry in results:
            if (category := entry["category_id"]) in categories:
                columns = (images[entry["image_id"]], categories[category], list(entry["bbox"]), entry["score"])
                by_category.setdefault(category, []).append(columns)

        def of_labels(labels: np.ndarray) -> list[Any]:
            return [row for label in labels.tolist() for row in by_category.get(self.category_ids[label], [])]

        return self._figures(self.image_ids, of_labels)

    def _figures(self, image_ids: list[coco.Id], of_labels: Callable[[np.ndarray], Any]) -> dict[str, float]:
        with coco.no_garbage_collection():
            figures = self._evaluate(image_ids, of_labels)
        result = coco.summarize(figures, self._summary)
        ranks = np.argsort(self._by_category).tolist()
        for rank, name in zip(ranks, self.class_names, strict=True):
            value = coco.mean(figures["precision"][:, :, rank, 0, -1])
            if not np.isnan(value):
                result[f"AP/{name}"] = value
        return result

    def results(self) -> list[dict[str, Any]]:
        """The predictions as a list of COCO results, for evaluation servers and pycocotools' `loadRes`.

        Distributed, every process must call it; each gets the predictions of all processes.
        """
        with self.sync_context(dist_sync_fn=self.dist_sync_fn):
            _, rows, image_of_row = self._unique()
        return [
            {"image_id": image, "category_id": category, "bbox": box, "score": score}
            for image, category, box, score in self._columns(rows, image_of_row, self.image_ids, self.category_ids)
        ]

    def _check(self, batch: Tensor, counts: Sequence[int]) -> None:
        """Raises LightsegError for an invalid row. The batch is checked at once: each check waits for the GPU."""
        classes = len(self.class_names)
        valid = batch.isfinite().all(1) & (batch[:, 5] >= 0) & (batch[:, 5] < classes)
        if valid.all():
            return
        row = int((~valid).nonzero()[0])
        image = self.image_ids[counts[::2][int(np.searchsorted(np.cumsum(counts[1::2]), row, side="right"))]]
        if batch[row].isfinite().all():
            raise LightsegError(f"image {image}: label {int(batch[row, 5])} is outside the classes 0..{classes - 1}")
        raise LightsegError(f"image {image}: a predicted box or score is not finite; has the training diverged?")

    def _unique(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Indices of the images [I], sorted; detections [n, 6]; and the index of their image [n], without repeats.

        Distributed evaluation may give an image to two processes, so that all have the same number of images.
        """
        if not len(self.images):
            return np.zeros(0, np.int64), np.zeros((0, 6), np.float32), np.zeros(0, np.int64)
        images, counts = dim_zero_cat(self.images).cpu().numpy().astype(np.int64).reshape(-1, 2).T
        rows = dim_zero_cat(self.detections).cpu().numpy().reshape(-1, 6)
        unique, first = np.unique(images, return_index=True)
        is_first = np.zeros(len(images), bool)
        is_first[first] = True
        keep = np.repeat(is_first, counts)
        rows, image_of_row = rows[keep], np.repeat(images, counts)[keep]
        order = np.argsort(image_of_row, kind="stable")
        return unique, rows[order], image_of_row[order]

    @staticmethod
    def _columns(
        rows: np.ndarray, image_of_row: np.ndarray, image_ids: Sequence[coco.Id], category_ids: Sequence[coco.Id]
    ) -> Any:
        """(image id, category id, bbox [x, y, width, height], score) of every detection, as Python numbers."""
        boxes = rows[:, :4].astype(np.float64)
        boxes[:, 2:] -= boxes[:, :2]
        images = [image_ids[i] for i in image_of_row.tolist()]
        categories = [category_ids[label] for label in rows[:, 5].astype(np.int64).tolist()]
        return zip(images, categories, boxes.tolist(), rows[:, 4].tolist(), strict=True)

    def _of_labels(self, rows: np.ndarray, image_of_row: np.ndarray, labels: np.ndarray) -> Any:
        selected = np.isin(rows[:, 5], labels)
        image_numbers, category_numbers = self._numbers()
        return self._columns(rows[selected], image_of_row[selected], image_numbers, category_numbers)

    def _numbers(self) -> tuple[list[int], list[int]]:
        """The evaluator's numbers of the images and of the categories, in the order of their ids."""
        images = [self._image_numbers[image_id] for image_id in self.image_ids]
        return images, [self._category_numbers[category_id] for category_id in self.category_ids]

    def _evaluate(self, image_ids: list[coco.Id], of_labels: Callable[[np.ndarray], Any]) -> dict[str, np.ndarray]:
        """precision [IoU, recall, class, area, detections] and recall [IoU, class, area, detections]; -1: no object.

        of_labels: labels -> (number of the image, number of the category, bbox, score) of their detections.

        The classes are sorted by category id. They are evaluated a few at a time, which needs less memory.
        """
        image_numbers, category_numbers = self._numbers()
        evaluated = [self._image_numbers[image_id] for image_id in image_ids]
        parts: list[dict[str, np.ndarray]] = []
        for start in range(0, len(self.category_ids), _CLASSES_AT_ONCE):
            labels = self._by_category[start : start + _CLASSES_AT_ONCE]
            chosen = {self.category_ids[label] for label in labels.tolist()}
            objects = [
                {
                    **annotation,
                    "image_id": self._image_numbers[annotation["image_id"]],
                    "category_id": self._category_numbers[annotation["category_id"]],
                }
                for annotation in self.ground_truth["annotations"]
                if annotation["category_id"] in chosen
            ]
            detections = [
                {
                    "id": number, "image_id": image, "category_id": category, "bbox": box, "score": score,
                    "area": box[2] * box[3], "iscrowd": 0,
                }
                for number, (image, category, box, score) in enumerate(of_labels(labels), start=1)
            ]  # fmt: skip
            evaluation = COCOeval_faster(
                coco.build_index(image_numbers, category_numbers, objects),
                coco.build_index(image_numbers, category_numbers, detections),
                "bbox",
                print_function=_log.debug,
            )
            evaluation.params.imgIds = evaluated
            evaluation.params.maxDets = [1, 10, self.max_detections]
            evaluation.params.catIds = [category_numbers[label] for label in labels.tolist()]
            evaluation.evaluate()
            evaluation.accumulate()
            parts.append({key: evaluation.eval[key] for key in ("precision", "recall")})
        return {
            key: np.concatenate([part[key] for part in parts], axis) for key, axis in (("precision", 2), ("recall", 1))
        }
