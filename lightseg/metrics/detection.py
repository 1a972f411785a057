"""COCO's detection figures (Lin et al., arXiv:1405.0312) by faster-coco-eval, equal to pycocotools' own.

AP is the mean over IoU 0.50:0.05:0.95 of the precision at 101 levels of recall; crowds, and objects outside the range
of sizes that is looked at, neither help nor harm. small: below 32 x 32 px of the picture on disk, large: from 96 x 96.
Everything is counted over the whole set at the end, so until then the predictions are kept, at 24 bytes a box.
"""

import logging
from collections.abc import Mapping, Sequence
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
_SUMMARY: coco.Summary = (  # as COCOeval.summarize has them
    ("mAP", "precision", None, 0, -1), ("mAP50", "precision", 0.5, 0, -1), ("mAP75", "precision", 0.75, 0, -1),
    ("mAP_small", "precision", None, 1, -1), ("mAP_medium", "precision", None, 2, -1),
    ("mAP_large", "precision", None, 3, -1),
    ("AR1", "recall", None, 0, 0), ("AR10", "recall", None, 0, 1), ("AR100", "recall", None, 0, 2),
)  # fmt: skip


class DetectionMetric(Metric):
    """Fractions 0..1 over the images that `update` has seen, each counted once however often it came.

    ground_truth: what `CocoDetection.ground_truth()` gives: COCO's `images`, `annotations` (bbox, area, iscrowd, ids
        other than 0) and `categories`.
    class_names, category_ids: of the labels 0..C-1.
    """

    higher_is_better = True
    full_state_update = False
    images: list[Tensor]
    detections: list[Tensor]

    def __init__(
        self, ground_truth: Mapping[str, Any], class_names: Sequence[str], category_ids: Sequence[int]
    ) -> None:
        super().__init__()
        if len(class_names) != len(category_ids):
            raise LightsegError(f"{len(category_ids)} category ids, but {len(class_names)} class names")
        if len(set(category_ids)) < len(category_ids):
            raise LightsegError(f"category_ids must differ: {category_ids}")
        self.ground_truth = ground_truth
        self.class_names, self.category_ids = list(class_names), list(category_ids)
        self._by_category = np.argsort(category_ids)  # labels in the order of their ids, which is the evaluators'
        self.image_ids = coco.image_ids_of(ground_truth)
        self._place = {image_id: place for place, image_id in enumerate(self.image_ids)}
        # Flat float32 both, because that is what torchmetrics puts in for a process that has seen no image.
        self.add_state("images", [], dist_reduce_fx="cat")  # place in image_ids, number of detections; again
        self.add_state("detections", [], dist_reduce_fx="cat")  # x1, y1, x2, y2, score, label; again

    def update(self, predictions: Sequence[Mapping[str, Tensor]], image_ids: Sequence[int]) -> None:
        """predictions: for each image boxes [n, 4] xyxy in pixels of the picture on disk, labels [n], scores [n].

        Raises LightsegError for images that are not in the ground truth, labels that are no class, shapes that do not
        fit, and values that are not finite.
        """
        if len(predictions) != len(image_ids):
            raise LightsegError(f"{len(predictions)} predictions for {len(image_ids)} images")
        rows, counts = [], []
        for prediction, image_id in zip(predictions, image_ids, strict=True):
            if image_id not in self._place:
                raise LightsegError(f"image {image_id} is not in the ground truth of the evaluation")
            boxes, labels, scores = (prediction[key] for key in ("boxes", "labels", "scores"))
            n = len(scores)
            if boxes.shape != (n, 4) or labels.shape != (n,) or scores.ndim != 1:
                raise LightsegError(
                    f"image {image_id}: boxes {list(boxes.shape)}, labels {list(labels.shape)} and scores "
                    f"{list(scores.shape)} do not fit: they are [n, 4], [n] and [n]"
                )
            rows.append(torch.cat([boxes.float(), scores.float()[:, None], labels.float()[:, None]], 1).to(self.device))
            counts += [self._place[image_id], n]
        if not rows:
            return
        batch = torch.cat(rows)
        self._check(batch, counts)
        self.images.append(torch.tensor(counts, dtype=torch.float32, device=self.device))
        self.detections.append(batch.flatten())

    def compute(self) -> dict[str, float]:
        """`{"mAP", "mAP50", "mAP75", "mAP_small", "mAP_medium", "mAP_large", "AR1", "AR10", "AR100", "AP/<class>"}`.

        NaN where there is no object to find (pycocotools writes -1); classes without one are not listed.
        """
        places, rows, owners = self._kept()
        if not len(places):
            return dict.fromkeys((key for key, *_ in _SUMMARY), float("nan"))
        with coco.no_garbage_collection():
            figures = self._evaluate(places, rows, owners)
        result = coco.summarise(figures, _SUMMARY)
        ranks = np.argsort(self._by_category).tolist()
        for rank, name in zip(ranks, self.class_names, strict=True):
            value = coco.mean(figures["precision"][:, :, rank, 0, -1])
            if not np.isnan(value):
                result[f"AP/{name}"] = value
        return result

    def results(self) -> list[dict[str, Any]]:
        """The predictions as COCO results, the list that evaluation servers and pycocotools' `loadRes` take.

        Distributed, every process must call it, and all get the predictions of all.
        """
        with self.sync_context(dist_sync_fn=self.dist_sync_fn):
            _, rows, owners = self._kept()
        return [
            {"image_id": image, "category_id": category, "bbox": box, "score": score}
            for image, category, box, score in self._columns(rows, owners)
        ]

    def _check(self, batch: Tensor, counts: Sequence[int]) -> None:
        """The rows of one batch, looked at together: on a GPU every look is a wait."""
        classes = len(self.class_names)
        good = batch.isfinite().all(1) & (batch[:, 5] >= 0) & (batch[:, 5] < classes)
        if good.all():
            return
        row = int((~good).nonzero()[0])
        image = self.image_ids[counts[::2][int(np.searchsorted(np.cumsum(counts[1::2]), row, side="right"))]]
        if batch[row].isfinite().all():
            raise LightsegError(f"image {image}: label {int(batch[row, 5])} lies outside the classes 0..{classes - 1}")
        raise LightsegError(f"image {image}: a predicted box or score is not finite; has the training diverged?")

    def _kept(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Places in image_ids [I] in rising order, detections [n, 6], their image's place [n]; repeats left out.

        Distributed evaluation may give an image to two processes so that all have equally many.
        """
        if not len(self.images):
            return np.zeros(0, np.int64), np.zeros((0, 6), np.float32), np.zeros(0, np.int64)
        places, counts = dim_zero_cat(self.images).cpu().numpy().astype(np.int64).reshape(-1, 2).T
        rows = dim_zero_cat(self.detections).cpu().numpy().reshape(-1, 6)
        seen, first = np.unique(places, return_index=True)
        is_first = np.zeros(len(places), bool)
        is_first[first] = True
        keep = np.repeat(is_first, counts)
        rows, owners = rows[keep], np.repeat(places, counts)[keep]
        order = np.argsort(owners, kind="stable")
        return seen, rows[order], owners[order]

    def _columns(self, rows: np.ndarray, owners: np.ndarray) -> Any:
        """(image id, category id, bbox [x, y, width, height], score) of every detection, as Python numbers."""
        boxes = rows[:, :4].astype(np.float64)
        boxes[:, 2:] -= boxes[:, :2]
        images = [self.image_ids[place] for place in owners.tolist()]
        categories = [self.category_ids[label] for label in rows[:, 5].astype(np.int64).tolist()]
        return zip(images, categories, boxes.tolist(), rows[:, 4].tolist(), strict=True)

    def _evaluate(self, places: np.ndarray, rows: np.ndarray, owners: np.ndarray) -> dict[str, np.ndarray]:
        """precision [IoU, recall, class, area, detections an image], recall [IoU, class, area, detections]; -1 where
        there is no object. Classes are in the order of their category ids; as they have nothing to do with each other,
        a few at a time keep the memory small.
        """
        image_ids = [self.image_ids[place] for place in places.tolist()]
        parts: list[dict[str, np.ndarray]] = []
        for start in range(0, len(self.category_ids), _CLASSES_AT_ONCE):
            labels = self._by_category[start : start + _CLASSES_AT_ONCE]
            category_ids = [self.category_ids[label] for label in labels.tolist()]
            truth = [dict(one) for one in self.ground_truth["annotations"] if one["category_id"] in category_ids]
            chosen = np.isin(rows[:, 5], labels)
            columns = self._columns(rows[chosen], owners[chosen])
            found = [
                {
                    "id": number, "image_id": image, "category_id": category, "bbox": box, "score": score,
                    "area": box[2] * box[3], "iscrowd": 0,
                }
                for number, (image, category, box, score) in enumerate(columns, start=1)
            ]  # fmt: skip
            evaluation = COCOeval_faster(
                coco.index(self.ground_truth, truth),
                coco.index(self.ground_truth, found),
                "bbox",
                print_function=_log.debug,
            )
            evaluation.params.imgIds, evaluation.params.catIds = image_ids, category_ids
            evaluation.evaluate()
            evaluation.accumulate()
            parts.append({key: evaluation.eval[key] for key in ("precision", "recall")})
        return {
            key: np.concatenate([part[key] for part in parts], axis) for key, axis in (("precision", 2), ("recall", 1))
        }
