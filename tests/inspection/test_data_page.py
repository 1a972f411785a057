"""The page of `lightseg data` in Chromium, opened from file://."""

from pathlib import Path
from typing import Any

from lightseg.inspection.report import DataReport
from tests.inspection.conftest import HOSTILE
from tests.leaderboard.browser import Page


def test_page(driver: Any, report: DataReport, tmp_path: Path):
    page = Page(driver, report.save(tmp_path / "birds.html"))
    assert page.first("h1").text == "coco Object detection"
    levels = [level.text for level in page.all(".finding .level")]
    assert levels == [finding.level for finding in report.findings] and levels[0] == "error"
    assert [image.get_attribute("alt") for image in page.all(".finding.warning .pair img")][:2] != []
    page.run("document.querySelectorAll('img').forEach((image) => { image.loading = 'eager' })")
    page.driver.execute_async_script(
        "Promise.all([...document.images].map((image) => image.decode())).then(() => arguments[0]())"
    )
    assert page.run("[...document.images].every((image) => image.naturalWidth >= 160)")
    assert len(page.all("#samples figure")) == len(report.samples) and len(page.all("#samples img")) == 22
    cells = page.run("[...document.querySelectorAll('#classes tbody tr')].map((row) => row.cells[0].textContent)")
    assert sorted(cells) == sorted(["bird", HOSTILE, "boat"])
    numbers = page.run("[...document.querySelectorAll('#classes tbody tr')].map((row) => row.cells[2].textContent)")
    assert numbers == ["9", "8", "0"]
    assert len(page.all("#sizes circle")) == 2 and len(page.all("#boxes .card")) == 2
    strides = page.run(
        "[...document.querySelector('#boxes svg').querySelectorAll('.mark-name')].map((m) => m.textContent)"
    )
    assert strides == ["16", "32", "64", "128", "256", "512"]
    bars = page.run(
        "[...document.querySelector('#boxes svg').querySelectorAll('.bar title')].map((t) => t.textContent)"
    )
    assert sum(int(text.rpartition(": ")[2]) for text in bars) == 17
    assert page.run("window.harm") is None and page.run("document.scripts.length") == 2
    for width in (1300, 700, 360):
        page.size(width, 800)
        assert page.overflow() <= 0
    assert page.console() == []
