"""Pose, top-down: COCO's OKS AP, of keypoints in pixels of the image files."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lightseg.catalog.tasks import get_task
from lightseg.data.collate import shown
from lightseg.draw_pose import pose_row
from lightseg.errors import LightsegError
from lightseg.metrics.mean_pose import mean_pose_baseline, to_box
from lightseg.metrics.pose import PoseMetric

from .base import Batch, Task

ROWS_PER_SIGMA = 128  # rows of the crop per cell of sigma: published nets have 2 cells at 256x192, 3 at 384x288
MIN_SIGMA = 1.0  # in cells: smaller Gaussians do not determine a peak between two cells


class PoseTask(Task):
    one_results_file = True
    colors_mean_classes = False  # they mean sides of the body
    # part of the protocol that the leaderboard compares: the text must not change
    resolution = "keypoints in pixels of the pictures on disk"

    @staticmethod
    def own_options(config: dict[str, Any], dataset: Any) -> dict[str, Any]:
        return {"dataset": dataset, "data": config["data"]}

    @staticmethod
    def model_options(config: dict[str, Any], dataset: Any) -> dict[str, Any]:
        head, sizes = dict(config["head"]), [config["data"][group]["size"] for group in ("eval", "augment")]
        if head["name"] == "heatmap" and head["sigma"] is None:
            head["sigma"] = max(MIN_SIGMA, sizes[1][0] / ROWS_PER_SIGMA)
        if get_task("pose").head(head["name"]).single_size:
            head["image_size"] = head["image_size"] or sizes[0]
            sizes = sizes if config["mode"] == "train" else sizes[:1]
            if any(list(size) != list(head["image_size"]) for size in sizes) or config["schedule"]["image_size"]:
                raise LightsegError(
                    f"head.name={head['name']} needs crops of a single size: data.augment.size={sizes[-1]}, "
                    f"data.eval.size={sizes[0]} and head.image_size={head['image_size']} must be the same, and "
                    f"schedule.image_size={config['schedule']['image_size']} null"
                )
        sigmas = config["loss"]["sigmas"]
        count = dataset.num_classes
        if sigmas is not None and len(sigmas) != count:
            raise LightsegError(
                f"loss.sigmas has {len(sigmas)} numbers, but there are {count} keypoints: give one a keypoint"
            )
        return {"head": head, "skeleton": dataset.skeleton.plain()}

    def __init__(self, model: dict[str, Any], *args: Any, dataset: Any, data: dict[str, Any], **options: Any) -> None:
        """
        Args:
            dataset: the persons of the evaluation, for their ground truth and skeleton.
            data: the `data` group, for `person_boxes`, `oks_nms` and `pck`.
        """
        super().__init__(model, *args, **options)
        self.dataset, self.skeleton = dataset, dataset.skeleton
        self.swap = list(dataset.skeleton.swap)
        self.person_boxes = data["person_boxes"]
        self.metric = PoseMetric(
            dataset.ground_truth(),
            self.class_names,
            dataset.skeleton.sigmas,
            detector_boxes=self.person_boxes is not None,
            nms_threshold=data["oks_nms"],
            pck_unit=data["pck"]["unit"],
            pck_threshold=data["pck"]["threshold"],
            results_order=np.argsort(dataset.file_classes).tolist(),
        )
        maps = model["head"]["name"] == "heatmap"
        self.headings = ("truth", "prediction", "heatmaps") if maps else ("truth", "prediction")

    def protocol(self) -> dict[str, Any]:
        boxes = "ground truth" if self.person_boxes is None else Path(self.person_boxes).name
        return {
            "person_boxes": boxes,
            "oks_nms": self.metric.nms_threshold if self.metric.detector_boxes else None,
            "sigmas": [round(float(sigma), 5) for sigma in self.skeleton.sigmas],
            "pck": {"unit": self.metric.pck_unit, "threshold": self.metric.pck_threshold},
        }

    def evaluate(self, batch: Batch) -> list[dict[str, Tensor]]:
        images = batch["images"]
        outputs = self(images)
        if self.flip:
            outputs = self.head.average(outputs, self.head.unflip(self(images.flip(-1)), self.swap))
        decoded = self.head.decode(outputs, (int(images.shape[-2]), int(images.shape[-1])))
        keypoints = to_image_pixels(decoded["keypoints"], batch["matrices"])
        scores = (decoded["scores"], batch["box_scores"])
        self.metric.update(keypoints, *scores, batch["boxes"], batch["image_ids"], batch["ids"])
        if isinstance(outputs, Tensor):
            decoded["heatmaps"] = outputs
        return [{key: value[index] for key, value in decoded.items()} for index in range(len(images))]

    def baselines(self) -> dict[str, float]:
        """AP and PCK of the mean pose of the training persons, put into each box of the evaluation."""
        try:
            train = self.trainer.datamodule.dataset("train")  # type: ignore[attr-defined]
        except LightsegError as error:  # a pure evaluation may have no training data
            print(f"no figures of the mean pose, which needs the training persons: {error}", flush=True)
            return {}
        boxes, keypoints, visible = train.labeled_persons()
        evaluated = self.dataset.evaluated_boxes()
        figures = mean_pose_baseline(self.metric, to_box(keypoints, boxes), visible, *evaluated)
        return {f"{key}_mean_pose": figures[key] for key in ("AP", "PCK")}

    def sample_image(self, sample: Batch, prediction: dict[str, Tensor]) -> np.ndarray:
        """The images of the contact sheet, side by side, because W&B cannot draw skeletons."""
        return np.hstack(self.draw(sample, prediction))

    def draw(self, sample: Batch, prediction: dict[str, Tensor]) -> list[np.ndarray]:
        image = shown(sample["images"], self.model.contract)
        truth = {"keypoints": sample["keypoints"].cpu().numpy(), "visible": sample["visible"].cpu().numpy()}
        drawn = {key: value.float().cpu().numpy() for key, value in prediction.items()}
        heatmaps = drawn.pop("heatmaps", None)
        return pose_row(image, truth, drawn, self.skeleton.edges, self.skeleton.pairs, heatmaps)


def to_image_pixels(keypoints: Tensor, matrices: Tensor) -> Tensor:
    """[B, K, 2] in pixels of the crops -> in pixels of the images, by the affine matrices [B, 2, 3]."""
    return torch.einsum("bkj,bij->bki", keypoints, matrices[:, :, :2]) + matrices[:, None, :, 2]
