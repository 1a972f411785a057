"""Run folders with records as tasks/run/record.py writes them."""

import copy
import itertools
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lightseg.leaderboard.page import write_page
from lightseg.leaderboard.records import read_records
from lightseg.leaderboard.table import Group, group_runs

RECORD: dict[str, Any] = {
    "schema": 1,
    "task": "seg",
    "data": "camvid",
    "backbone": "mobilenetv3_large",
    "head": "lraspp",
    "setting": {"trainer.max_epochs": 24, "data.augment.crop_size": [180, 240]},
    "metrics": {"val/mIoU": 0.7, "val/pixel_accuracy": 0.9, "val/IoU/Sky": 0.91, "val/IoU/Pole": None},
    "protocol": {
        "split": "val",
        "images": 101,
        "resolution": "the label's own",
        "flip": False,
        "scales": [1.0],
        "checkpoint": "best",
        "ema": True,
        "precision": "32-true",
        "left_out": [],
        "skipped": [],
    },
    "cost": {
        "params": 3221198,
        "madds": 247153536,
        "peak_memory_mb": 17.35,
        "latency_ms": 17.128,
        "measured": {
            "latency_min_ms": 16.499,
            "runs": 20,
            "threads": 2,
            "device": "cpu",
            "input": "1x3x360x480 uint8",
            "peak_memory": "weights and living tensors of one forward, without workspace",
        },
        "run_peak_memory_mb": 1841,
    },
    "config": {
        "task": "seg",
        "data": {"name": "camvid", "split": {"train": {"images": "train"}, "val": {"images": "val"}}, "ignore": [11]},
        "mode": "train",
        "ckpt": None,
        "pretrained": False,
        "seed": 0,
    },
    "config_hash": "da4c9d62a6d5",
    "seed": 0,
    "started": "2026-11-22T08:10:04+00:00",
    "wall_s": 629.7,
    "versions": {"python": "3.11.7", "machine": "Linux x86_64", "torch": "2.14.1"},
    "git": {"commit": "c7e5da8836cf57052b1bf22ab93daf6cc37f80cc", "dirty": False},
    "data_fingerprint": {"train": "24503a8a88c1", "val": "7582276648db"},
}


@pytest.fixture
def record() -> Callable[..., dict[str, Any]]:
    """Makes the content of a record. `{"cost.params": 1}` changes a nested value; the value `...` removes the key."""

    def make(changes: dict[str, Any] | None = None) -> dict[str, Any]:
        content = copy.deepcopy(RECORD)
        for path, value in (changes or {}).items():
            *parents, key = path.split(".")
            node = content
            for parent in parents:
                node = node[parent]
            if value is ...:
                del node[key]
            else:
                node[key] = value
        return content

    return make


@pytest.fixture
def write_run(tmp_path: Path, record: Callable[..., dict[str, Any]]) -> Callable[..., Path]:
    """Writes a run folder below tmp_path/"runs" and returns it. Text or bytes are the content of record.json."""
    numbers = itertools.count()

    def write(content: dict[str, Any] | str | bytes | None = None) -> Path:
        folder = tmp_path / "runs" / "seg" / "camvid" / "net" / f"run-{next(numbers):03}"
        folder.mkdir(parents=True)
        (folder / "config.yaml").write_text("task: seg\n")
        if isinstance(content, str | bytes):
            text = content if isinstance(content, bytes) else content.encode()
        else:
            text = json.dumps(record(content)).encode()
        (folder / "record.json").write_bytes(text)
        return folder

    return write


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    return tmp_path / "runs"


@pytest.fixture(scope="session")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """One Chromium for all tests of the page."""
    from tests.leaderboard.browser import chromium

    yield from chromium(tmp_path_factory.mktemp("profile"))


@pytest.fixture(scope="session")
def example(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Group], Path]:
    """Groups of the example runs, and their page."""
    from tests.leaderboard.example_runs import example_records

    folder = tmp_path_factory.mktemp("board")
    groups = group_runs(example_records(folder / "runs"))
    write_page(groups, folder / "board.html", ["skipped 1 record: 1 not valid JSON"])
    return groups, folder / "board.html"


@pytest.fixture
def board(example: tuple[list[Group], Path]) -> list[Group]:
    return example[0]


@pytest.fixture
def board_file(example: tuple[list[Group], Path]) -> Path:
    return example[1]


@pytest.fixture
def page(driver: Any, board_file: Path) -> Iterator[Any]:
    """The page of the example runs. After the test its console must be empty."""
    from tests.leaderboard.browser import Page

    opened = Page(driver, board_file)
    yield opened
    assert opened.console() == []


@pytest.fixture
def make_groups(write_run: Callable[..., Any], runs: Path) -> Callable[..., list[Group]]:
    """Writes runs with these changes of the record and returns the groups of all runs."""

    def make(*contents: dict[str, Any], **options: Any) -> list[Group]:
        for content in contents:
            write_run(content)
        return group_runs(read_records([runs]).records, **options)

    return make


def net(backbone: str, accuracy: float, **more: Any) -> dict[str, Any]:
    """Changes of a record for another row."""
    return {"backbone": backbone, "config_hash": f"hash-{backbone}", "metrics": {"val/mIoU": accuracy}, **more}
