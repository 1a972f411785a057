"""Person keypoints: samples and ground truth equal the file, and a line of report or error for every fault."""

import json
import multiprocessing

import pytest
import torch

from lightseg.data.collate import collate_pose
from lightseg.data.datasets.coco_keypoints import check_same_skeletons
from lightseg.data.io.integrity import verify
from lightseg.data.transforms.phase_transform import PhaseTransform
from lightseg.data.transforms.pose import eval_transform, train_transform
from lightseg.errors import DataError
from tasks.pose import to_image_pixels

USUAL = [
    "2 points have no sigma of COCO's and get their mean: left_hand, right_hand",
    "1 annotations are crowds: evaluated as COCO does, not trained on, the first: annotation 12",
    "1 annotations have no keypoints: not trained on, ignored in the evaluation as COCO does, the first: annotation 13",
    "1 of 3 images have nobody with keypoints; the evaluation has them",
]


def test_samples(write_robots):
    data = write_robots()
    assert data.class_names == ["nose", "left_hand", "right_hand"] and data.has_labels
    assert data.num_classes == len(data.palette) == 3
    assert data.skeleton.pairs == ((1, 2),) and data.skeleton.edges == ((0, 1), (0, 2)) and data.category_id == 4
    assert data.names == ["a#31", "a#11", "c#50"] and data.image_ids == [900, 900, 33] and len(data) == 3
    first, _, last = (data[i] for i in range(3))
    assert first["keypoints"].tolist() == [[5, 4], [3.5, 9], [8, 9]] and first["visible"].tolist() == [2, 1, 2]
    assert first["keypoints"].dtype == torch.float32 and first["visible"].dtype == torch.int64
    assert first["box"].tolist() == [1.25, 2, 9.25, 21] and first["box_score"] == 1 and first["area"] == 76
    assert torch.equal(first["matrix"], torch.eye(2, 3)) and first["image"].shape == (3, 40, 60)
    assert last["visible"].tolist() == [2, 2, 0] and last["image_id"] == 33 and last["index"] == 2
    assert data.report == USUAL
    assert verify(data) == verify(data, "skip") == []
    first["image"].zero_()  # samples do not share their image
    assert data[1]["image"].any()


def test_crops_and_batches(write_robots):
    data = write_robots(transform=PhaseTransform(lambda phase: eval_transform((48 >> phase, 32 >> phase))))
    batch = collate_pose([data[i, 0] for i in range(3)])
    assert batch["images"].shape == (3, 3, 48, 32) and batch["images"].dtype == torch.uint8
    assert batch["images"].is_contiguous(memory_format=torch.channels_last)
    shapes = {"keypoints": (3, 3, 2), "visible": (3, 3), "area": (3,), "matrices": (3, 2, 3), "boxes": (3, 4)}
    assert all(tuple(batch[key].shape) == shape for key, shape in shapes.items())
    assert all(batch[key].dtype == torch.float32 for key in ("keypoints", "area", "matrices", "boxes", "box_scores"))
    assert batch["image_ids"] == [900, 900, 33] and batch["names"] == data.names
    back = to_image_pixels(batch["keypoints"], batch["matrices"])
    labeled = batch["visible"] > 0
    expected = torch.stack([write_robots()[i]["keypoints"] for i in range(3)])
    assert labeled.sum() == 8 and torch.allclose(back[labeled], expected[labeled], atol=1e-3)
    assert data[0, 9, 1]["image"].shape == (3, 24, 16)  # the key's phase
    with pytest.raises(DataError, match="differ in size"):
        collate_pose([data[0, 0, 0], data[0, 0, 1]])


def test_a_sample_depends_on_its_key_alone(write_robots):
    data = write_robots(transform=train_transform((48, 32)))
    data_too = write_robots(transform=train_transform((48, 32)))
    for seed in range(4):
        sample, same, other = data[2, seed], data_too[2, seed], data[2, seed + 100]
        assert all(torch.equal(sample[key], same[key]) for key in ("image", "keypoints", "visible", "matrix", "area"))
        assert not torch.equal(sample["matrix"], other["matrix"])


