"""Label statistics: their values, and what they refuse or warn of, with the key to set."""

import json
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from lightseg.data.datasets.coco import CocoDetection
from lightseg.data.datasets.coco_keypoints import CocoKeypoints
from lightseg.data.datasets.folder import SegmentationFolder
from lightseg.data.datasets.imagefolder import ClassificationFolder
from lightseg.data.io.integrity import verify
from lightseg.data.statistics.base import LabelStatistics
from lightseg.data.statistics.boxes import box_statistics, keypoint_statistics
from lightseg.data.statistics.classes import class_statistics
from lightseg.data.statistics.masks import mask_statistics
from lightseg.errors import DataError


def masks_of(root: Path, masks: Sequence[Any], budget: int = 10**9, **options: Any) -> LabelStatistics:
    """The statistics of a folder with these masks: arrays of ids, or PIL images."""
    for number, mask in enumerate(masks):
        image = mask if isinstance(mask, Image.Image) else Image.fromarray(np.asarray(mask, np.uint8))
        for folder in ("images", "masks"):
            (root / folder).mkdir(parents=True, exist_ok=True)
        Image.new("RGB", image.size, (number, 0, 0)).save(root / "images" / f"{number:03}.png")
        image.save(root / "masks" / f"{number:03}.png")
    options = {"classes": ["ground", "tree", "car"], **options}
    dataset = SegmentationFolder(root, images="images", labels="masks", **options)
    verify(dataset)
    return mask_statistics(dataset, budget)


def only(lines: Collection[str | DataError]) -> str:
    (line,) = lines
    return str(line)


# -- masks -------------------------------------------------------------------------------------------------------------


def test_pixels_of_masks_are_counted(tmp_path: Path):
    result = masks_of(tmp_path, [[[0, 0, 1, 255]], [[0, 2, 2, 2]], [[255] * 4]])
    assert result.counts.tolist() == [3, 1, 3] and result.images.tolist() == [2, 1, 1]
    assert result.ignored == pytest.approx(5 / 12) and result.unlabeled == [2]
    assert result.line() == "the masks of 3 images of 3 classes, 14 % tree to 43 % ground, 42 % ignored"
    assert not result.faults and only(result.warnings) == "1 of 3 masks have ignored pixels alone"


def test_ids_0_and_255_with_two_classes_are_refused_and_the_cure_works(tmp_path: Path):
    masks = [[[0, 0, 255, 255]], [[0, 255, 255, 255]]]
    result = masks_of(tmp_path, masks, classes=["background", "object"])
    assert only(result.faults).endswith(
        "because 255 is ignored: set data.classes={background: 0, object: 255} data.ignore=[]"
    )
    with pytest.raises(DataError, match="every pixel that counts in its 2 masks is background"):
        result.check(training=False)
    cured = masks_of(tmp_path, masks, classes={"background": 0, "object": 255})
    assert cured.counts.tolist() == [3, 5] and not cured.faults


@pytest.mark.parametrize(
    ("mask", "classes", "fault"),
    [
        (
            [[1, 1]],
            ["ground", "tree"],
            "every pixel that counts in its 2 masks is tree (the masks have the ids 1): set data.classes",
        ),
        (
            [[255, 255]],
            ["ground", "tree"],
            "all 2 masks have ignored pixels alone (the masks have the ids 255): set data.classes and",
        ),
        ([[0, 255]], ["ground"], "data.classes names ground alone"),
    ],
)
def test_masks_without_a_second_class_are_refused(tmp_path: Path, mask: list, classes: list[str], fault: str):
    result = masks_of(tmp_path, [mask, mask], classes=classes)
    assert fault in only(result.faults + result.of_training)
    with pytest.raises(DataError):
        result.check(training=True)


def test_masks_of_a_single_class_are_evaluated(tmp_path: Path):
    masks_of(tmp_path, [[[1, 1]]]).check(training=False)


