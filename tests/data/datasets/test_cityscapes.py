"""The Cityscapes layout: label ids are mapped, errors are refused, and predictions are written for the evaluator."""

from pathlib import Path

import numpy as np
import pytest
import torch
from cityscapesscripts.helpers import labels as official
from cityscapesscripts.helpers.csHelpers import getCsFileInfo

from lightseg.data.datasets.cityscapes import (
    CLASSES,
    IGNORED_LABEL_IDS,
    Cityscapes,
    train_id_to_label_id,
    write_submission,
)
from lightseg.data.io.images import read_mask
from lightseg.errors import DataError, LightsegError


def test_classes_and_ids_are_the_benchmarks() -> None:
    evaluated = [label for label in official.labels if not label.ignoreInEval]
    assert [(label.id, label.name, label.color) for label in evaluated] == list(CLASSES)
    assert [label.trainId for label in evaluated] == list(range(19))
    ignored = {label.id % 256 for label in official.labels if label.ignoreInEval}
    assert ignored == set(IGNORED_LABEL_IDS)


def test_labels_become_train_ids(cityscapes: Path) -> None:
    dataset = Cityscapes(cityscapes, "train")
    assert len(dataset) == 5 and dataset.num_classes == 19 and dataset.ignore_index == 255 and dataset.has_labels
    assert dataset.class_names[13] == "car" and dataset.palette[13] == [0, 0, 142]
    assert dataset.names[0] == "aachen_000000_000019" and len(set(dataset.names)) == 5
    for index in range(len(dataset)):
        sample = dataset[index]
        stored = read_mask(dataset.pairs[index].label)
        expected = np.vectorize(lambda id_: official.id2label[id_].trainId)(stored)
        np.testing.assert_array_equal(sample["mask"].numpy(), expected)
        assert sample["mask"].dtype == sample["image"].dtype == torch.uint8
        assert sample["image"].shape == (3, 24, 32) and sample["index"] == index


def test_coarse_labels_and_test_without_labels(cityscapes: Path) -> None:
    assert (Cityscapes(cityscapes, "train", coarse=True)[0]["mask"] == 0).all()  # all road
    test = Cityscapes(cityscapes, "test")
    assert len(test) == 2 and not test.has_labels
    assert "mask" not in test[0]
    with pytest.raises(LightsegError, match="coarse=true"):
        Cityscapes(cityscapes, "train_extra")


def test_an_id_outside_the_map_is_named_with_its_file(cityscapes: Path, save_image) -> None:
    dataset = Cityscapes(cityscapes, "val")
    ids = np.full((24, 32), 7, np.uint8)
    ids[0, 0], ids[1] = 57, 99
    save_image(dataset.pairs[1].label, ids)
    dataset[0]
    with pytest.raises(DataError, match=f"{dataset.pairs[1].label}: label id 57, 99 "):
        dataset[1]


def test_errors_of_missing_folders_name_the_folder(cityscapes: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere/leftImg8bit/train: no such folder.*check data.root"):
        Cityscapes("nowhere", "train")
    with pytest.raises(LightsegError, match="unknown Cityscapes split 'trian': did you mean train"):
        Cityscapes(cityscapes, "trian")
    (cityscapes / "gtFine" / "val").rename(cityscapes / "gtFine" / "hidden")
    with pytest.raises(DataError, match="gtFine/val: no such folder"):
        Cityscapes(cityscapes, "val")
    (cityscapes / "leftImg8bit" / "train_extra").mkdir()
    (cityscapes / "gtCoarse" / "train_extra").mkdir()
    with pytest.raises(DataError, match="train_extra: no image here"):
        Cityscapes(cityscapes, "train_extra", coarse=True)


def test_submissions_hold_label_ids_under_the_evaluators_name(cityscapes: Path, tmp_path: Path) -> None:
    dataset = Cityscapes(cityscapes, "val")
    prediction = np.random.default_rng(0).integers(0, 19, (24, 32))
    path = write_submission(prediction, dataset.paths[0], tmp_path / "out")
    assert path == write_submission(prediction, dataset.names[0], tmp_path / "out")
    assert path.name == "bonn_000000_000019_pred_labelIds.png"
    info = getCsFileInfo(str(path))
    assert (info.city, info.sequenceNb, info.frameNb) == ("bonn", "000000", "000019")
    expected = np.vectorize(lambda id_: official.trainId2label[id_].id)(prediction)
    np.testing.assert_array_equal(read_mask(path), expected)
    with pytest.raises(LightsegError, match="not a Cityscapes name"):
        write_submission(prediction, "image.png", tmp_path)


def test_predictions_outside_the_classes_are_refused() -> None:
    np.testing.assert_array_equal(train_id_to_label_id(np.array([0, 18, 255])), [7, 33, 0])
    for wrong in (19, 254, 256, -1):
        with pytest.raises(LightsegError, match=r"train ids 0\.\.18"):
            train_id_to_label_id(np.array([0, wrong]))
