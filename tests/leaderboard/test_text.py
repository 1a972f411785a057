"""The content of the tables in every format, and that no text of a record becomes markup."""

import csv
import io
import json
import re

import pytest

from lightseg.errors import LightsegError
from lightseg.leaderboard.cells import check_metrics, group_table, matrix_table
from lightseg.leaderboard.csv_json import csv_text, escape_csv, json_text, matrix_csv, matrix_json
from lightseg.leaderboard.matrix import build_matrix
from lightseg.leaderboard.text import escape_latex, escape_markdown, latex, markdown, terminal

MARKUP = '=HYPERLINK("http://x.y")|<img src=x onerror=alert(1)>`a`[b](c)**d** $e$ \\f & {g} #h @i [red]j[/red] 5% ~^_'


@pytest.fixture
def groups(make_groups):
    """Two seeds of one backbone, one of a smaller one, and a run on the mini set."""
    small = {"backbone": "micronet_m3", "cost.params": 2e6, "cost.madds": 2e7, "cost.latency_ms": 5.04}
    return make_groups(
        {"metrics": {"val/mIoU": 0.70, "val/pixel_accuracy": 0.9}},
        {"metrics": {"val/mIoU": 0.72, "val/pixel_accuracy": 0.8}, "seed": 1},
        {**small, "metrics": {"val/mIoU": 0.601, "val/pixel_accuracy": 0.95}, "wall_s": 7300},
        {"data": "mini_seg", "metrics": {"val/mIoU": 0.9}},
    )


def test_markdown(groups):
    text = markdown([group_table(groups[0])])
    lines = text.splitlines()
    assert lines[0] == "### seg camvid"
    assert lines[2].startswith("val, 101 images, resolution: the label's own, best checkpoint")
    assert "All rows: data.augment.crop_size=\\[180, 240\\] trainer.max_epochs=24  " in lines
    assert "Cost: cpu, 2 threads, Linux x86_64; 1x3x360x480 uint8  " in lines
    assert lines[-4:] == [
        "| backbone | head | weights | mIoU % | seeds | pixel_accuracy % | params M | MAdds M | latency ms | memory MB "
        "| time | date | front |",
        "| --- | --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | --- |",
        "| mobilenetv3_large | lraspp | scratch | **71.0 ± 1.4** | 2 | 85.0 ± 7.1 | 3.22 | 247.2 | 17.1 | 17.4 "
        "| 10 min | 2026-11-22 | M L |",
        "| micronet_m3 | lraspp | scratch | 60.1 | 1 | **95.0** | **2.00** | **20.0** | **5.0** | 17.4 | 2.0 h "
        "| 2026-11-22 | M L |",
    ]


def test_every_format_shows_the_data_set_of_a_number(groups):
    tables = [group_table(group) for group in groups]
    for text in (markdown(tables), latex(tables).replace("\\", ""), terminal(tables)):
        assert text.index("seg camvid") < text.index("71.0") < text.index("seg mini_seg") < text.index("90.0")
    lines = terminal([matrix_table(build_matrix(groups))]).splitlines()
    heading = next(line for line in lines if line.startswith("backbone"))
    assert "seg camvid mIoU %" in heading and "seg mini_seg mIoU %" in heading


def test_matrix(groups):
    lines = markdown([matrix_table(build_matrix(groups))]).splitlines()
    assert lines[-4:] == [
        "| backbone | weights | seg camvid mIoU % | seg mini_seg mIoU % |",
        "| --- | --- | ---: | ---: |",
        "| mobilenetv3_large | scratch | **71.0 ± 1.4 (2)** | 90.0 |",
        "| micronet_m3 | scratch | 60.1 | - |",
    ]


def test_latex_is_a_booktabs_table(groups):
    lines = latex([group_table(groups[0])]).splitlines()
    assert lines[:4] == [r"% \usepackage{booktabs}", "", r"\begin{table}", r"\centering"]
    assert r"\begin{tabular}{lllrrrrrrrrrl}" in lines
    (row,) = [line for line in lines if line.startswith("mobilenetv3")]
    assert row.startswith(r"mobilenetv3\_large & lraspp & scratch & \textbf{71.0 $\pm$ 1.4} & 2 & 85.0 $\pm$ 7.1 &")
    assert row.endswith(r" \\") and row.count(" & ") == 12
    assert [line for line in lines if "rule" in line] == [r"\toprule", r"\midrule", r"\bottomrule"]