def test_class_without_a_pixel_is_named(tmp_path: Path):
    result = masks_of(tmp_path, [[[0, 0, 1, 1]]], ignore=[255])
    assert not result.faults
    assert only(result.warnings) == (
        "no pixel of car in the masks: nothing is learned of them; see data.classes, where it is a key"
    )


def palette_image(ids: list[int], colors: dict[int, tuple[int, int, int]]) -> Image.Image:
    image = Image.fromarray(np.array([ids], np.uint8), "P")
    image.putpalette([value for index in range(256) for value in colors.get(index, (index, 9, 9))])
    return image


def test_palettes_that_differ_are_refused_and_colors_cure_them(tmp_path: Path):
    red, blue = (255, 0, 0), (0, 0, 255)
    first, second = palette_image([0, 1], {0: red, 1: blue}), palette_image([0, 1, 1], {0: blue, 1: red})
    fault = only(masks_of(tmp_path, [first, second], classes=["roof", "sea"]).faults)
    assert "001.png: its palette differs" in fault and "RGB [0, 0, 255] here and [255, 0, 0] there" in fault
    assert fault.endswith("set data.colors, the color of each class")
    cured = masks_of(tmp_path, [first, second], classes=["roof", "sea"], colors=[red, blue])
    assert cured.counts.tolist() == [3, 2] and not cured.faults


def test_palettes_that_differ_where_no_pixel_is_are_taken(tmp_path: Path):
    masks = [palette_image([0, 1], {0: (1, 1, 1), 7: (7, 7, 7)}), palette_image([1, 0], {0: (1, 1, 1), 7: (8, 8, 8)})]
    assert not masks_of(tmp_path, masks, classes=["ground", "tree"]).faults


def test_large_sets_are_sampled_unless_the_sample_has_one_class(tmp_path: Path):
    masks = np.zeros((80, 1, 4), np.uint8)
    masks[:, 0, 1] = 1
    result = masks_of(tmp_path / "two", masks, budget=160, classes=["ground", "crack"])
    assert result.counted == 40 and result.counts.tolist() == [120, 40] and result.of == "40 of 80"
    masks[:, 0, 1] = 0
    masks[33, 0, 1] = 1  # not in the sample
    rare = masks_of(tmp_path / "rare", masks, budget=160, classes=["ground", "crack"])
    assert rare.counted == 80 and rare.counts.tolist() == [319, 1] and not rare.faults


def test_masks_with_an_id_of_no_class_are_named_and_refused(tmp_path: Path):
    result = masks_of(tmp_path, [[[0, 1]], [[0, 77]]])
    assert result.counts.tolist() == [1, 1, 0] and result.unlabeled == []
    ((index, error),) = result.unreadable
    assert index == 1 and "label id 77 is not in the class map" in str(error)
    with pytest.raises(DataError, match="label id 77"):
        result.check(training=False)


# -- boxes and keypoints -----------------------------------------------------------------------------------------------


def boxes_of(root: Path, boxes: Sequence[Sequence[float]], size: Sequence[int] = (100, 200)) -> LabelStatistics:
    """The statistics of boxes x, y, width, height, in turn of class cat and dog, in two images of 200x400."""
    annotations = [
        {"id": i, "image_id": 1, "category_id": 1 + i % 2, "bbox": list(box), "area": box[2] * box[3], "iscrowd": 0}
        for i, box in enumerate(boxes)
    ]
    images = [{"id": i, "file_name": f"{i}.png", "height": 200, "width": 400} for i in (1, 2)]
    categories = [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}]
    (root / "a.json").write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}))
    for image in images:
        cv2.imwrite(str(root / image["file_name"]), np.zeros((200, 400, 3), np.uint8))
    dataset = CocoDetection(root, images=".", annotations="a.json")
    verify(dataset)
    return box_statistics(dataset, size, False)


