"""Labels in the order of a checkpoint's classes: the same images, the same labels with other numbers, and for the
evaluators the same ground truth and results.
"""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from lightseg.data.datasets.cityscapes import Cityscapes
from lightseg.data.datasets.coco import CocoDetection
from lightseg.data.datasets.folder import SegmentationFolder
from lightseg.data.datasets.imagefolder import ClassificationFolder
from lightseg.data.io.images import read_mask
from lightseg.data.transforms.pose import train_transform
from lightseg.metrics.detection import DetectionMetric
from lightseg.metrics.pose import PoseMetric

COLORS = [[128, 64, 128], [0, 0, 142], [70, 70, 70]]


def old_labels(before, after) -> np.ndarray:
    """For every label of `after`, the label of the same class in `before`; ids without a class stay."""
    table = np.arange(256)
    table[: after.num_classes] = [before.class_names.index(name) for name in after.class_names]
    return table


def assert_classes(before, after, names) -> None:
    assert after.class_names == names and before.class_names != names
    colors = dict(zip(before.class_names, before.palette, strict=True))
    assert after.palette == [colors[name] for name in names]
    assert after.fingerprint() == before.fingerprint() and after.names == before.names


def assert_masks(before, after, names) -> None:
    assert_classes(before, after, names)
    table = old_labels(before, after)
    changed = 0
    for index in range(len(before)):
        old, new = before[index], after[index]
        assert torch.equal(old["image"], new["image"])
        np.testing.assert_array_equal(table[new["mask"].numpy()], old["mask"].numpy())
        changed += int((old["mask"] != new["mask"]).sum())
    assert changed


def segmentation(folder: Path) -> SegmentationFolder:
    classes = {"sky": 0, "road": 1, "car": 2}
    return SegmentationFolder(folder, images="images", labels="masks", classes=classes, ignore=[11])


def test_masks_of_ids(folder: Path, tmp_path: Path) -> None:
    before, after = segmentation(folder), segmentation(folder)
    names = ["car", "sky", "road"]
    after.reorder_classes(names)
    assert_masks(before, after, names)
    assert (before[0]["mask"] == 255).sum() == (after[0]["mask"] == 255).sum() > 0
    # predictions are written with the files' ids, so that they can be compared with the label files
    mask = after[0]["mask"].numpy()
    path = after.write_prediction(np.where(mask == 255, 0, mask), "a", tmp_path / "out")
    stored = read_mask(folder / "masks" / "a.png")
    np.testing.assert_array_equal(read_mask(path)[stored != 11], stored[stored != 11])


def test_twice_and_back(folder: Path) -> None:
    before, after = segmentation(folder), segmentation(folder)
    for names in (["car", "sky", "road"], ["road", "sky", "car"], ["sky", "road", "car"]):
        after.reorder_classes(names)
    assert after.class_names == before.class_names and after.file_classes.tolist() == [0, 1, 2]
    assert all(torch.equal(before[index]["mask"], after[index]["mask"]) for index in range(len(before)))


def test_masks_of_colors(tmp_path: Path, save_image) -> None:
    ids = np.random.default_rng(0).integers(0, 3, (8, 10))
    label = np.array(COLORS, np.uint8)[ids]
    label[0] = 0  # black: not labeled
    for kind in ("images", "labels"):
        save_image(tmp_path / kind / "a.png", label)
    options = {"images": "images", "labels": "labels", "classes": ["sky", "road", "car"], "colors": COLORS}
    before, after = SegmentationFolder(tmp_path, **options), SegmentationFolder(tmp_path, **options)
    after.reorder_classes(["road", "car", "sky"])
    assert_masks(before, after, ["road", "car", "sky"])


def test_a_submission_to_cityscapes_keeps_the_benchmarks_ids(cityscapes: Path, tmp_path: Path) -> None:
    before, after = Cityscapes(cityscapes, "val"), Cityscapes(cityscapes, "val")
    names = before.class_names[7:] + before.class_names[:7]
    after.reorder_classes(names)
    assert_masks(before, after, names)
    prediction = np.random.default_rng(0).integers(0, 19, (24, 32))
    ours = after.write_prediction(prediction, before.names[0], tmp_path / "new")
    theirs = before.write_prediction(old_labels(before, after)[prediction], before.names[0], tmp_path / "old")
    np.testing.assert_array_equal(read_mask(ours), read_mask(theirs))