def test_a_flip_exchanges_the_skeletons_pairs(write_robots):
    still = {"scale_prob": 0.0, "rotation_prob": 0.0, "shift_prob": 0.0, "half_body": 0.0}
    plain = write_robots(transform=train_transform((48, 32), hflip=0.0, **still))[2]
    mirrored = write_robots(transform=train_transform((48, 32), hflip=1.0, **still))[2]
    assert plain["visible"].tolist() == [2, 2, 0] and mirrored["visible"].tolist() == [2, 0, 2]
    x, y = plain["keypoints"][1].tolist()
    assert mirrored["keypoints"][2].tolist() == pytest.approx([31 - x, y], abs=1e-4)


def test_the_ground_truth_is_the_files(write_robots, robots):
    data, file = write_robots(), robots
    truth = data.ground_truth()
    assert [image["id"] for image in truth["images"]] == [900, 7, 33]
    assert [a["id"] for a in truth["annotations"]] == [1, 2, 3, 4, 5]
    keys = ("image_id", "category_id", "bbox", "area", "iscrowd", "num_keypoints", "keypoints")

    def rows(annotations):
        return sorted([annotation[key] for key in keys] for annotation in annotations)

    assert rows(truth["annotations"]) == rows(file["annotations"])
    assert truth["categories"] == file["categories"][:1]
    data.keep_only([True, False, False])  # c.png goes with its only person, a.png stays with the other
    truth = data.ground_truth()
    assert [image["id"] for image in truth["images"]] == [900, 7] and data.names == ["a#31"]
    assert [a["num_keypoints"] for a in truth["annotations"]] == [0, 3, 0]


def test_kept_in_memory(write_robots, tmp_path):
    data, plain = write_robots(), write_robots()
    data.keep_decoded()
    expected = [plain[i] for i in range(3)]
    for _ in range(2):
        assert all(torch.equal(data[i][key], expected[i][key]) for i in range(3) for key in ("image", "keypoints"))
        (tmp_path / "images" / "a.png").unlink(missing_ok=True)  # the second round comes from memory
    with pytest.raises(DataError, match="no such file"):
        verify(write_robots())


def test_the_people_of_an_unreadable_image_are_removed(write_robots, robots, tmp_path):
    data = write_robots()
    (tmp_path / "images" / "a.png").write_bytes(b"")
    bad = verify(data, "skip")
    assert len(bad) == 2 and "the file is empty" in bad[0].reason and data.names == ["c#50"]
    assert [image["id"] for image in data.ground_truth()["images"]] == [7, 33]
    robots["images"][2]["width"] = 61
    (tmp_path / "images" / "a.png").write_bytes((tmp_path / "images" / "c.png").read_bytes())
    with pytest.raises(
        DataError, match=r"60x40 .* but points.json says 61x40, so that keypoints would not fit: correct"
    ):
        verify(write_robots())


def test_the_fingerprint_follows_files_and_annotations(write_robots):
    data = write_robots()
    before = data.fingerprint()
    assert len(before) == 12 and write_robots().fingerprint() == before
    data.keep_only([True, True, False])
    assert data.fingerprint() != before


def test_the_same_skeleton_in_both_splits(write_robots, robots):
    data = write_robots()
    check_same_skeletons(data, write_robots())
    robots["categories"][0]["keypoints"] = ["nose", "right_hand", "left_hand"]
    with pytest.raises(DataError, match="differ in their keypoints: number 2 is left_hand / right_hand"):
        check_same_skeletons(data, write_robots())
    robots["categories"][0]["keypoints"] = data.class_names
    with pytest.raises(DataError, match="differ in their left/right pairs"):
        check_same_skeletons(data, write_robots(skeleton={"pairs": [[1, 2]]}))


