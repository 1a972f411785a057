"""The HTML page in Chromium, opened from file://."""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

import pytest

from lightseg.leaderboard.page import write_page
from lightseg.leaderboard.table import Group
from tests.leaderboard.browser import Page
from tests.leaderboard.example_runs import MODELS


def floats(texts: Sequence[str]) -> list[float]:
    return [float(text.split("±")[0]) for text in texts]


def test_headers_sort_by_click_and_by_keyboard(page: Page):
    from selenium.webdriver.common.keys import Keys

    assert floats(page.column("mean")) == [75.0, 71.0, 60.0, 58.0, 55.0]
    assert page.first("th[data-key=mean]").get_attribute("aria-sort") == "descending"
    page.first("th[data-key=params] button").click()
    assert floats(page.column("params")) == [1.08, 1.30, 2.10, 3.20, 3.50]
    assert page.first("th[data-key=params]").get_attribute("aria-sort") == "ascending"
    assert page.first("th[data-key=mean]").get_attribute("aria-sort") == "none"
    page.press(Keys.ENTER)  # the header kept the focus
    assert floats(page.column("params")) == [3.50, 3.20, 2.10, 1.30, 1.08]
    for key in (Keys.SPACE, Keys.SPACE):  # rows without a latency are last in both orders
        page.driver.execute_script("document.querySelector('th[data-key=latency] button').focus()")
        page.press(key)
        assert page.column("latency")[-1] == "–"
    page.first("th[data-key=backbone] button").click()
    assert page.column("backbone") == sorted(name for name, *_ in MODELS)


def test_best_value_deviation_seeds_and_weights_are_shown(page: Page):
    assert page.run("[...document.querySelectorAll('.group td.best')].map((cell) => cell.textContent)")[0] == "75.0"
    assert page.column("mean")[1] == "71.0± 1.0"
    assert page.column("n") == ["1", "3", "3", "1", "1"]
    assert page.column("weights") == ["pretrained", *["from scratch"] * 4]
    assert page.first(".setting").text == "optimizer.lr=0.002"
    assert "skipped 1 record: 1 not valid JSON" in page.first("#notes").text


def test_filters(page: Page, board: list[Group]):
    assert len(page.shown_groups()) == 3 and page.first("#status").text == "10 rows"
    page.filter("MOBILENET scratch")
    assert page.column("backbone") == ["mobilenetv3_large", "mobilenetv3_small"]
    assert page.first("#status").text == "6 of 10 rows"
    assert len(page.all(".group:not([hidden]) circle")) == 6  # the plots follow
    page.filter("no such net")
    assert page.first("#status").text == "No row matches." and page.shown_groups() == []
    page.filter("")
    page.choose("#task", "Object detection")
    assert page.shown_groups() == ["mini_det Object detection"]
    page.choose("#task", "")
    page.choose("#data-set", "camvid")
    assert len(page.shown_groups()) == 2
    page.choose("#protocol", board[1].protocol_text)
    assert page.shown_groups() == ["camvid #2 Semantic segmentation"]
    page.choose("#data-set", "mini_det")
    assert page.shown_groups() == []


@pytest.mark.parametrize("cost", ["madds", "latency"])
def test_fronts_are_those_of_the_table(page: Page, board: list[Group], cost: str):
    page.choose("#cost", cost)
    for i, group in enumerate(board):
        expected = [row.backbone for row in group.rows if getattr(row, f"on_{cost}_front")]
        assert page.marked(cost, i) == expected
        page.driver.execute_script("document.querySelectorAll('.group')[arguments[0]].scrollIntoView()", i)
        page.frames()
        points = page.all(".group")[i].find_elements("css selector", "circle.front")
        drawn = [point.get_attribute("aria-label").split(",")[0] for point in points]
        assert sorted(drawn) == sorted(expected)


def test_hover_shows_a_tooltip_and_a_click_goes_to_the_row(page: Page):
    page.hover(page.point("mobilenetv3_large"))
    assert page.tip() == (
        "mobilenetv3_large | mIoU 71.0 ± 1.0 %, 3 seeds | Multiply-adds 250 M | lraspp · from scratch"
    )
    page.point("mobilenetv3_large").click()
    assert [line.find_element("css selector", ".name").text for line in page.all("tr.picked")] == ["mobilenetv3_large"]
    assert len(page.all("circle.picked")) == 1
    page.hover(page.first("h1"))
    assert page.tip() == ""


