"""Somebody's own keypoints, and pycocotools' figures of poses beside those of a record."""

import contextlib
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

POINTS = ("head", "left_hand", "right_hand", "tail")
EDGES = [[1, 4], [2, 4], [3, 4]]  # counted from 1
COLOURS = ((240, 240, 240), (40, 40, 240), (240, 80, 20), (20, 20, 20))  # of the points
PLACES = np.array([[0.5, 0.2], [0.8, 0.45], [0.2, 0.5], [0.5, 0.8]])  # shares of the box, no mirror image of itself
SIGMAS = [0.1, 0.07, 0.07, 0.1]
# COCOeval's order
FIGURES = ("AP", "AP50", "AP75", "AP_medium", "AP_large", "AR", "AR50", "AR75", "AR_medium", "AR_large")


def write_figures(root: Path, train: int = 6, val: int = 3) -> Path:
    """`root/{train,val}/<number>.jpg` of two sizes with one or two figures (every fourth image has none, the first
    has a crowd and one without points too), `root/<split>.json` with ids that are neither sorted nor in a row."""
    random = np.random.default_rng(0)
    for split, count in (("train", train), ("val", val)):
        images: list[dict[str, Any]] = []
        annotations: list[dict[str, Any]] = []

        def add(
            image: int, box: list[float], points: np.ndarray, crowd: int = 0, annotations: Any = annotations
        ) -> None:
            annotations.append(
                {
                    "id": 7 * len(annotations) + 3, "image_id": image, "category_id": 5, "bbox": box, "iscrowd": crowd,
                    "area": 0.6 * box[2] * box[3], "num_keypoints": int((points[:, 2] > 0).sum()),
                    "keypoints": points.ravel().tolist(),
                }
            )  # fmt: skip

        for number in range(count):
            height, width = (96, 150) if number % 2 else (120, 90)
            pixels = random.integers(100, 130, (height, width, 3), dtype=np.uint8)
            image_id = 1000 - 7 * number
            images.append({"id": image_id, "file_name": f"{number}.jpg", "height": height, "width": width})
            for place in range(0 if number % 4 == 3 else 1 + number % 2):
                w, h = random.integers(40, 60), random.integers(60, 90)
                x, y = 75 * place + random.integers(0, 75 - w), random.integers(0, height - h)
                points = np.rint([x, y] + (PLACES + random.uniform(-0.2, 0.2, (4, 2))) * [w, h]).astype(int)
                for one in points[:3].tolist():
                    cv2.line(pixels, one, points[3].tolist(), (60, 160, 60), 2)
                for one, colour in zip(points.tolist(), COLOURS, strict=True):
                    cv2.circle(pixels, one, 5, colour, -1)
                visible = random.choice([2, 2, 2, 1], 4)
                add(image_id, [int(x), int(y), int(w), int(h)], np.hstack([points, visible[:, None]]))
            if number == 0:
                add(image_id, [60, 80, 20, 30], np.zeros((4, 3), int))
                add(image_id, [0, 0, 90, 40], np.zeros((4, 3), int), crowd=1)
            path = root / split / f"{number}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            assert cv2.imwrite(str(path), pixels)
        category = {"id": 5, "name": "kite", "keypoints": list(POINTS), "skeleton": EDGES}
        content = {"images": images, "annotations": annotations, "categories": [category, {"id": 9, "name": "bird"}]}
        (root / f"{split}.json").write_text(json.dumps(content))
    return root


def own_words(root: Path) -> list[str]:
    """Of a run on what `write_figures` wrote."""
    return ["data=coco_pose", f"data.root={root}", f"data.skeleton.sigmas={SIGMAS}".replace(" ", "")]


def judged(annotations: Path, results: Path, sigmas: Sequence[float] | None = None) -> dict[str, Any]:
    """pycocotools' own figures of a results file; None where there is nobody. sigmas: None for COCO's."""
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(annotations))
        evaluation = COCOeval(truth, truth.loadRes(str(results)), "keypoints")
        if sigmas is not None:
            evaluation.params.kpt_oks_sigmas = np.array(sigmas)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    stats = dict(zip(FIGURES, evaluation.stats.tolist(), strict=True))
    return {f"val/{key}": None if value == -1 else pytest.approx(value, abs=1e-6) for key, value in stats.items()}


def figures(record: dict[str, Any]) -> dict[str, Any]:
    return {f"val/{key}": record["metrics"][f"val/{key}"] for key in FIGURES}


def write_detections(path: Path, annotations: Path, *, shift: float, more: Sequence[dict[str, Any]] = ()) -> Path:
    """COCO results as a detector has them: the annotated boxes moved by `shift` of their size, every third twice."""
    truth = json.loads(annotations.read_text())
    found = []
    for number, one in enumerate(truth["annotations"]):
        x, y, w, h = one["bbox"]
        for repeat in range(1 + (number % 3 == 0)):
            box = [x + shift * w * (1 + repeat), y - shift * h, w, h]
            found.append({**{key: one[key] for key in ("image_id", "category_id")}, "bbox": box,
                          "score": round(0.95 - 0.05 * number - 0.02 * repeat, 3)})  # fmt: skip
    path.write_text(json.dumps([*found, *more]))
    return path
