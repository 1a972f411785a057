"""A file is whole or not there, whatever goes wrong while it is written."""

import json
import os
import stat
from pathlib import Path

import pytest

from lightseg import atomic_io


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_it_is_there_when_the_block_ends_and_not_before(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    with atomic_io.writing(path, "w", newline="") as file:
        file.write("é\r\n")
        assert names(tmp_path) == [f".{os.getpid()}.a.csv"]
    assert path.read_bytes() == "é\r\n".encode() and names(tmp_path) == ["a.csv"]


def test_an_error_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    atomic_io.write_json(path, {"a": 1})
    with pytest.raises(ValueError, match="not JSON compliant"):
        atomic_io.write_json(path, {"a": float("nan")})
    with pytest.raises(KeyboardInterrupt), atomic_io.writing(path) as file:
        file.write(b"half")
        raise KeyboardInterrupt
    assert json.loads(path.read_text()) == {"a": 1} and names(tmp_path) == ["a.json"]


def test_a_disk_that_fills_up_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    path = tmp_path / "a"
    atomic_io.write_bytes(path, b"before")
    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        atomic_io.write_bytes(path, b"after", sync=True)
    assert path.read_bytes() == b"before" and names(tmp_path) == ["a"]
    atomic_io.write_bytes(path, b"after")  # not flushed unless asked for
    assert path.read_bytes() == b"after"


def test_it_is_as_readable_as_any_new_file(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        atomic_io.write_text(tmp_path / "a", "a")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o644


def test_the_folder_must_be_one(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file" / "a", tmp_path / "none" / "a"):
        with pytest.raises(OSError, match="a"):
            atomic_io.write_text(path, "a")
    assert names(tmp_path) == ["file"]


def test_another_name_meanwhile(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), atomic_io.writing(tmp_path / "a", unfinished=tmp_path / ".a.writing"):
        assert names(tmp_path) == [".a.writing"]
        raise RuntimeError
    assert names(tmp_path) == []
