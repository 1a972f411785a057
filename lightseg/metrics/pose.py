"""COCO's keypoint figures (https://cocodataset.org/#keypoints-eval) by faster-coco-eval, equal to pycocotools' own, and
PCK.

AP is the mean over OKS 0.50:0.05:0.95 of the precision at 101 levels of recall, of the 20 best persons an image.
Crowds, persons without a labelled keypoint and those outside the range of areas neither help nor harm. medium: 32 x 32
to 96 x 96 px of the picture on disk, large: from there on; COCO labels no keypoints on smaller persons.
Everything is counted over the whole set at the end, so until then the predictions are kept, 12 bytes a keypoint.
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
_SUMMARY: coco.Summary = (  # as COCOeval.summarize has them
    ("AP", "precision", None, 0, 0), ("AP50", "precision", 0.5, 0, 0), ("AP75", "precision", 0.75, 0, 0),
    ("AP_medium", "precision", None, 1, 0), ("AP_large", "precision", None, 2, 0),
    ("AR", "recall", None, 0, 0), ("AR50", "recall", 0.5, 0, 0), ("AR75", "recall", 0.75, 0, 0),
    ("AR_medium", "recall", None, 1, 0), ("AR_large", "recall", None, 2, 0),
)  # fmt: skip
_IMAGE, _ANNOTATION, _BOX, _BOX_SCORE, _POINTS = 0, 1, slice(2, 6), 6, 7  # columns of a person in the state


class PoseMetric(Metric):
    """Fractions 0..1 over the persons that `update` has seen, each counted once however often it came.

    ground_truth: COCO's `images`, `annotations` (keypoints [x, y, visibility] * K, num_keypoints, bbox, area, iscrowd,
        ids) and the one category.
    names: of the K keypoints. sigmas: OKS's, one a keypoint.
    detector_boxes: persons are a detector's and belong to no annotation. All images of the ground truth count then:
        one where nothing was detected has all its persons missed. With ground-truth boxes the images that came count.
    keypoint_threshold: a person's score is its box's times the mean of its keypoints' above this.
    nms_threshold: OKS above which the worse of two detected persons is dropped (mmpose's default; there the area is
        the padded crop's, here the box's); None keeps all. Ground-truth boxes are all different persons.
    pck_unit: what PCK's distances are relative to: "box" = its longer side (Yang & Ramanan, TPAMI 2013), "torso" = left
        shoulder to right hip, or two names of keypoints, of a head for example. None is "torso" where names has those,
        else "box"; the attribute tells which. Persons in whom one of the two points is not labelled do not count.
    pck_threshold: 0.2 of that.
    results_order: the places in `names` of the annotation file's keypoints, in the file's order, which is that of
        `results`; None: `names` are in the file's order.
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
            raise LightsegError(f"sigmas must be {len(names)} numbers above 0, one a keypoint: {list(sigmas)}")
        if nms_threshold is not None and not 0 <= nms_threshold <= 1:
            raise LightsegError(f"nms_threshold is an OKS, 0 to 1 or null, not {nms_threshold}")
        self.detector_boxes, self.keypoint_threshold = detector_boxes, keypoint_threshold
        self.nms_threshold, self.pck_threshold = nms_threshold, pck_threshold
        self.image_ids = coco.image_ids_of(ground_truth)
        categories = [category["id"] for category in ground_truth["categories"]]
        if len(categories) != 1:
            raise LightsegError(f"keypoints are evaluated for one category, the ground truth has {len(categories)}")
        self.category_id = categories[0]
        self._places = {image_id: place for place, image_id in enumerate(self.image_ids)}
        self._annotations = {one["id"]: place for place, one in enumerate(ground_truth["annotations"])}
        if len(self._annotations) < len(ground_truth["annotations"]):
            raise LightsegError("annotations of the ground truth share an id; every one needs its own")
        if len(self._annotations) >= coco.MOST:
            raise LightsegError(f"{len(self._annotations)} persons cannot be evaluated at once: {coco.MOST - 1} can")
        self._points = self._true_points()
        self.pck_unit, self._lengths = unit_lengths(pck_unit, self.names, self._points, ground_truth["annotations"])
        # Flat float32, because that is what torchmetrics puts in for a process that has seen no image.
        self.add_state("persons", [], dist_reduce_fx="cat")

    def fresh(self) -> "PoseMetric":
        """One with the same ground truth (not copied) and settings, and no persons."""
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
        image_ids: Sequence[int],
        ids: Sequence[int] | None = None,
    ) -> None:
        """keypoints [B, K, 2] and boxes [B, 4] xyxy in px of the picture on disk, scores [B, K], box_scores [B].

        ids: of each person's annotation; needed with ground-truth boxes, not looked at with a detector's, where persons
            are told apart by image, box and score of the box.

        Raises LightsegError for images and annotations that are not in the ground truth, shapes that do not fit, and
        values that are not finite.
        """
        n, k = len(image_ids), len(self.names)
        shapes = [list(one.shape) for one in (keypoints, scores, box_scores, boxes)]
        if shapes != [[n, k, 2], [n, k], [n], [n, 4]]:
            raise LightsegError(
                f"{n} image ids, keypoints {shapes[0]}, scores {shapes[1]}, box_scores {shapes[2]} and boxes "
                f"{shapes[3]} do not fit: they are B, [B, {k}, 2], [B, {k}], [B] and [B, 4]"
            )
        if not n:
            return
        places = torch.tensor(self._numbers(image_ids, ids), dtype=torch.float32, device=self.device)
        points = torch.cat([keypoints, scores[..., None]], 2).flatten(1)
        values = torch.cat([boxes, box_scores[:, None], points], 1)
        rows = torch.cat([places, values.to(self.device, torch.float32)], 1)
        good = rows.isfinite().all(1)
        if not good.all():  # looked at together: on a GPU every look is a wait
            image = image_ids[int((~good).nonzero()[0])]
            raise LightsegError(f"image {image}: a keypoint, score or box is not finite; has the training diverged?")
        self.persons.append(rows.flatten())

    def compute(self) -> dict[str, float]:
        """`{"AP", "AP50", "AP75", "AP_medium", "AP_large", "AR", ..., "AR_large", "PCK", "PCK/<name>"}`.

        NaN where there is nobody to find (pycocotools writes -1). PCK is that of ground-truth boxes alone, matched by
        annotation, NaN with a detector's: the mean over the keypoints that are labelled in anybody; others are not
        listed.
        """
        rows, scores = self._kept()
        image_ids = self.image_ids if self.detector_boxes else sorted(set(self._images(rows)))
        if image_ids:
            with coco.no_garbage_collection():
                result = coco.summarise(self._evaluate(rows, scores, image_ids), _SUMMARY)
        else:
            result = dict.fromkeys((key for key, *_ in _SUMMARY), float("nan"))
        matched = rows[:0] if self.detector_boxes else rows
        places, found = matched[:, _ANNOTATION].astype(np.int64), self._split(matched)[..., :2]
        return result | pck(found, self._points[places], self._lengths[places], self.names, self.pck_threshold)

    def results(self) -> list[dict[str, Any]]:
        """The persons as COCO results, the list that evaluation servers and pycocotools' `loadRes` take.

        Distributed, every process must call it, and all get the persons of all.
        """
        with self.sync_context(dist_sync_fn=self.dist_sync_fn):
            rows, scores = self._kept()
        points = self._split(rows)[:, self.results_order].reshape(rows[:, _POINTS:].shape)
        columns = self._images(rows), points.tolist(), scores.tolist()
        return [
            {"image_id": image, "category_id": self.category_id, "keypoints": points, "score": score}
            for image, points, score in zip(*columns, strict=True)
        ]

    def _true_points(self) -> np.ndarray:
        """float64 [A, K, 3]: x, y and visibility; visibility 0 throughout for crowds."""
        k = len(self.names)
        for one in self.ground_truth["annotations"]:
            if len(one["keypoints"]) != 3 * k:
                raise LightsegError(
                    f"annotation {one['id']} has {len(one['keypoints'])} numbers for {k} keypoints: expected {3 * k}"
                )
        points = np.array([one["keypoints"] for one in self.ground_truth["annotations"]], np.float64).reshape(-1, k, 3)
        points[[bool(one["iscrowd"]) for one in self.ground_truth["annotations"]], :, 2] = 0
        return points

    def _numbers(self, image_ids: Sequence[int], ids: Sequence[int] | None) -> list[tuple[int, int]]:
        """(place of the image, place of the annotation or -1) of every person."""
        unknown = next((image_id for image_id in image_ids if image_id not in self._places), None)
        if unknown is not None:
            raise LightsegError(f"image {unknown} is not in the ground truth of the evaluation")
        if self.detector_boxes:
            return [(self._places[image_id], -1) for image_id in image_ids]
        if ids is None or len(ids) != len(image_ids):
            raise LightsegError(f"{len(ids or [])} annotation ids for {len(image_ids)} persons in ground-truth boxes")
        for image_id, one in zip(image_ids, ids, strict=True):
            place = self._annotations.get(one)
            if place is None or self.ground_truth["annotations"][place]["image_id"] != image_id:
                raise LightsegError(f"image {image_id} has no annotation {one} in the ground truth of the evaluation")
        return [(self._places[image_id], self._annotations[one]) for image_id, one in zip(image_ids, ids, strict=True)]

    def _kept(self) -> tuple[np.ndarray, np.ndarray]:
        """The persons as rows float64 [n, 7 + 3 K], image after image, and their scores [n].

        Repeats are left out (distributed evaluation may give a person to two processes so that all have equally many),
        and what OKS-NMS drops.
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
            stays = oks_nms(points[..., :2], scores, areas, rows[:, _IMAGE], self.sigmas, self.nms_threshold)
            rows, scores = rows[stays], scores[stays]
        return rows, scores

    def _images(self, rows: np.ndarray) -> list[int]:
        return [self.image_ids[place] for place in rows[:, _IMAGE].astype(np.int64).tolist()]

    def _split(self, rows: np.ndarray) -> np.ndarray:
        """[n, K, 3]: x, y and score."""
        return rows[:, _POINTS:].reshape(len(rows), len(self.names), 3)

    def _evaluate(self, rows: np.ndarray, scores: np.ndarray, image_ids: list[int]) -> dict[str, np.ndarray]:
        """precision [OKS, recall, 1, area, 1] and recall [OKS, 1, area, 1], -1 where there is nobody to find."""
        truth = []
        for number, (one, points) in enumerate(zip(self.ground_truth["annotations"], self._points, strict=True), 1):
            labelled = one.get("num_keypoints", int((points[:, 2] > 0).sum()))
            truth.append({**one, "id": number, "num_keypoints": labelled})
        points = self._split(rows)
        low, high = points[..., :2].min(1), points[..., :2].max(1)
        areas = (high - low).prod(1)  # that of pycocotools' loadRes
        boxes = np.hstack([low, high - low])
        columns = self._images(rows), rows[:, _POINTS:].tolist(), boxes.tolist(), areas.tolist(), scores.tolist()
        found = [
            {
                "id": number, "image_id": image, "category_id": self.category_id, "keypoints": keypoints, "bbox": bbox,
                "area": area, "score": score, "iscrowd": 0,
            }
            for number, (image, keypoints, bbox, area, score) in enumerate(zip(*columns, strict=True), start=1)
        ]  # fmt: skip
        evaluation = COCOeval_faster(
            coco.index(self.ground_truth, truth),
            coco.index(self.ground_truth, found),
            "keypoints",
            print_function=_log.debug,
            kpt_oks_sigmas=self.sigmas,
        )
        evaluation.params.imgIds, evaluation.params.catIds = image_ids, [self.category_id]
        evaluation.evaluate()
        evaluation.accumulate()
        return {key: evaluation.eval[key] for key in ("precision", "recall")}