def test_points_by_keyboard(page: Page):
    from selenium.webdriver.common.keys import Keys

    page.first("#all-metrics").send_keys(Keys.TAB)
    assert page.tip().startswith("micronet_m3 | mIoU 55.0 %")  # the cheapest
    page.press(Keys.ARROW_RIGHT)
    assert page.tip().startswith("mobilenetv3_small |")
    page.press(Keys.END)
    assert page.tip().startswith("efficientnet_lite0 |")
    page.press(Keys.ENTER)
    assert page.first("tr.picked .name").text == "efficientnet_lite0"
    assert page.driver.switch_to.active_element.text == "efficientnet_lite0"
    page.press(Keys.ENTER)  # opens its runs
    assert page.first("tr.runs").is_displayed()


def test_the_first_tap_shows_a_tooltip_and_the_second_goes_to_the_row(page: Page):
    tap = (
        "const box = arguments[0].getBoundingClientRect(); arguments[0].dispatchEvent(new PointerEvent('click',"
        "{bubbles: true, pointerType: 'touch', clientX: box.x + 5, clientY: box.y + 5}))"
    )
    page.driver.execute_script(tap, page.point("micronet_m3"))
    assert page.tip().startswith("micronet_m3 |") and page.all("tr.picked") == []
    page.driver.execute_script(tap, page.point("micronet_m3"))
    assert page.first("tr.picked .name").text == "micronet_m3"


def test_links_lead_to_the_files_of_each_run(page: Page, board_file: Path):
    button = page.all("button.name")[1]
    button.click()
    assert button.get_attribute("aria-expanded") == "true"
    runs = page.all("tr.runs li")
    assert [run.text.split(":")[0] for run in runs] == ["seed 2", "seed 1", "seed 0"]
    for seed, run in zip((2, 1, 0), runs, strict=True):
        links = {link.text: link for link in run.find_elements("css selector", "a")}
        assert list(links) == ["val.png", "config.yaml", "record.json"]
        for link in links.values():
            assert "://" not in link.get_dom_attribute("href")
            file = Path(unquote(urlparse(link.get_property("href")).path))
            assert file.is_file() and f"mobilenetv3_large/s{seed}" in str(file)
    page.first("tr.runs a[href$='record.json']").click()
    assert page.driver.current_url == (board_file.parent / "runs/seg/mobilenetv3_large/s2/record.json").as_uri()


def test_all_metrics_on_demand(page: Page):
    assert page.all("th[data-key='other pixel_accuracy']") == []
    page.first("#all-metrics").click()
    assert floats(page.column("other pixel_accuracy")) == [95.0, 91.0, 80.0, 78.0, 75.0]


def test_matrix_of_models_and_data_sets(page: Page):
    page.choose("#view", "matrix")
    table = page.run(
        "[...document.querySelectorAll('#matrix tr')].map((line) => [...line.cells].map((c) => c.innerText))"
    )
    assert table[0] == ["Backbone", "Weights", "mIoU %\ncamvid #1", "mIoU %\ncamvid #2", "mAP %\nmini_det"]
    assert table[1] == ["efficientnet_lite0", "pretrained", "75.0", "–", "–"]
    assert table[2] == ["mobilenetv3_large", "from scratch", "71.0", "72.0", "20.0"]
    assert [cell.text for cell in page.all("#matrix td.best")] == ["75.0", "72.0", "20.0"]
    page.all("#matrix thead button")[0].click()
    assert page.first("#matrix tbody .name").text == "efficientnet_lite0"
    page.filter("micronet")
    assert [name.text for name in page.all("#matrix tbody .name")] == ["micronet_m3"]