def test_class_folders(tmp_path: Path, save_image) -> None:
    rng = np.random.default_rng(0)
    for number, name in enumerate(("ant", "bee", "bee", "wasp")):
        save_image(tmp_path / "train" / name / f"{number}.png", rng.integers(0, 256, (8, 9, 3), dtype=np.uint8))
    before, after = ClassificationFolder(tmp_path, "train"), ClassificationFolder(tmp_path, "train")
    names = ["wasp", "ant", "bee"]
    after.reorder_classes(names)
    assert_classes(before, after, names)
    assert after.labels == [1, 2, 2, 0] and [after[index]["label"] for index in range(4)] == after.labels
    assert all(torch.equal(before[index]["image"], after[index]["image"]) for index in range(4))
    path = after.write_prediction(np.array([0.1, 0.2, 0.7], np.float32), "bee/1.png", tmp_path / "out")
    assert json.loads(path.read_text())["class"] == "bee"


@pytest.fixture
def boxes(tmp_path: Path, save_image):
    """40 images of 60x40 with 200 boxes of three categories, whose ids have gaps. Each call reads them again."""
    rng = np.random.default_rng(0)
    images = [{"id": 3 * i + 2, "file_name": f"{i}.png", "height": 40, "width": 60} for i in range(40)]
    for image in images:
        save_image(tmp_path / "images" / image["file_name"], rng.integers(0, 256, (40, 60, 3), dtype=np.uint8))
    annotations = []
    for number in range(200):
        x, y, width, height = rng.integers(0, 20, 4).tolist()
        annotations.append(
            {
                "id": number + 1, "image_id": 3 * int(rng.integers(40)) + 2, "bbox": [x, y, width + 4, height + 4],
                "category_id": [90, 3, 44][number % 3], "area": (width + 4) * (height + 4),
                "iscrowd": int(number % 17 == 0),
            }
        )  # fmt: skip
    categories = [{"id": 90, "name": "kite"}, {"id": 3, "name": "hat"}, {"id": 44, "name": "unicorn"}]
    (tmp_path / "boxes.json").write_text(
        json.dumps({"images": images, "annotations": annotations, "categories": categories})
    )
    return lambda: CocoDetection(tmp_path, images="images", annotations="boxes.json")


def test_boxes(boxes) -> None:
    before, after = boxes(), boxes()
    names = ["kite", "hat", "unicorn"]
    after.reorder_classes(names)
    assert_classes(before, after, names)
    assert after.category_ids == [90, 3, 44] and before.category_ids == [3, 44, 90]
    assert after.ground_truth() == before.ground_truth()  # the file's category ids
    table = torch.from_numpy(old_labels(before, after))
    new_of = torch.argsort(table[:3])
    metrics = [DetectionMetric(data.ground_truth(), data.class_names, data.category_ids) for data in (before, after)]
    generator = torch.Generator().manual_seed(0)
    for index in range(len(before)):
        old, new = before[index], after[index]
        assert torch.equal(old["image"], new["image"]) and torch.equal(old["boxes"], new["boxes"])
        assert torch.equal(table[new["labels"]], old["labels"])
        shift = torch.randn(old["boxes"].shape, generator=generator)
        guess = torch.randint(3, (len(shift),), generator=generator)
        labels = torch.where(torch.rand(len(shift), generator=generator) < 0.7, old["labels"], guess)
        shared = {"boxes": old["boxes"] + shift, "scores": torch.rand(len(shift), generator=generator)}
        metrics[0].update([{**shared, "labels": labels}], [old["image_id"]])
        metrics[1].update([{**shared, "labels": new_of[labels]}], [old["image_id"]])
    figures = [metric.compute() for metric in metrics]
    assert figures[0] == pytest.approx(figures[1], rel=0, abs=0, nan_ok=True) and 0.1 < figures[0]["mAP"] < 0.9
    assert len({figures[0][f"AP/{name}"] for name in names}) == 3
    assert metrics[0].results() == metrics[1].results()


