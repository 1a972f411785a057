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


def color_folder(root: Path, save_image, label: np.ndarray, suffix: str = "png", **options) -> SegmentationFolder:
    save_image(root / "images" / "a.png", label)
    save_image(root / "labels" / f"a.{suffix}", label)
    colors = [[[128, 64, 128], [120, 60, 120]], [0, 0, 142], [70, 70, 70]]
    return SegmentationFolder(root, images="images", labels="labels", classes=CLASSES, colors=colors, **options)


def test_a_class_may_have_several_colors_and_void_its_own(tmp_path: Path, save_image) -> None:
    label = np.array([[(128, 64, 128), (120, 60, 120)], [(0, 0, 142), (9, 9, 9)]], np.uint8)
    data = color_folder(tmp_path, save_image, label, void_colors=[[9, 9, 9], [8, 8, 8]])
    assert data.palette == [[128, 64, 128], [0, 0, 142], [70, 70, 70]]
    assert data[0]["mask"].tolist() == [[0, 0], [1, 255]]
    data.reorder_classes(["car", "sky", "road"])
    assert data[0]["mask"].tolist() == [[1, 1], [2, 255]]
    label[0, 0] = 0
    data = color_folder(tmp_path, save_image, label, void_colors=[[9, 9, 9]])
    with pytest.raises(DataError, match="no class has the color #000000"):  # void is what the option names
        data[0]


def test_colors_of_a_jpeg_are_matched_within_a_tolerance(tmp_path: Path, save_image) -> None:
    ids = np.random.default_rng(0).integers(0, 4, (4, 4)).repeat(16, 0).repeat(16, 1)
    label = np.array([(128, 64, 128), (0, 0, 142), (70, 70, 70), (0, 0, 0)], np.uint8)[ids]
    with pytest.raises(DataError, match=r"a\.jpg: no class has the color .*; data.color_tolerance allows for JPEG"):
        color_folder(tmp_path, save_image, label, "jpg")[0]
    (tmp_path / "labels" / "a.png").unlink(missing_ok=True)
    mask = color_folder(tmp_path, save_image, label, "jpg", color_tolerance=255)[0]["mask"].numpy()
    assert (mask == np.where(ids == 3, 255, ids)).mean() > 0.97  # 8x8 blocks lie within the squares


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"void_colors": [[0, 0, 142]]}, r"data.void_colors: \[0, 0, 142\] is also the color of a class"),
        ({"void_colors": [[0, 0]]}, r"data.void_colors: \[0, 0\] is no color: give \[r, g, b\]"),
        ({"void_colors": ["black"]}, "data.void_colors: black is no color"),
        ({"color_tolerance": 300}, "data.color_tolerance is 300: must be a whole number from 0 to 255"),
    ],
)
def test_colors_that_contradict_each_other_are_refused(tmp_path: Path, save_image, options, message: str) -> None:
    with pytest.raises(LightsegError, match=message):
        color_folder(tmp_path, save_image, np.zeros((2, 2, 3), np.uint8), **options)


def test_the_end_of_a_similar_name_is_named(folder: Path) -> None:
    (folder / "masks" / "b.png").rename(folder / "masks" / "b_mask.png")
    data = SegmentationFolder(folder, images="images", labels="masks", classes=CLASSES, ignore=[11])
    message = (
        r"b\.jpg: the image has no label; .*b\.png does not exist; b_mask\.png is there: set data.mask_end=_mask\.png"
    )
    with pytest.raises(DataError, match=message):
        verify(data)


def test_a_list_of_names_chooses_images(folder: Path) -> None:
    """As in Pascal VOC's ImageSets/Segmentation."""
    (folder / "train.txt").write_text("c\na\n\nmore/f\n")
    options = {"images": "images", "labels": "masks", "classes": CLASSES, "ignore": [11]}
    assert SegmentationFolder(folder, **options, list_file="train.txt").names == ["c", "a", "more/f"]
    for text, message in (("a\nz\n", "train.txt: .*images has no image z"), ("", "train.txt: the list is empty")):
        (folder / "train.txt").write_text(text)
        with pytest.raises(DataError, match=message):
            SegmentationFolder(folder, **options, list_file="train.txt")
    with pytest.raises(DataError, match=r"none\.txt: cannot be read as a list of names"):
        SegmentationFolder(folder, **options, list_file="none.txt")


def test_symlinked_folders_are_followed_and_loops_are_not(folder: Path, tmp_path: Path) -> None:
    for kind in ("images", "masks"):
        (folder / kind / "more").rename(folder / f"{kind}_elsewhere")
        (folder / kind / "more").symlink_to(folder / f"{kind}_elsewhere")
        (folder / kind / "more" / "loop").symlink_to(folder / kind)
    dataset = SegmentationFolder(folder, images="images", labels="masks", classes=CLASSES, ignore=[11])
    assert dataset.names == ["a", "b", "c", "d", "e", "more/f"] and verify(dataset) == []


def test_evaluation_needs_a_pixel_that_counts(folder: Path, save_image) -> None:
    options = {"images": "images", "labels": "masks", "classes": CLASSES, "ignore": [11]}
    SegmentationFolder(folder, **options).check_evaluable()
    for name in ("a", "b", "c", "d", "e", "more/f"):
        save_image(folder / "masks" / f"{name}.png", np.full((24, 32), 255 if name < "c" else 11, np.uint8))
    with pytest.raises(
        DataError, match=r"a\.png: this and the 5 other masks of the evaluation have ignored pixels alone"
    ):
        SegmentationFolder(folder, **options).check_evaluable()


def test_sizes_that_differ_within_a_batch_are_found_by_their_headers(folder: Path, save_image) -> None:
    for kind, shape in (("images", (20, 30, 3)), ("masks", (20, 30))):
        save_image(folder / kind / ("e.png" if kind == "masks" else "e.jpg"), np.zeros(shape, np.uint8))
    data = SegmentationFolder(folder, images="images", labels="masks", classes=CLASSES, ignore=[11])
    assert verify(data) == []
    data.check_batches(1)
    with pytest.raises(DataError, match=r"differ in size \(.*e\.jpg is 30x20\): set data.eval_batch_size=1"):
        data.check_batches(6)


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
