"""ShuffleNetV2's four experiments at toy size: that the nets are those compared, and what is said of the figures."""

import copy

import numpy as np
import pytest
import torch

from lightseg.profile.guidelines import EXPERIMENTS, TIMES, guidelines
from lightseg.profile.guidelines_report import guidelines_picture, guidelines_table


@pytest.fixture(scope="module")
def found():
    threads = torch.get_num_threads()
    result = guidelines(rounds=2, times=(1, 2), image_side=6)
    assert torch.get_num_threads() == threads
    return result


def test_nets_of_a_table_cost_the_same(found):
    for experiment in found["experiments"]:
        for width in range(2):
            madds = [row["madds"][width] for row in experiment["rows"]]
            assert max(madds) <= 1.07 * min(madds), (experiment["guideline"], madds)
        assert [b / a for a, b in (row["madds"] for row in experiment["rows"])] == pytest.approx([4] * len(madds), 0.05)


def test_multiply_adds_are_those_of_ten_blocks(found):
    places = 6 * 6
    first = {experiment["guideline"]: experiment["rows"][0]["madds"][0] for experiment in found["experiments"]}
    assert first == {
        "G1": 10 * places * 2 * 32 * 32,
        "G2": 10 * places * 64 * 64,
        "G3": 10 * places * 64 * 64,
        "G4": 10 * places * (2 * 32 * 8 + 9 * 8 * 8),
    }


def test_every_net_gives_a_map_as_large_as_its_input():
    for experiment in EXPERIMENTS:
        for variant in experiment.variants:
            for times in TIMES:
                with torch.device("meta"):
                    net = variant.net(times)
                    channels = next(m.in_channels for m in net.modules() if isinstance(m, torch.nn.Conv2d))
                    assert net(torch.empty(1, channels, 3, 5)).shape == (1, channels, 3, 5), variant.label


def test_what_is_found_has_every_comparison(found):
    assert found["rounds"] == 2 and found["times"] == [1, 2]
    assert [len(experiment["pairs"]) for experiment in found["experiments"]] == [6, 6, 8, 8]
    for experiment in found["experiments"]:
        speed = {row["label"]: row["images_per_s"] for row in experiment["rows"]}
        for pair in experiment["pairs"]:
            width = found["times"].index(pair["times"])
            expected = speed[pair["faster"]][width] / speed[pair["slower"]][width]
            assert pair["ratio"] == pytest.approx(expected, rel=0.01)
            assert (
                pair["found"]
                == ("holds" if pair["ratio"] > 1.02 else "reversed" if pair["ratio"] < 1 / 1.02 else "equal")
                or abs(abs(pair["ratio"] - 1) - 0.02) < 0.001
            )  # a ratio that rounding has moved over the border
        held = sum(pair["found"] == "holds" for pair in experiment["pairs"])
        whole = len(experiment["pairs"])
        assert (f"in all {whole}" if held == whole else f"in {held} of {whole}") in experiment["verdict"]


def test_published_figures_stand_beside(found):
    g1, *_ = found["experiments"]
    assert g1["rows"][0]["arm"] == [76.2, 21.7] and g1["rows"][3]["gpu"] == [748, 392]
    assert g1["pairs"][0]["published"] == pytest.approx(76.2 / 72.9, abs=1e-3)


def test_a_machine_that_differs_is_named(found):
    from lightseg.profile.guidelines import _verdict

    pair = {"faster": "1 group", "slower": "2 groups", "times": 4, "published": 1.25}
    pairs = [{**pair, "ratio": 0.5, "found": "reversed"}, {**pair, "ratio": 1.2, "found": "holds"}]
    assert _verdict(pairs).endswith(
        "in 1 of 2 comparisons; 2 groups is faster than 1 group at x4 (2.00 times; on ARM 0.80)"
    )
    assert _verdict(pairs[1:]) == "the published order holds here in all 1 comparisons"


def test_table_and_picture_show_the_figures(found):
    table = guidelines_table(found)
    for experiment in found["experiments"]:
        assert f"-> {experiment['verdict']}" in table
        for row in experiment["rows"]:
            assert f"{row['images_per_s'][0]:.1f} (" in table and row["label"] in table
    picture = guidelines_picture(found)
    assert picture.dtype == np.uint8 and picture.shape[2] == 3
    faster = copy.deepcopy(found)
    faster["experiments"][0]["rows"][1]["images_per_s"] = [
        speed / 2 for speed in faster["experiments"][0]["rows"][1]["images_per_s"]
    ]
    assert (guidelines_picture(faster) != picture).any()
