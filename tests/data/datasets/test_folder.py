"""Folders of images and labels, described by options."""

from pathlib import Path

import numpy as np
import pytest

from lightseg.data.datasets.folder import SegmentationFolder, class_table
from lightseg.data.datasets.segmentation import UNKNOWN, default_palette
from lightseg.data.io.images import read_mask
from lightseg.data.io.integrity import verify
from lightseg.errors import DataError, LightsegError

CLASSES = ["sky", "road", "car"]


def test_images_and_labels_are_paired_below_their_folders(folder: Path) -> None:
    dataset = SegmentationFolder(folder, images="images", labels="masks", classes=CLASSES, ignore=[11])
    assert dataset.names == ["a", "b", "c", "d", "e", "more/f"]
    assert dataset.class_names == CLASSES and len(dataset.palette) == 3
    stored = read_mask(folder / "masks" / "more" / "f.png")
    mask = dataset[5]["mask"].numpy()
    np.testing.assert_array_equal(mask, np.where(stored == 11, 255, stored))
    assert verify(dataset) == []


def test_classes_may_name_ids_and_join_them(folder: Path) -> None:
    dataset = SegmentationFolder(
        folder, images="images", labels="masks", classes={"car": [2, 0], "road": 1}, ignore=[11]
    )
    stored = read_mask(folder / "masks" / "a.png")
    expected = np.select([stored == 1, stored == 11], [1, 255], 0)
    np.testing.assert_array_equal(dataset[0]["mask"].numpy(), expected)


def test_an_id_without_a_class_is_an_error(folder: Path) -> None:
    dataset = SegmentationFolder(folder, images="images", labels="masks", classes=CLASSES)
    with pytest.raises(DataError, match=r"a\.png: label id 11 is not in the class map, which has 0, 1, 2"):
        dataset[0]


def test_suffixes_tell_images_from_labels_in_the_same_folder(tmp_path: Path, save_image) -> None:
    image = np.random.default_rng(0).integers(0, 256, (8, 10, 3), dtype=np.uint8)
    for name in ("x", "y"):
        save_image(tmp_path / f"{name}_rgb.png", image)
        save_image(tmp_path / f"{name}_mask.png", image[..., 0] % 3)
    (tmp_path / ".x_rgb.png").write_bytes(b"a hidden file of macOS")
    dataset = SegmentationFolder(
        tmp_path, images=".", labels=".", image_end="_rgb.png", label_end="_mask.png", classes=CLASSES
    )
    assert dataset.names == ["x", "y"]
    np.testing.assert_array_equal(dataset[1]["image"].permute(1, 2, 0).numpy(), image)
    np.testing.assert_array_equal(dataset[1]["mask"].numpy(), image[..., 0] % 3)


def test_images_without_labels(folder: Path) -> None:
    dataset = SegmentationFolder(folder, images="images", labels=None, classes=CLASSES)
    assert not dataset.has_labels and "mask" not in dataset[0]


def test_color_labels(tmp_path: Path, save_image) -> None:
    colors = [[128, 64, 128], [0, 0, 142], [70, 70, 70]]
    ids = np.random.default_rng(0).integers(0, 3, (8, 10))
    label = np.array(colors, np.uint8)[ids]
    label[0] = 0  # black: unlabeled
    save_image(tmp_path / "images" / "a.png", label)
    save_image(tmp_path / "labels" / "a.png", label)
    options = {"images": "images", "labels": "labels", "classes": CLASSES}
    dataset = SegmentationFolder(tmp_path, colors=colors, **options)
    assert dataset.palette == colors
    expected = ids.copy()
    expected[0] = 255
    np.testing.assert_array_equal(dataset[0]["mask"].numpy(), expected)
    label[3, 3] = (1, 2, 3)
    save_image(tmp_path / "labels" / "a.png", label)
    with pytest.raises(DataError, match=r"a\.png: no class has the color #010203"):
        dataset[0]
    with pytest.raises(DataError, match="one class id a pixel"):
        SegmentationFolder(tmp_path, **options)[0]


@pytest.mark.parametrize(
    ("classes", "ignore", "message"),
    [
        ([], [], "classes is empty"),
        ({"a": 1, "b": [0, 1]}, [], "'a' and 'b' both claim id 1"),
        (["a", "b"], [1], "id 1 is both ignored and class 'b'"),
        ({"a": 256}, [], "whole numbers in 0"),
        (["a"], [-1], "whole numbers in 0"),
        (["a", "a"], [], "must differ"),
        ({"a": "one"}, [], "whole numbers in 0"),
    ],
)
def test_contradicting_classes_are_refused(classes, ignore, message: str) -> None:
    with pytest.raises(LightsegError, match=message):
        class_table(classes, ignore)


def test_every_id_of_the_table_is_a_class_ignored_or_unknown() -> None:
    names, table = class_table({"a": 3, "b": [1, 7]}, [0])
    assert names == ["a", "b"]
    assert {file_id: int(value) for file_id, value in enumerate(table) if value != UNKNOWN} == {
        0: 255, 1: 1, 3: 0, 7: 1, 255: 255,
    }  # fmt: skip
    assert class_table({"last": 255, "first": 0})[1][255] == 0  # 255 may be claimed


def test_wrong_colors_and_empty_folders_are_refused(folder: Path) -> None:
    options = {"images": "images", "labels": "masks", "classes": CLASSES}
    with pytest.raises(LightsegError, match="palette holds 1 colors for 3 classes"):
        SegmentationFolder(folder, palette=[[0, 0, 0]], **options)
    with pytest.raises(DataError, match=r"looked for names that end in _rgb\.png"):
        SegmentationFolder(folder, image_end="_rgb.png", **options)
    with pytest.raises(DataError, match="nothing: no such folder"):
        SegmentationFolder(folder, **{**options, "labels": "nothing"})


def test_default_colors_differ() -> None:
    assert len({tuple(color) for color in default_palette(254)}) == 254
