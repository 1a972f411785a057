"""docs/search.md: its commands run, on few and small images, and the space that it shows is one."""

import re
import shlex
from pathlib import Path

import pytest

import train
from lightseg.catalog.spaces import parse_space, shipped
from tests.docs.test_docs import commands

PAGE = Path(__file__).parents[2] / "docs" / "search.md"
TEXT = PAGE.read_text(encoding="utf-8")
SPACE = re.search(r"<!-- a space -->\n```yaml\n(.*?)```", TEXT, re.DOTALL)


def test_the_space_of_the_page_and_those_it_names():
    assert SPACE is not None
    space = parse_space(SPACE[1], "page")
    assert space.nets() > 1000 and space.input_sizes == (128, 160, 192)
    for name in shipped():
        assert f"`{name}`" in TEXT or f"`_{name.rpartition('_')[2]}`" in TEXT


def test_what_it_says_of_the_defaults():
    for key in ("cost", "weight", "lr", "warmup", "temperature", "target", "table"):
        assert f"search.{key}" in TEXT


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("cost", ["madds", "latency_ms"])
def test_it_searches(cost, tmp_path, monkeypatch):
    """The first command, and that with a target in milliseconds. All of them are composed by test_docs.py, and
    tests/tasks/search has the other tasks."""
    searches = [command for command in commands(PAGE) if "search=dmasking" in command]
    command = next(command for command in searches if cost == "madds" or f"search.cost={cost}" in command)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.yaml").write_text(SPACE[1] if SPACE else "")
    words = [word for word in shlex.split(command, comments=True) if not word.startswith("seed=")]
    target = "search.target=16e6"  # one run of a sweep, at a budget that small images have too
    words = [target if word.startswith("search.target=") and "," in word else word for word in words]
    small = ["data.count={train: 8, val: 2}", "data.batch_size=2", "data.workers=0", "trainer.max_epochs=1"]
    if "task=cls" in words:
        small[0] = "data.count={train: 16, val: 8}"
    given = [*words, *small, "search.warmup=0.0", "schedule.warmup_steps=1", "logger=csv", "profile.runs=1"]
    assert train.main(given) == 0
    assert len(list(tmp_path.glob("runs/*/*/*/*/arch.yaml"))) == 1
