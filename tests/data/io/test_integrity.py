"""Copies of images, within a split and between two."""

import shutil
from pathlib import Path

import pytest

from lightseg.data.io import integrity
from lightseg.data.io.integrity import copy_notes


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """Five files of equal size; c and d differ from a before or behind the middle alone."""
    contents = {"a": b"x" * 5000, "b": b"y" * 5000, "c": b"z" + b"x" * 4999, "d": b"x" * 4999 + b"z", "e": b"a" * 5000}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    return [tmp_path / name for name in contents]


def test_files_of_different_contents_are_no_copies(files):
    assert copy_notes(files[:3], files[3:], "val") == []


def test_copies_within_and_between_the_splits_are_counted(files, tmp_path):
    shutil.copy(files[0], tmp_path / "copy")
    (tmp_path / "link").symlink_to(files[1])
    val = [files[3], tmp_path / "copy", tmp_path / "link", files[1]]
    assert copy_notes(files[:3] * 2, val, "val") == [
        f"3 of 4 val images are among the training images: figures are too good, the first: {val[1]} = {files[0]}"
    ]
    assert copy_notes([*files, tmp_path / "copy", tmp_path / "gone"], [], "val") == [
        f"1 images are copies of others, the first: {tmp_path / 'copy'} = {files[0]}"
    ]


def test_large_sets_are_not_compared(files, monkeypatch):
    monkeypatch.setattr(integrity, "MOST_COMPARED", 9)
    assert copy_notes(files, files, "val") == []
