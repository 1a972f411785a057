"""ShuffleNetV2's four experiments with small maps: the nets, the comparisons and the verdicts."""

import copy

import numpy as np
import pytest
import torch

from lightseg.profile.guidelines import EXPERIMENTS, WIDTHS, guidelines
from lightseg.profile.guidelines_report import guidelines_plot, guidelines_table


@pytest.fixture(scope="module")
def report():
    threads = torch.get_num_threads()
    result = guidelines(rounds=2, times=(1, 2), image_side=6)
    assert torch.get_num_threads() == threads
    return result


def test_nets_of_a_table_cost_the_same(report):
    for experiment in report["experiments"]:
        for width in range(2):
            madds = [row["madds"][width] for row in experiment["rows"]]
            assert max(madds) <= 1.07 * min(madds), (experiment["guideline"], madds)
        assert [b / a for a, b in (row["madds"] for row in experiment["rows"])] == pytest.approx([4] * len(madds), 0.05)


def test_multiply_adds_are_those_of_ten_blocks(report):
    positions = 6 * 6
    first = {experiment["guideline"]: experiment["rows"][0]["madds"][0] for experiment in report["experiments"]}
    assert first == {
        "G1": 10 * positions * 2 * 32 * 32,
        "G2": 10 * positions * 64 * 64,
        "G3": 10 * positions * 64 * 64,
        "G4": 10 * positions * (2 * 32 * 8 + 9 * 8 * 8),
    }


def test_every_net_keeps_the_shape_of_its_input():
    for experiment in EXPERIMENTS:
        for variant in experiment.variants:
            for times in WIDTHS:
                with torch.device("meta"):
                    net = variant.net(times)
                    channels = next(m.in_channels for m in net.modules() if isinstance(m, torch.nn.Conv2d))
                    assert net(torch.empty(1, channels, 3, 5)).shape == (1, channels, 3, 5), variant.label


def test_the_report_has_every_comparison(report):
    assert report["rounds"] == 2 and report["times"] == [1, 2]
    assert [len(experiment["pairs"]) for experiment in report["experiments"]] == [6, 6, 8, 8]
    for experiment in report["experiments"]:
        speed = {row["label"]: row["images_per_s"] for row in experiment["rows"]}
        for pair in experiment["pairs"]:
            width = report["times"].index(pair["times"])
            expected = speed[pair["faster"]][width] / speed[pair["slower"]][width]
            assert pair["ratio"] == pytest.approx(expected, rel=0.01, abs=5e-4)
            assert (
                pair["found"]
                == ("holds" if pair["ratio"] > 1.02 else "reversed" if pair["ratio"] < 1 / 1.02 else "equal")
                or abs(abs(pair["ratio"] - 1) - 0.02) < 0.001
            )  # or rounding has moved the ratio across the limit
        held = sum(pair["found"] == "holds" for pair in experiment["pairs"])
        count = len(experiment["pairs"])
        assert (f"in all {count}" if held == count else f"in {held} of {count}") in experiment["verdict"]


def test_published_figures_are_in_the_report(report):
    g1, *_ = report["experiments"]
    assert g1["rows"][0]["arm"] == [76.2, 21.7] and g1["rows"][3]["gpu"] == [748, 392]
    assert g1["pairs"][0]["published"] == pytest.approx(76.2 / 72.9, abs=1e-3)


def test_the_verdict_names_pairs_in_another_order(report):
    from lightseg.profile.guidelines import _verdict

    pair = {"faster": "1 group", "slower": "2 groups", "times": 4, "published": 1.25}
    pairs = [{**pair, "ratio": 0.5, "found": "reversed"}, {**pair, "ratio": 1.2, "found": "holds"}]
    assert _verdict(pairs).endswith(
        "in 1 of 2 comparisons; 2 groups is faster than 1 group at x4 (2.00 times; on ARM 0.80)"
    )
    assert _verdict(pairs[1:]) == "the published order holds here in all 1 comparisons"


def test_table_and_plot_show_the_figures(report):
    table = guidelines_table(report)
    for experiment in report["experiments"]:
        assert f"-> {experiment['verdict']}" in table
        for row in experiment["rows"]:
            assert f"{row['images_per_s'][0]:.1f} (" in table and row["label"] in table
    plot = guidelines_plot(report)
    assert plot.dtype == np.uint8 and plot.shape[2] == 3
    slower = copy.deepcopy(report)
    slower["experiments"][0]["rows"][1]["images_per_s"] = [
        speed / 2 for speed in slower["experiments"][0]["rows"][1]["images_per_s"]
    ]
    assert (guidelines_plot(slower) != plot).any()
