"""Hostile names, numbers and links in the HTML page in Chromium."""

import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

import pytest

from lightseg.errors import LightsegError
from lightseg.html_page import embedded_json
from lightseg.leaderboard.page import run_links, write_page
from lightseg.leaderboard.table import Group, Statistic, group_runs
from tests.leaderboard.browser import Page
from tests.leaderboard.example_runs import EXAMPLE

HOSTILE = (
    "<img src=x onerror=window.harm=1>",
    "</script><script>window.harm=1</script>",
    "\"quoted\" 'twice' `back` \\ & &lt;b&gt;",
    "{{script}} <!-- line\u2028paragraph\u2029",
    "__proto__",
    "ü" * 190,
)


def test_hostile_names_are_text(driver: Any, tmp_path: Path):
    records = []
    for i, name in enumerate(HOSTILE):
        folder = tmp_path / "runs" / f"javascript:alert({i})"
        (folder / "images").mkdir(parents=True)
        (folder / "images" / "x\" onclick='window.harm=1'.png").write_text("")
        (folder / "config.yaml").write_text("")
        names = {"backbone": name, "head": name, "weights": name, "data": name, "setting": {"a": "b", name: name}}
        metrics = {"val/mIoU": 0.5, f"val/{name}": 0.5}
        record = replace(EXAMPLE, folder=folder, metrics=metrics, protocol={name: name}, config_hash=str(i), **names)
        records.append(record)
    write_page(group_runs(records), tmp_path / "runs" / "board.html", HOSTILE)
    page = Page(driver, tmp_path / "runs" / "board.html")
    names = page.run("[...document.querySelectorAll('.group tr.model .name')].map((name) => name.textContent)")
    assert sorted(names) == sorted(HOSTILE)
    page.first("#all-metrics").click()
    for button in page.all("button.name"):
        page.driver.execute_script("arguments[0].click()", button)
    page.choose("#view", "matrix")
    assert page.run("document.querySelectorAll('img, iframe, object, [onclick], [onerror]').length") == 0
    assert page.run("document.scripts.length") == 2 and page.run("window.harm") is None
    page.choose("#view", "tables")
    links = page.run("[...document.querySelectorAll('a')].map((link) => link.href)")
    assert len(links) == 2 * len(HOSTILE) and all(link.startswith((tmp_path / "runs").as_uri()) for link in links)
    assert all(Path(unquote(urlparse(link).path)).is_file() for link in links)
    page.size(360, 780)
    assert page.overflow() == 0
    assert page.console() == []


def test_no_other_script_runs_and_no_other_address_is_linked(page: Page):
    inject = "const s = document.createElement('script'); s.textContent = 'window.harm = 1'; document.body.append(s)"
    page.driver.execute_script(inject)
    assert page.run("window.harm") is None
    assert "Content Security Policy" in page.console()[0]
    for address in ("javascript:alert(1)", "data:text/html,x", "https://example.org/", "//example.org/x", "http://["):
        assert page.run("fileLink('x', arguments[0]).tagName", address) == "SPAN"
    assert page.run("fileLink('x', 'runs/a/config.yaml').tagName") == "A"


def test_needs_no_network(page: Page, board_file: Path):
    assert page.run("performance.getEntriesByType('resource').length") == 0
    assert set(re.findall(r"https?://[^\"'\s]+", board_file.read_text())) == {"http://www.w3.org/2000/svg"}


def test_numbers_that_are_none_or_huge(driver: Any, board: list[Group], tmp_path: Path):
    group = board[0]
    big = {"params": 10**400, "madds": 10**18, "latency_ms": 1e308, "memory_mb": math.inf, "train_s": 1e300}
    strange = [
        replace(group.rows[0], backbone="not_a_number", metrics={"val/mIoU": Statistic(math.nan, math.nan, 2)}),
        replace(group.rows[0], backbone="huge", **big),
        replace(group.rows[0], backbone="nothing", params=None, madds=0, latency_ms=math.nan, memory_mb=None),
        replace(group.rows[0], backbone="tiny", params=1, madds=1, latency_ms=5e-324),
    ]
    write_page([replace(group, rows=(*group.rows, *strange))], tmp_path / "board.html")
    page = Page(driver, tmp_path / "board.html")
    names = page.column("backbone")
    params, means = (dict(zip(names, page.column(key), strict=True)) for key in ("params", "mean"))
    assert (params["huge"], params["nothing"], means["not_a_number"]) == ("–", "–", "–")
    assert dict(zip(names, page.column("madds"), strict=True))["huge"] == "1.00e+12"
    for cost, drawn in (("madds", 7), ("latency", 5), ("params", 6)):
        page.choose("#cost", cost)
        assert len(page.all("circle")) == drawn
        assert "NaN" not in page.run("document.querySelector('.plot').innerHTML")
    for key in ("mean", "params", "madds", "latency", "memory", "trained"):
        page.driver.execute_script(f"document.querySelector('th[data-key={key}] button').click()")
        assert len(page.column(key)) == len(names)
    page.size(360, 780)
    assert page.overflow() == 0
    assert page.console() == []


def test_links_stay_in_the_run_folder(tmp_path: Path):
    run, outside = tmp_path / "runs" / "a b#c", tmp_path / "secret.png"
    outside.write_text("secret")
    (run / "images").mkdir(parents=True)
    (run / "images" / "val.png").write_text("")
    (run / "images" / "linked.png").symlink_to(outside)
    (run / "images" / "folder.png").mkdir()
    (run / "config.yaml").symlink_to(outside)
    assert run_links(run, tmp_path / "docs") == [("val.png", "../runs/a%20b%23c/images/val.png")]
    assert run_links(tmp_path / "gone", tmp_path) == []


def test_embedded_json_cannot_leave_its_element():
    text = embedded_json({"name": "".join(HOSTILE)})
    assert text.isascii() and not set("<>&") & set(text)


def test_a_page_that_cannot_be_written_is_one_line(board: list[Group], tmp_path: Path):
    with pytest.raises(LightsegError, match=r"cannot write .*board\.html: No such file or directory"):
        write_page(board, tmp_path / "missing" / "board.html")
    (tmp_path / "board.html").mkdir()
    with pytest.raises(LightsegError, match=r"cannot write .*board\.html: Is a directory"):
        write_page(board, tmp_path / "board.html")
    assert [file.name for file in tmp_path.iterdir()] == ["board.html"]  # no temporary file is left