def test_keypoints(write_robots) -> None:
    skeleton = {"sigmas": {"left_hand": 0.05, "right_hand": 0.11}}
    before, after = (write_robots(skeleton=skeleton, transform=train_transform((48, 32))) for _ in range(2))
    names = ["right_hand", "nose", "left_hand"]
    after.reorder_classes(names)
    assert_classes(before, after, names)
    order = [before.class_names.index(name) for name in names]
    old, new = before.skeleton, after.skeleton
    for links in ("edges", "pairs"):
        named = [
            {tuple(skeleton.names[point] for point in link) for link in getattr(skeleton, links)}
            for skeleton in (old, new)
        ]
        assert named[0] == named[1] and named[0]
    assert new.sigmas == tuple(old.sigmas[k] for k in order) and len(set(new.sigmas)) == 3
    assert new.swap == [2, 1, 0] and old.swap == [0, 2, 1] and new.lower == [old.lower[k] for k in order]
    for index in range(len(before)):
        for seed in range(4):  # flips among them, which exchange left and right
            ours, theirs = after[index, seed], before[index, seed]
            for key in ("image", "area", "matrix", "box", "id"):
                assert np.array_equal(ours[key], theirs[key]), key
            for key in ("keypoints", "visible"):
                assert torch.equal(ours[key], theirs[key][order])
    assert torch.equal(after.labeled_persons()[1], before.labeled_persons()[1][:, order])
    assert torch.equal(after.labeled_persons()[2], before.labeled_persons()[2][:, order])


def test_the_evaluation_of_keypoints(write_robots) -> None:
    before, after = write_robots(), write_robots()
    after.reorder_classes(["right_hand", "nose", "left_hand"])
    order = after.file_classes.tolist()
    truth = after.ground_truth()
    assert truth["categories"][0]["keypoints"] == after.class_names
    for ours, theirs in zip(truth["annotations"], before.ground_truth()["annotations"], strict=True):
        points = np.array(theirs["keypoints"]).reshape(-1, 3)[order]
        assert ours == {**theirs, "keypoints": points.ravel().tolist()}
    _, keypoints, visible = before.labeled_persons()
    boxes, scores, image_ids, ids = before.evaluated_boxes()
    guess = keypoints + 2 * torch.randn(keypoints.shape, generator=torch.Generator().manual_seed(1))
    sure = torch.rand(visible.shape, generator=torch.Generator().manual_seed(2))
    metrics = [
        PoseMetric(
            data.ground_truth(),
            data.class_names,
            data.skeleton.sigmas,
            results_order=np.argsort(data.file_classes).tolist(),
        )
        for data in (before, after)
    ]
    metrics[0].update(guess, sure, scores, boxes, image_ids, ids)
    metrics[1].update(guess[:, order], sure[:, order], scores, boxes, image_ids, ids)
    figures = [metric.compute() for metric in metrics]
    assert figures[0] == pytest.approx(figures[1], nan_ok=True)
    assert 0 < figures[0]["AP"] < 1 and 0 < figures[0]["PCK"] < 1
    results = [metric.results() for metric in metrics]  # the file's order of keypoints in both
    assert [person["keypoints"] for person in results[0]] == [person["keypoints"] for person in results[1]]
    assert [person["score"] for person in results[0]] == pytest.approx([person["score"] for person in results[1]])


@pytest.mark.parametrize("names", [["sky", "road"], ["sky", "road", "bus"], ["sky", "road", "road", "car"]])
def test_other_names_are_refused(folder: Path, names: list[str]) -> None:
    dataset = segmentation(folder)
    with pytest.raises(ValueError, match="is not a permutation of"):
        dataset.reorder_classes(names)
    assert dataset.class_names == ["sky", "road", "car"]


def test_the_cache_is_filled_again(folder: Path) -> None:
    before, after = segmentation(folder), segmentation(folder)
    after.keep_decoded()
    assert torch.equal(after[0]["mask"], before[0]["mask"])
    after.reorder_classes(["car", "sky", "road"])
    for _ in range(2):  # from the file, then from memory
        np.testing.assert_array_equal(old_labels(before, after)[after[0]["mask"].numpy()], before[0]["mask"].numpy())
    assert after._cache.get(0) is not None