def test_workers_give_the_same_samples(write_robots):
    data = write_robots(transform=train_transform((48, 32)))
    options = {"batch_size": 3, "collate_fn": collate_pose, "sampler": [(i, i) for i in range(3)]}
    (alone,) = torch.utils.data.DataLoader(data, **options)
    method = multiprocessing.get_start_method()
    (helped,) = torch.utils.data.DataLoader(data, num_workers=1, multiprocessing_context=method, **options)
    assert torch.equal(alone["images"], helped["images"]) and torch.equal(alone["keypoints"], helped["keypoints"])


def write_boxes(path, rows):
    keys = ("image_id", "category_id", "bbox", "score")
    path.write_text(json.dumps([dict(zip(keys, row, strict=True)) for row in rows]))
    return path


def test_labeled_persons_and_evaluated_boxes_are_those_of_the_samples(write_robots, robots):
    robots["annotations"][2]["keypoints"][3] = -20  # outside the image
    data = write_robots()
    boxes, keypoints, visible = data.labeled_persons()
    assert boxes.dtype == keypoints.dtype == torch.float32 and visible.dtype == torch.int64
    assert boxes.tolist() == [[1.25, 2, 9.25, 21], [30, 10, 50, 35], [10, 5, 30.5, 35]]
    assert visible.tolist() == [[2, 0, 2], [2, 2, 1], [2, 2, 0]]
    for index in range(3):
        sample, seen = data[index], visible[index] > 0
        assert torch.equal(sample["visible"], visible[index]) and torch.equal(sample["box"], boxes[index])
        assert torch.equal(sample["keypoints"][seen], keypoints[index][seen])
    same, scores, image_ids, ids = data.evaluated_boxes()
    assert torch.equal(same, boxes) and scores.tolist() == [1, 1, 1] and image_ids == [900, 900, 33]
    # ids are those of the ground truth, whose keypoints are the file's
    truth = {annotation["id"]: annotation for annotation in data.ground_truth()["annotations"]}
    assert [data[index]["id"] for index in range(3)] == ids
    assert [truth[id_]["image_id"] for id_ in ids] == image_ids
    assert [truth[id_]["bbox"][:2] for id_ in ids] == boxes[:, :2].tolist()
    data.keep_only([False, True, True])
    assert data.evaluated_boxes()[3] == ids[1:] and [data[index]["id"] for index in range(2)] == ids[1:]
    assert torch.equal(data.labeled_persons()[1], keypoints[1:]) and data.unit == "persons"


def test_persons_of_a_detector_have_boxes_and_no_points(write_robots, robots, tmp_path):
    rows = [(33, 4, [10, 5, 20, 30], 0.9), (900, 4, [1, 2, 8, 19], 0.4), (900, 4, [30, 10, 90, 25], 0.7)]
    file = write_boxes(tmp_path / "detections.json", rows)
    data = write_robots(person_boxes=file)
    expected = [[1, 2, 9, 21], [30, 10, 60, 35], [10, 5, 30, 35]]  # clipped to the image
    boxes, keypoints, visible = data.labeled_persons()
    assert boxes.tolist() == expected and keypoints.shape == (3, 3, 2) and visible.shape == (3, 3)
    assert not keypoints.any() and not visible.any()
    same, scores, image_ids, ids = data.evaluated_boxes()
    assert same.tolist() == expected and scores.tolist() == pytest.approx([0.4, 0.7, 0.9])
    assert image_ids == [900, 900, 33] and ids == [0, 0, 0] and data.names == ["a#d1", "a#d2", "c#d0"]
    sample = data[1]
    assert sample["id"] == 0 and sample["box_score"] == pytest.approx(0.7) and not sample["visible"].any()
    assert [annotation["id"] for annotation in data.ground_truth()["annotations"]] == [1, 2, 3, 4, 5]
    data.keep_only([True, False, False])  # c.png goes with its only detection, and its person with it
    assert [annotation["image_id"] for annotation in data.ground_truth()["annotations"]] == [900] * 4
    assert data.evaluated_boxes()[2] == [900] and len(data.labeled_persons()[0]) == 1
    # without annotations, the detections are still samples
    robots["annotations"] = []
    assert write_robots(person_boxes=file).labeled_persons()[1].shape == (3, 3, 2)