def test_csv_has_a_column_of_metrics_for_each_protocol(groups):
    lines = list(csv.DictReader(io.StringIO(csv_text(groups))))
    large, small, mini = lines
    assert float(large["seg camvid val/mIoU"]) == pytest.approx(0.71)
    assert float(large["seg camvid val/mIoU std"]) == pytest.approx(0.0141421356)
    assert large["seeds"] == "2" and small["seg camvid val/mIoU std"] == ""
    assert large["seg mini_seg val/mIoU"] == "" and float(mini["seg mini_seg val/mIoU"]) == 0.9
    assert int(large["params"]) == 3221198 and large["latency_how"] == "cpu, 2 threads, Linux x86_64"


def test_json_is_complete(groups, runs):
    content = json.loads(json_text(groups, "skipped 1"))
    assert [group["label"] for group in content["groups"]] == ["seg camvid", "seg mini_seg"]
    row = content["groups"][0]["rows"][0]
    assert row["metrics"]["val/mIoU"]["n"] == 2 and row["madds"] == 247153536
    assert [run["seed"] for run in row["runs"]] == [1, 0] and content["left_out"] == "skipped 1"
    models = json.loads(matrix_json(build_matrix(groups)))["models"]
    assert models[1]["metrics"] == {"seg camvid": {"mean": 0.601, "std": None, "n": 1}}
    lines = list(csv.DictReader(io.StringIO(matrix_csv(build_matrix(groups)))))
    assert float(lines[1]["seg camvid val/mIoU"]) == 0.601 and lines[1]["seg mini_seg val/mIoU"] == ""


def test_reward_is_a_column_with_a_target_latency(make_groups):
    slow = {"backbone": "micronet_m3", "metrics": {"val/mIoU": 0.6}, "cost.latency_ms": None}
    (group,) = make_groups({"cost.latency_ms": 80.0}, slow, target_ms=75.0)
    (column,) = [column for column in group_table(group).columns if column.heading == "reward"]
    assert column.cells == (f"{70 * (80 / 75) ** -0.07:.1f}", "-")


def test_latencies_under_different_conditions_have_no_best(make_groups):
    (group,) = make_groups({}, {"backbone": "micronet_m3", "cost.latency_ms": 1.0, "cost.measured.threads": 1})
    columns = {column.heading: column for column in group_table(group).columns}
    assert columns["latency ms"].best == frozenset()
    assert columns["measured on"].cells == ("cpu, 1 thread", "cpu, 2 threads")
    assert "Cost: Linux x86_64; 1x3x360x480 uint8" in group_table(group).notes


def test_several_machines_are_named(make_groups):
    (group,) = make_groups(
        {"cost.measured.processor": "Xeon 8380"},
        {"backbone": "micronet_m3", "cost.latency_ms": 1.0, "cost.measured.processor": "Atom C3558"},
        {"backbone": "fbnetv2_f1", "cost.latency_ms": None},
        target_ms=20,
    )
    columns = {column.heading: column for column in group_table(group).columns}
    assert sorted(columns["measured on"].cells) == ["-", "Atom C3558", "Xeon 8380"]
    assert columns["latency ms"].best == columns["reward"].best == frozenset()
    assert "Cost: 2 threads, Linux x86_64; 1x3x360x480 uint8" in group_table(group).notes
    assert "| Atom C3558 |" in markdown([group_table(group)])


def test_one_machine_is_named_once(make_groups):
    named = {"cost.measured.processor": "Xeon 8380"}
    (group,) = make_groups(named, {"backbone": "micronet_m3", "cost.latency_ms": 1.0, **named})
    columns = {column.heading: column for column in group_table(group).columns}
    assert "measured on" not in columns and columns["latency ms"].best
    assert "Cost: Xeon 8380, 2 threads, Linux x86_64; 1x3x360x480 uint8" in group_table(group).notes