def test_boxes_are_counted_at_the_size_of_the_network(tmp_path: Path):
    result = boxes_of(tmp_path, [[0, 0, 40, 20], [5, 5, 1.5, 8], [5, 5, 4, 4]])
    assert result.counts.tolist() == [2, 1] and result.images.tolist() == [1, 1] and result.unlabeled == [1]
    assert result.box_sides is not None and result.box_sides.tolist() == [[20, 10], [0.75, 4], [2, 2]]
    assert only(result.warnings) == (
        "1 of 3 boxes are less than 1 pixel wide or high at the network's 100x200 (height x width), where they cannot "
        "be learned: raise data.augment.size"
    )
    assert list(result.warnings.values()) == [[0]] and not result.faults
    assert result.notes == {"1 of 2 images have no box": [1]}
    assert result.line() == "3 boxes of 2 classes, 33 % dog to 67 % cat"


def test_normalized_boxes_are_refused(tmp_path: Path):
    fault = only(boxes_of(tmp_path, [[0.1, 0.2, 0.3, 0.4], [0.5, 0.5, 0.5, 0.5]]).faults)
    assert "all 2 boxes lie within 0..1" in fault and "times width and height" in fault


def test_boxes_that_training_would_all_leave_out_are_refused(tmp_path: Path):
    fault = only(boxes_of(tmp_path, [[50, 50, 3, 1], [9, 9, 1.5, 40]], size=(50, 100)).faults)
    assert "all 2 boxes" in fault and "raise data.augment.size" in fault


def test_normalized_keypoints_are_refused(robots: dict[str, Any], tmp_path: Path):
    for image in robots["images"]:
        (tmp_path / image["file_name"]).parent.mkdir(exist_ok=True)
        cv2.imwrite(str(tmp_path / image["file_name"]), np.zeros((40, 60, 3), np.uint8))

    def statistics() -> LabelStatistics:
        (tmp_path / "a.json").write_text(json.dumps(robots))
        dataset = CocoKeypoints(tmp_path, images=".", annotations="a.json")
        verify(dataset)
        return keypoint_statistics(dataset)

    right = statistics()
    assert right.counts.tolist() == [3, 3, 2] and not right.faults
    for annotation in robots["annotations"]:
        points = np.array(annotation["keypoints"], float).reshape(-1, 3) / [60, 40, 1]
        annotation["keypoints"] = points.flatten().tolist()
    assert "keypoints lie within 0..1" in only(statistics().faults)


# -- classes -----------------------------------------------------------------------------------------------------------


def test_images_of_classes_are_counted(tmp_path: Path):
    for name, count in (("ants", 12), ("bees", 3)):
        (tmp_path / "train" / name).mkdir(parents=True)
        for number in range(count):
            cv2.imwrite(str(tmp_path / "train" / name / f"{number}.png"), np.zeros((4, 4, 3), np.uint8))
    result = class_statistics(ClassificationFolder(tmp_path, "train"))
    assert result.counts.tolist() == [12, 3] and result.line() == "15 images of 2 classes, 20 % bees to 80 % ants"
    assert only(result.warnings) == "1 of 2 classes have fewer than 10 images: bees (3)"


def test_images_of_a_single_class_are_evaluated_but_not_trained_on(tmp_path: Path):
    for name in ("ants", "bees"):
        (tmp_path / "val" / name).mkdir(parents=True)
    cv2.imwrite(str(tmp_path / "val" / "ants" / "0.png"), np.zeros((4, 4, 3), np.uint8))
    result = class_statistics(ClassificationFolder(tmp_path, "val", may_lack=True))
    result.check(training=False)
    with pytest.raises(DataError, match="all 1 images are of class ants: give images of another class too"):
        result.check(training=True)


def test_classes_far_less_frequent_than_the_first_are_named():
    result = LabelStatistics(["a", "b", "c"], "boxes", np.array([100, 4, 6]), np.array([50, 4, 6]), 50, 50)
    assert result.imbalance() == "1 of 3 classes have less than 1/20 of the boxes of a (100): b (4)"
    assert result.few() == [1, 2]
