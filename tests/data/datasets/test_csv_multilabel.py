"""Several classes an image in a CSV file: both layouts, what is refused, merging, splitting, statistics."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from lightseg.config.compose import compose, plain
from lightseg.data.datasets.csv_multilabel import MultiLabelFiles
from lightseg.data.datasets.opening import open_split
from lightseg.data.statistics.classes import multi_label_statistics
from lightseg.errors import LightsegError

NAMED = "image,labels\na.png,cat;tree\nb.png,dog| cat\nc.png,\nd.png,tree\n"
COLUMNS = "image,cat,dog,tree\na.png,1,0,1\nb.png,1,1.0,0\nc.png,0,0,0\nd.png,0,0,1\n"
LABELS = [[1, 0, 1], [1, 1, 0], [0, 0, 0], [0, 0, 1]]


@pytest.fixture
def root(tmp_path) -> Path:
    for number, name in enumerate("abcd"):
        assert cv2.imwrite(str(tmp_path / f"{name}.png"), np.full((32, 40, 3), number, np.uint8))
    return tmp_path


def opened(root: Path, rows: str, *overrides: str, val: str | None = None, split: str = "train") -> MultiLabelFiles:
    (root / "train.csv").write_text(rows)
    (root / "val.csv").write_text(rows if val is None else val)
    words = ["task=multilabel", "data=csv_multilabel", f"data.root={root}", *overrides]
    options: dict[str, Any] = plain(compose(words))["data"]
    return open_split(options, split, None)


@pytest.mark.parametrize(
    ("rows", "note"),
    [
        (NAMED, "labels are names in the column 'labels', separated by ; or |"),
        (COLUMNS, "labels are 3 columns of 0 and 1"),
        (COLUMNS.replace("tree", "label"), "labels are 3 columns of 0 and 1"),  # a class of this name
        (NAMED.replace(",", "\t"), "labels are names in the column 'labels', separated by ; or |"),
    ],
)
def test_both_layouts_are_the_same_samples(rows, note, root):
    dataset = opened(root, rows)
    last = "label" if "label\n" in rows.replace("labels", "") else "tree"
    assert dataset.class_names == ["cat", "dog", last] and dataset.notes == [note]
    samples = [dataset[index] for index in range(4)]
    assert [sample["label"].tolist() for sample in samples] == LABELS
    assert [sample["name"] for sample in samples] == ["a.png", "b.png", "c.png", "d.png"]
    assert [dataset.classes_of(index) for index in range(4)] == [[0, 2], [0, 1], [], [2]]


def test_chosen_columns_and_classes(root):
    """Columns that are no classes are left out by data.classes, and a column of names is named."""
    more = "image,width,dog,cat\na.png,40,1,0\nb.png,40,0,1\n"
    dataset = opened(root, more, "data.classes=[cat,dog]")
    assert dataset.class_names == ["cat", "dog"] and dataset.labels.tolist() == [[0, 1], [1, 0]]
    numbered = "image,kind,fold\na.png,0,0\nb.png,1,1\n"
    dataset = opened(root, numbered, "data.columns={file: image, label: kind}")
    assert dataset.class_names == ["0", "1"] and dataset.labels.tolist() == [[1, 0], [0, 1]]


@pytest.mark.parametrize(
    ("rows", "text"),
    [
        ("image,cat,dog\na.png,1,2\n", "train.csv line 2: dog is '2': give 0 or 1, or name the columns"),
        ("image,cat,dog\na.png,1,\n", "train.csv line 2: dog is '': give 0 or 1"),
        ("image,cat,dog\na.png,1\n", "train.csv line 2: it has 2 columns, not 3"),
        ("image,labels\na.png,cat;dog\na.png,dog\n", "a.png has more than one line: give a single line an image"),
        ("image,labels\nz.png,cat\n", "the image 'z.png' is not in"),
        ("image,labels\n,cat\n", "train.csv line 2: the file is empty"),
        ("image,labels\na.png,\n", "no image has a class in the column 'labels': give labels"),
        ("image,labels\n", "train.csv: no image in it: give a line an image"),
        ('image,labels\na.png,"cat,dog"\n', "'cat,dog' has a comma; give classes separated by ; or |"),
        ("photo,labels\na.png,cat\n", "the columns are photo, labels: set that of the image"),
        ("image,cat,cat\na.png,1,0\n", "the column 'cat' is there twice"),
    ],
)
def test_a_file_that_cannot_be_read(rows, text, root):
    with pytest.raises(LightsegError) as error:
        opened(root, rows)
    assert (
        text in str(error.value) and str(error.value).startswith(f"{root}/train.csv") and "\n" not in str(error.value)
    )


def test_classes_of_val_are_those_of_train(root):
    with pytest.raises(LightsegError, match=r"val\.csv line 2: cta is no class: choose from cat, dog, tree"):
        opened(root, NAMED, val="image,labels\na.png,cta\n", split="val")
    with pytest.raises(LightsegError, match=r"val\.csv: no column of class tree; it has image, cat, dog: add it"):
        opened(root, COLUMNS, val="image,cat,dog\na.png,1,0\n", split="val")
    val = opened(root, COLUMNS, val="image,tree,dog,cat\na.png,1,0,0\n", split="val")
    assert val.class_names == ["cat", "dog", "tree"] and val.labels.tolist() == [[0, 0, 1]]
    empty = opened(root, COLUMNS, val="image,cat,dog,tree\na.png,0,0,0\n", split="val")
    with pytest.raises(LightsegError, match="no image of the evaluation split has a class"):
        empty.check_evaluable()


def test_classes_are_merged_and_renumbered(root):
    dataset = opened(root, NAMED, "data.merge_classes={animal: [cat, dog]}")
    assert dataset.class_names == ["animal", "tree"] and dataset.labels.tolist() == [[1, 1], [1, 0], [0, 0], [0, 1]]
    dataset.reorder_classes(["tree", "animal"])
    assert dataset.labels.tolist() == [[1, 1], [0, 1], [0, 0], [1, 0]]
    parts = [opened(root, NAMED, "data.split.val=0.5", split=split) for split in ("train", "val")]
    assert sorted(name for part in parts for name in part.names) == ["a.png", "b.png", "c.png", "d.png"]
    assert all(part.class_names == ["cat", "dog", "tree"] and len(part.labels) == len(part) for part in parts)


def test_images_of_every_class_are_counted(root):
    rows = "image,cat,dog,tree,sun\na.png,1,0,1,0\nb.png,1,1,0,0\nc.png,0,0,0,0\nd.png,0,0,1,0\n"
    counted = multi_label_statistics(opened(root, rows))
    assert counted.counts.tolist() == counted.images.tolist() == [2, 1, 2, 0]
    assert (counted.counted, counted.total, counted.unlabeled) == (4, 4, [2])
    assert counted.line() == "5 labels of images of 4 classes, 20 % dog to 40 % cat"
    assert list(counted.warnings) == [
        "1 of 4 classes have no image and cannot be learned: sun",
        "3 of 4 classes have fewer than 10 images: dog (1), cat (2), tree (2)",
    ]
    assert counted.notes == {"1 of 4 images have no class": [2]}
