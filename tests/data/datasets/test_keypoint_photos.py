"""The keypoint data set on photographs, compared with pycocotools."""

from pathlib import Path

import numpy as np
import pytest
import torch
from pycocotools import cocoeval
from pycocotools.coco import COCO

from lightseg.data.collate import collate_pose
from lightseg.data.datasets.coco_keypoints import CocoKeypoints
from lightseg.data.io.integrity import verify
from lightseg.data.transforms.pose import train_transform
from tasks.pose import to_image_pixels

SHARED = Path(__file__).parents[4] / "shared" / "data"


@pytest.mark.parametrize(
    ("folder", "split", "people"),
    [
        ("coco_person", "val", 80),
        pytest.param("coco_person", "train", 107, marks=pytest.mark.slow),
        pytest.param("lsp_extended", "val", 100, marks=pytest.mark.slow),
    ],
)
def test_real_photographs(folder, split, people):
    """The annotations, transformed to crops and back, have AP 1 in pycocotools."""
    root, name = SHARED / folder, f"annotations/person_keypoints_{split}2017.json"
    if not root.is_dir():
        pytest.skip("the photographs are not on this machine")
    # crops of twice the box hold every point, those outside their box included
    transform = train_transform((256, 192), hflip=0.5, scale=(3, 4), rotation=60, half_body=0, shift=0)
    data = CocoKeypoints(root, images=f"{split}2017", annotations=name, transform=transform)
    assert len(data) == people and verify(data) == []
    batch = collate_pose([data[i, i] for i in range(len(data))])
    mirrored = torch.linalg.det(batch["matrices"][:, :, :2]) < 0
    assert 0.2 < mirrored.float().mean() < 0.8
    swap = torch.tensor(data.skeleton.swap)
    points = torch.where(mirrored[:, None, None], batch["keypoints"][:, swap], batch["keypoints"])
    points = to_image_pixels(points, batch["matrices"])
    results = [
        {"image_id": image, "category_id": data.category_id, "score": 1.0,
         "keypoints": torch.cat([keypoints, torch.ones(17, 1)], 1).flatten().tolist()}
        for image, keypoints in zip(batch["image_ids"], points, strict=True)
    ]  # fmt: skip
    official, ours = COCO(str(root / name)), COCO()
    ours.dataset = data.ground_truth()
    ours.createIndex()
    scores = []
    for truth in (official, ours):
        evaluation = cocoeval.COCOeval(truth, truth.loadRes([dict(result) for result in results]), "keypoints")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
        scores.append(evaluation.stats)
    assert np.array_equal(scores[0], scores[1]) and scores[0][0] > 0.999