def luminance(color: str) -> float:
    """Relative luminance of rgb(r, g, b), as defined by WCAG 2.2."""
    channels = [int(part) / 255 for part in re.findall(r"\d+", color)[:3]]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return sum(weight * c for weight, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def test_light_and_dark_are_readable(page: Page):
    grounds = {}
    for scheme in ("light", "dark"):
        page.size(1300, 1000, scheme)
        ground = luminance(page.run("getComputedStyle(document.body).backgroundColor"))
        for selector in ("h1", "#summary", "thead button", "td", ".group p"):
            text = luminance(page.run("getComputedStyle(document.querySelector(arguments[0])).color", selector))
            contrast = (max(text, ground) + 0.05) / (min(text, ground) + 0.05)
            assert contrast >= 4.5, f"{scheme} {selector}: {contrast:.1f}"  # WCAG 2.2, 1.4.3
        grounds[scheme] = ground
    assert grounds["light"] > 0.9 and grounds["dark"] < 0.05


def test_fits_a_phone(page: Page):
    page.size(360, 780)
    assert page.overflow() == 0
    plot = page.first(".plot svg").rect
    assert plot["width"] > 280 and plot["x"] + plot["width"] <= 360
    page.first("#all-metrics").click()
    page.first("button.name").click()
    page.frames()
    assert page.overflow() == 0
    name, value = page.first("tr.model .name").rect, page.first("tr.model td").rect
    assert name["x"] >= 0 and value["x"] + value["width"] <= 360  # backbone and accuracy are visible without scrolling
    page.choose("#view", "matrix")
    assert page.overflow() == 0


def test_many_rows_are_shown_by_pages(driver: Any, board: list[Group], tmp_path: Path):
    group = board[0]
    many = tuple(
        replace(
            group.rows[0], backbone=f"net_{i:04d}", madds=10**6 * (i + 1), setting={"optimizer.lr": str(i)}, records=()
        )
        for i in range(430)
    )
    write_page([replace(group, rows=many)], tmp_path / "board.html")
    page = Page(driver, tmp_path / "board.html")
    assert len(page.column("backbone")) == 100 and len(page.all("circle")) == 430
    page.first("th[data-key=backbone] button").click()
    page.first("[aria-label='Next rows']").click()
    assert page.column("backbone")[::99] == ["net_0100", "net_0199"]
    assert page.first(".pager").text == "‹\n101–200 of 430\n›"
    page.driver.execute_script("pick(board.groups[0].rows[234], true)")  # shows the page of the row
    assert page.first("tr.picked .name").text == "net_0234"
    page.filter("net_01")
    assert len(page.column("backbone")) == 100 and page.first("#status").text == "100 of 430 rows"
    assert not page.first(".pager").is_displayed()
    assert page.console() == []


def test_rows_have_the_order_of_the_data(driver: Any, board: list[Group], tmp_path: Path):
    group = board[0]
    by_madds = tuple(sorted(group.rows, key=lambda row: row.madds))
    write_page([replace(group, rows=by_madds)], tmp_path / "board.html")
    page = Page(driver, tmp_path / "board.html")
    assert page.column("backbone") == [row.backbone for row in by_madds]
    assert page.first("th[data-key=mean]").get_attribute("aria-sort") == "none"


def test_latencies_of_two_machines_are_sorted_separately(driver: Any, board: list[Group], page: Page, tmp_path: Path):
    assert page.all("th[data-key=conditions]") == []  # all have the same
    group, here = board[0], board[0].rows[1].latency_how
    there = {"latency_ms": 5.0, "latency_how": "Xeon 8380, 2 threads, Linux x86_64"}
    rows = tuple(replace(row, **there) if row.backbone == "mobilenetv3_small" else row for row in group.rows)
    write_page([replace(group, rows=rows)], tmp_path / "board.html")
    page = Page(driver, tmp_path / "board.html")
    page.first("th[data-key=latency] button").click()
    assert floats(page.column("latency")[:-1]) == [11.0, 12.0, 17.0, 5.0]
    assert page.column("conditions") == [*[here.split(",")[0]] * 3, "Xeon 8380", "–"]
    page.first("th[data-key=latency] button").click()
    assert floats(page.column("latency")[:-1]) == [17.0, 12.0, 11.0, 5.0]
    assert page.marked("latency", 0) == ["mobilenetv3_large", "shufflenetv2_x1_0", "mobilenetv3_small"]
    page.choose("#cost", "latency")
    page.hover(page.point("mobilenetv3_small"))
    assert "Latency 5 ms, Xeon 8380" in page.tip()
    assert page.console() == []
