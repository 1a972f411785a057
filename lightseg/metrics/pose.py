"""COCO's keypoint metrics (https://cocodataset.org/#keypoints-eval) with faster-coco-eval, equal to those of
pycocotools, and PCK.

AP is the mean over OKS 0.50:0.05:0.95 of the precision at 101 levels of recall, of the 20 persons of an image with the
highest scores. Crowds, persons without a labeled keypoint and persons outside the range of areas are ignored. medium:
32 x 32 to 96 x 96 px of the image file; large: from there on. COCO labels no keypoints on smaller persons.
The evaluation needs the predictions of all images. They are kept at 12 bytes per keypoint.
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
from lightseg.metrics.oks import oks_nms, person_scores
from lightseg.metrics.pck import pck, unit_lengths

_log = logging.getLogger(__name__)
_SUMMARY: coco.Summary = (  # as in COCOeval.summarize
    ("AP", "precision", None, 0, 0), ("AP50", "precision", 0.5, 0, 0), ("AP75", "precision", 0.75, 0, 0),
    ("AP_medium", "precision", None, 1, 0), ("AP_large", "precision", None, 2, 0),
    ("AR", "recall", None, 0, 0), ("AR50", "recall", 0.5, 0, 0), ("AR75", "recall", 0.75, 0, 0),
    ("AR_medium", "recall", None, 1, 0), ("AR_large", "recall", None, 2, 0),
)  # fmt: skip
_IMAGE, _ANNOTATION, _BOX, _BOX_SCORE, _POINTS = 0, 1, slice(2, 6), 6, 7  # columns of a person in the state


class PoseMetric(Metric):
    """Fractions 0..1 over the persons of `update`. A person counts once, however often it is given.

    Args:
        ground_truth: COCO's `images`, `annotations` (keypoints [x, y, visibility] * K, num_keypoints, bbox, area,
            iscrowd, ids) and its single category.
        names: of the K keypoints.
        sigmas: of OKS, one per keypoint.
        detector_boxes: the boxes are detections, which belong to no annotation. All images of the ground truth count:
            in an image without detections all persons are missed. With ground-truth boxes only the images of `update`
            count.
        keypoint_threshold: the score of a person is that of its box times the mean score of its keypoints above this.
        nms_threshold: OKS above which the person with the lower score is dropped (mmpose's default; its area is that of
            the padded crop, here that of the box); None keeps all. Not applied to ground-truth boxes.
        pck_unit: unit of PCK's distances: "box" = its longer side (Yang & Ramanan, TPAMI 2013), "torso" = left shoulder
            to right hip, or two names of keypoints, for example of a head. None: "torso" where `names` has its ends,
            otherwise "box"; the attribute has the result. Persons with an unlabeled end do not count.
        pck_threshold: largest distance of a correct keypoint, as a fraction of the unit.
        results_order: indices in `names` of the keypoints in the order of the annotation file, which is the order of
            `results`; None: `names` are in the order of the file.
    """

    higher_is_better = True
    full_state_update = False
    persons: list[Tensor]

    def __init__(
        self,
        ground_truth: Mapping[str, Any],
        names: Sequence[str],
        sigmas: Sequence[float],
        *,
        detector_boxes: bool = False,
        keypoint_threshold: float = 0.2,
        nms_threshold: float | None = 0.9,
        pck_unit: str | Sequence[str] | None = None,
        pck_threshold: float = 0.2,
        results_order: Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        self.results_order = list(range(len(names)) if results_order is None else results_order)
        self.ground_truth, self.names = ground_truth, list(names)
        self.sigmas = np.array([float(sigma) for sigma in sigmas])
        if self.sigmas.shape != (len(names),) or not (np.isfinite(self.sigmas) & (self.sigmas > 0)).all():
            raise LightsegError(f"sigmas must be {len(names)} numbers above 0, one per keypoint: {list(sigmas)}")
        self.detector_boxes, self.keypoint_threshold = detector_boxes, keypoint_threshold
        self.nms_threshold, self.pck_threshold = nms_threshold, pck_threshold
        self.image_ids = coco.checked_image_ids(ground_truth)
        categories = [category["id"] for category in ground_truth["categories"]]
        if len(categories) != 1:
            raise LightsegError(f"keypoints are evaluated for one category, the ground truth has {len(categories)}")
        self.category_id = categories[0]
        self._image_index = {image_id: i for i, image_id in enumerate(self.image_ids)}
        self._image_numbers = coco.evaluation_numbers(self.image_ids)
        self._annotation_index = {annotation["id"]: i for i, annotation in enumerate(ground_truth["annotations"])}
        count = len(self._annotation_index)
        if count < len(ground_truth["annotations"]):
            raise LightsegError("annotations of the ground truth share an id: give each a different one")
        if count >= coco.MAX_EXACT_INT:
            raise LightsegError(f"{count} persons cannot be evaluated at once: the limit is {coco.MAX_EXACT_INT - 1}")
        self._points = self._true_points()
        self.pck_unit, self._lengths = unit_lengths(pck_unit, self.names, self._points, ground_truth["annotations"])
        # flat float32, like the empty tensor that torchmetrics adds for a process without images
        self.add_state("persons", [], dist_reduce_fx="cat")

    def empty_copy(self) -> "PoseMetric":
        """A metric with the same ground truth (not copied) and settings, without persons."""
        return PoseMetric(
            self.ground_truth,
            self.names,
            self.sigmas.tolist(),
            detector_boxes=self.detector_boxes,
            keypoint_threshold=self.keypoint_threshold,
            nms_threshold=self.nms_threshold,
            pck_unit=self.pck_unit,
            pck_threshold=self.pck_threshold,
            results_order=self.results_order,
        )

    def update(
        self,
        keypoints: Tensor,
        scores: Tensor,
        box_scores: Tensor,
        boxes: Tensor,
        image_ids: Sequence[coco.Id],
        ids: Sequence[int] | None = None,
    ) -> None:
        """Add the predictions of a batch of persons.

        Args:
            keypoints, boxes: [B, K, 2] and [B, 4] xyxy in pixels of the image file.
            scores, box_scores: [B, K] of the keypoints and [B] of the boxes.
            ids: [B] of the annotations, with ground-truth boxes. A detector's persons are distinguished by image, box
                and score of the box.

        Raises:
            LightsegError: an image or annotation is not in the ground truth, a value is not finite, or the shapes do
                not fit.
        """
        n, k = len(image_ids), len(self.names)
        shapes = [list(tensor.shape) for tensor in (keypoints, scores, box_scores, boxes)]
        if shapes != [[n, k, 2], [n, k], [n], [n, 4]]:
            raise LightsegError(
                f"{n} image ids, keypoints {shapes[0]}, scores {shapes[1]}, box_scores {shapes[2]} and boxes "
                f"{shapes[3]} do not fit: they are B, [B, {k}, 2], [B, {k}], [B] and [B, 4]"
            )
        if not n:
            return
        indices = torch.tensor(self._indices(image_ids, ids), dtype=torch.float32, device=self.device)
        points = torch.cat([keypoints, scores[..., None]], 2).flatten(1)
        values = torch.cat([boxes, box_scores[:, None], points], 1)
        rows = torch.cat([indices, values.to(self.device, torch.float32)], 1)
        valid = rows.isfinite().all(1)
        if not valid.all():  # the batch is checked at once: each check waits for the GPU
            image = image_ids[int((~valid).nonzero()[0])]
            raise LightsegError(f"image {image}: a keypoint, score or box is not finite; has the training diverged?")
        self.persons.append(rows.flatten())

    def compute(self) -> dict[str, float]:
        """`{"AP", "AP50", "AP75", "AP_medium", "AP_large", "AR", ..., "AR_large", "PCK", "PCK/<name>"}`.

        NaN where there is no person (pycocotools: -1). PCK is computed for ground-truth boxes, by annotation; it is NaN
        for a detector's. It is the mean over the keypoints that are labeled in any person; others are not listed.
        """
        rows, scores = self._unique()
        image_ids = self.image_ids if self.detector_boxes else list(set(self._row_image_ids(rows)))
        if image_ids:
            columns = self._row_image_ids(rows), self._split(rows), scores
            with coco.no_garbage_collection():
                result = coco.summarize(self._evaluate(*columns, image_ids), _SUMMARY)
        else:
            result = dict.fromkeys((key for key, *_ in _SUMMARY), float("nan"))
        matched = rows[:0] if self.detector_boxes else rows
        annotations, points = matched[:, _ANNOTATION].astype(np.int64), self._split(matched)[..., :2]
        truth, lengths = self._points[annotations], self._lengths[annotations]
        return result | pck(points, truth, lengths, self.names, self.pck_threshold)

    def of_results(self, results: Sequence[Mapping[str, Any]]) -> dict[str, float]:
        """AP and AR of COCO results of any program, over all images of the ground truth, in the precision that they
        came in; without PCK.

        results: `image_id` in the ground truth, `keypoints` [x, y, score] * K in the file's order, and `score`.
        """
        points = np.array([entry["keypoints"] for entry in results], np.float64).reshape(len(results), -1, 3)
        points = points.reshape(len(results), len(self.names), 3)[:, np.argsort(self.results_order)]
        scores = np.array([entry["score"] for entry in results], np.float64)
        with coco.no_garbage_collection():
            figures = self._evaluate([entry["image_id"] for entry in results], points, scores, self.image_ids)
        return coco.summarize(figures, _SUMMARY)

    def results(self) -> list[dict[str, Any]]:
        """The persons as a list of COCO results, for evaluation servers and pycocotools' `loadRes`.

        Distributed, every process must call it; each gets the persons of all processes.
        """
        with self.sync_context(dist_sync_fn=self.dist_sync_fn):
            rows, scores = self._unique()
        points = self._split(rows)[:, self.results_order].reshape(rows[:, _POINTS:].shape)
        columns = self._row_image_ids(rows), points.tolist(), scores.tolist()
        return [
            {"image_id": image, "category_id": self.category_id, "keypoints": points, "score": score}
            for image, points, score in zip(*columns, strict=True)
        ]

    def _true_points(self) -> np.ndarray:
        """Keypoints of the ground truth, float64 [A, K, 3]: x, y, visibility; visibility is 0 for crowds."""
        k, annotations = len(self.names), self.ground_truth["annotations"]
        for annotation in annotations:
            numbers = len(annotation["keypoints"])
            if numbers != 3 * k:
                raise LightsegError(
                    f"annotation {annotation['id']} has {numbers} numbers for {k} keypoints: expected {3 * k}"
                )
        points = np.array([annotation["keypoints"] for annotation in annotations], np.float64).reshape(-1, k, 3)
        points[[bool(annotation["iscrowd"]) for annotation in annotations], :, 2] = 0
        return points

    def _indices(self, image_ids: Sequence[coco.Id], ids: Sequence[int] | None) -> list[tuple[int, int]]:
        """(index of the image, index of the annotation or -1) per person."""
        unknown = next((image_id for image_id in image_ids if image_id not in self._image_index), None)
        if unknown is not None:
            raise LightsegError(f"image {unknown} is not in the ground truth of the evaluation")
        if self.detector_boxes:
            return [(self._image_index[image_id], -1) for image_id in image_ids]
        if ids is None or len(ids) != len(image_ids):
            raise LightsegError(f"{len(ids or [])} annotation ids for {len(image_ids)} persons in ground-truth boxes")
        indices = []
        for image_id, annotation_id in zip(image_ids, ids, strict=True):
            i = self._annotation_index.get(annotation_id)
            if i is None or self.ground_truth["annotations"][i]["image_id"] != image_id:
                raise LightsegError(
                    f"image {image_id} has no annotation {annotation_id} in the ground truth of the evaluation"
                )
            indices.append((self._image_index[image_id], i))
        return indices

    def _unique(self) -> tuple[np.ndarray, np.ndarray]:
        """The persons as rows float64 [n, 7 + 3 K], sorted by image, and their scores [n]; after OKS NMS.

        Without repeats: distributed evaluation may give a person to two processes, so that all have the same number.
        """
        width = _POINTS + 3 * len(self.names)
        if not len(self.persons):
            return np.zeros((0, width)), np.zeros(0)
        rows = dim_zero_cat(self.persons).cpu().numpy().astype(np.float64).reshape(-1, width)
        _, first = np.unique(rows[:, :_POINTS], axis=0, return_index=True)
        rows = rows[first]
        points = self._split(rows)
        scores = person_scores(rows[:, _BOX_SCORE], points[..., 2], self.keypoint_threshold)
        if self.detector_boxes and self.nms_threshold is not None:
            boxes = rows[:, _BOX]
            areas = (boxes[:, 2:] - boxes[:, :2]).prod(1)
            kept = oks_nms(points[..., :2], scores, areas, rows[:, _IMAGE], self.sigmas, self.nms_threshold)
            rows, scores = rows[kept], scores[kept]
        return rows, scores

    def _row_image_ids(self, rows: np.ndarray) -> list[coco.Id]:
        return [self.image_ids[i] for i in rows[:, _IMAGE].astype(np.int64).tolist()]

    def _split(self, rows: np.ndarray) -> np.ndarray:
        """Keypoints [n, K, 3]: x, y and score."""
        return rows[:, _POINTS:].reshape(len(rows), len(self.names), 3)

    def _evaluate(
        self, images: Sequence[coco.Id], points: np.ndarray, scores: np.ndarray, image_ids: list[coco.Id]
    ) -> dict[str, np.ndarray]:
        """images [n]: ids. points [n, K, 3] of the predictions. scores [n]. image_ids: of the evaluated images.

        Returns precision [OKS, recall, 1, area, 1] and recall [OKS, 1, area, 1]; -1: no person."""
        numbers, persons = self._image_numbers, []
        annotations = self.ground_truth["annotations"]
        for number, (annotation, true_points) in enumerate(zip(annotations, self._points, strict=True), start=1):
            labeled = annotation.get("num_keypoints", int((true_points[:, 2] > 0).sum()))
            ids = {"id": number, "image_id": numbers[annotation["image_id"]], "category_id": 1}
            persons.append({**annotation, **ids, "num_keypoints": labeled})
        low, high = points[..., :2].min(1), points[..., :2].max(1)
        areas = (high - low).prod(1)  # as in pycocotools' loadRes
        boxes = np.hstack([low, high - low])
        flat = points.reshape(len(points), 3 * len(self.names)).tolist()
        columns = images, flat, boxes.tolist(), areas.tolist(), scores.tolist()
        predictions = [
            {
                "id": number, "image_id": numbers[image], "category_id": 1, "keypoints": keypoints, "bbox": bbox,
                "area": area, "score": score, "iscrowd": 0,
            }
            for number, (image, keypoints, bbox, area, score) in enumerate(zip(*columns, strict=True), start=1)
        ]  # fmt: skip
        evaluation = COCOeval_faster(
            coco.build_index(numbers.values(), [1], persons),
            coco.build_index(numbers.values(), [1], predictions),
            "keypoints",
            print_function=_log.debug,
            kpt_oks_sigmas=self.sigmas,
        )
        evaluation.params.imgIds = sorted(numbers[image_id] for image_id in image_ids)
        evaluation.params.catIds = [1]
        evaluation.evaluate()
        evaluation.accumulate()
        return {key: evaluation.eval[key] for key in ("precision", "recall")}