def test_a_loss_is_not_in_per_cent_and_the_lowest_is_best(make_groups):
    classifier = {"task": "cls", "metrics": {"val/top1": 0.5, "val/loss": 2.5, "val/ece": 0.2}}
    other = {"backbone": "micronet_m3", "metrics": {"val/top1": 0.4, "val/loss": 1.5, "val/ece": 0.3}}
    (group,) = make_groups(classifier, classifier | other)
    columns = {column.heading: column for column in group_table(group).columns}
    assert columns["loss"].cells == ("2.50", "1.50") and columns["loss"].best == {1}
    assert columns["ece %"].cells == ("20.0", "30.0") and columns["ece %"].best == {0}


def test_which_metrics_are_shown(make_groups):
    (group,) = make_groups({"metrics": {"val/mIoU": 0.5, **{f"val/m{i}": i / 10 for i in range(6)}}})

    def shown(metrics):
        return [c.heading for c in group_table(group, metrics).columns if c.heading.endswith("%")]

    assert shown(None) == ["mIoU %", "m0 %", "m1 %", "m2 %"]
    assert shown("m5,val/m4") == ["mIoU %", "m4 %", "m5 %"]  # always with the main metric
    assert len(shown("all")) == 7
    with pytest.raises(LightsegError, match=r"^no metric is called 'm9': did you mean"):
        check_metrics([group], "m1,m9")


def test_a_narrow_terminal_names_the_columns_left_out(groups):
    (table, *_) = [group_table(group) for group in groups]
    text = terminal([table], width=80)
    assert all(len(line) <= 80 for line in text.splitlines())
    words = " ".join(text.split())
    assert "Left out to fit the terminal: head, params M, memory MB, time, date, pixel_accuracy %" in words
    assert "71.0 ± 1.4" in text and "micronet_m3" in text
    assert "Left out" not in terminal([table]) and "2026-11-22" in terminal([table])
    assert "\x1b" not in text and "\x1b[1" in terminal([table], width=80, color=True)


def test_huge_figures_stay_short(make_groups):
    (group,) = make_groups(
        {"cost.madds": 10**18, "cost.latency_ms": 1e18, "wall_s": 1e18, "metrics": {"val/mIoU": 1, "val/x": -1e18}}
    )
    assert max(len(cell) for column in group_table(group).columns for cell in column.cells) < 20


def test_markup_in_names_is_escaped(make_groups):
    names = {"backbone": MARKUP, "data": MARKUP}
    (group, *_) = make_groups(names, {**names, "backbone": "b", "setting": {"a|b": MARKUP}})
    table = group_table(group)
    shown = [line for line in markdown([table]).splitlines() if line.startswith("|")]
    cells = [line.replace("\\|", "").count("|") for line in shown]
    assert len(set(cells)) == 1 and len(shown) == 4
    assert "<img" not in markdown([table]) and "http://" not in markdown([table])
    (line,) = [line for line in terminal([table]).splitlines() if line.startswith("=HYPERLINK")]
    assert line.startswith(MARKUP)  # no markup of rich
    row = next(line for line in latex([table]).splitlines() if line.startswith("=HYPERLINK"))
    assert len(re.findall(r"(?<!\\)&", row)) == len(table.columns) - 1
    for cell in next(csv.reader(io.StringIO(csv_text([group]).splitlines()[1]))):
        assert not cell.startswith(("=", "+", "-", "@"))


@pytest.mark.parametrize("start", ["=1+1", "+1", "-1", "@A1", "\t=1", " =1", "＝1"])
def test_names_are_no_formulas(start):
    assert escape_csv(start) == f"'{start}"
    assert escape_csv("mobilenet=1") == "mobilenet=1" and escape_csv(-1.5) == -1.5


def test_markdown_of_every_special_character():
    assert escape_markdown("a|b*c`d[e]<f>&g~h!#$\\") == r"a\|b\*c\`d\[e\]&lt;f&gt;&amp;g\~h\!\#\$\\"
    assert escape_markdown("mobilenetv3_large_075 _x_") == r"mobilenetv3_large_075 \_x\_"
    assert escape_markdown("https://a www.b @c") == "https&#58;//a www&#46;b &#64;c"


def test_latex_of_every_special_character():
    assert escape_latex("\\{}$&#_%") == r"\textbackslash{}\{\}\$\&\#\_\%"
    assert escape_latex('~^<>|[]"') == (
        r"\textasciitilde{}\textasciicircum{}\textless{}\textgreater{}\textbar{}{[}{]}{\char34}"
    )
