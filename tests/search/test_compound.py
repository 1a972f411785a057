"""Grid search of compound scaling: the grid against plain loops, the costs against nets built separately."""

import pytest
import timm
import torch

from lightseg.catalog.scaling import PAPER, Coefficients, Scales, compound
from lightseg.profile import count_madds
from lightseg.search.compound import Costs, main, product_of, search
from tests.marks import slow_except

COARSE = {"budget": 2.0, "step": 0.25, "tolerance": 0.1}


@pytest.fixture(scope="module")
def costs():
    return Costs()


def madds_of_timm(scales: Scales) -> int:
    """Multiply-adds of a net that timm builds like its B1 to B7."""
    with torch.device("meta"):
        net = timm.models.efficientnet._gen_efficientnet(
            "tf_efficientnet_b0",
            channel_multiplier=scales.width,
            depth_multiplier=scales.depth,
            bn_eps=1e-3,
            pad_type="same",
        )
    return count_madds(net, (1, 3, scales.image_size, scales.image_size))


def test_the_grid_is_complete(costs):
    candidates = search(costs, **COARSE)
    quarters = [1 + i / 4 for i in range(20)]
    expected = {
        (alpha, beta, gamma)
        for alpha in quarters
        for beta in quarters
        for gamma in quarters
        if 1.9 <= alpha * beta * beta * gamma * gamma <= 2.1
    }
    assert {tuple(candidate.coefficients) for candidate in candidates} == expected
    assert len(candidates) == len(expected) > 1
    assert [abs(c.ratio - 2) for c in candidates] == sorted(abs(c.ratio - 2) for c in candidates)


@pytest.mark.slow
def test_ratios_are_those_of_the_nets(costs):
    base = madds_of_timm(Scales(1.0, 1.0, 224))
    assert base == pytest.approx(385.8e6, rel=1e-3)
    for candidate in search(costs, **COARSE):
        assert candidate.ratio == madds_of_timm(compound(1, candidate.coefficients)) / base
        assert candidate.product == product_of(candidate.coefficients)


@pytest.mark.parametrize("phi", slow_except([0.3], [-1, 0.3, 1, 2]))
def test_cached_costs_equal_those_of_separate_nets(costs, phi):
    assert costs.madds(compound(phi)) == madds_of_timm(compound(phi))


def test_equal_nets_are_built_once():
    costs = Costs()
    assert costs.madds(Scales(1.0, 1.95, 224)) == costs.madds(Scales(1.002, 2.0, 224))
    costs.madds(Scales(1.0, 2.0, 256))
    assert (len(costs._nets), len(costs._madds)) == (1, 2)


def test_the_limit_of_the_tolerance_is_included():
    costs = Costs()
    candidates = search(costs, budget=1.5, step=0.1, tolerance=0.0)
    assert Coefficients(1.5, 1.0, 1.0) in [candidate.coefficients for candidate in candidates]


@pytest.mark.slow
def test_the_command_marks_the_paper_s_choice_and_measures_at_each_phi(capsys):
    assert main(["--step", "0.05", "--tolerance", "0.001", "--budget", "1.92", "--phi", "1", "2", "--rows", "1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "385.8 M" in lines[0]
    assert lines[1].endswith("phi=2 of 3.69")
    (paper,) = [line for line in lines if line.endswith("the paper's")]
    assert paper.split()[:5] == ["1.20", "1.10", "1.15", "1.920", "256"]
    b0, at_1, at_2 = (madds_of_timm(compound(phi)) for phi in (0, 1, 2))
    assert f"{at_1 / b0:.3f} " in paper
    assert f"{at_2 / b0:.2f} {at_2 / b0 / 1.92**2 - 1:+.1%}" in paper
    assert len(lines) <= 4 and PAPER == (1.2, 1.1, 1.15)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--budget", "1"], "a budget above 1"),
        (["--step", "0"], "a step above 0"),
        (["--tolerance", "1.5"], "a tolerance from 0"),
        (["--step", "0.001"], "take a larger one"),
        (["--step", "0.9", "--tolerance", "0.01"], "take a step under 0.9"),
        (["--step", "0.25", "--rows", "1", "--phi", "30"], "phi=30"),
        (["--step", "1", "--rows", "1", "--phi", "11"], "depth must be above 0 and at most 8"),
    ],
)
def test_invalid_arguments_are_an_error_of_one_line(arguments, message, capsys):
    assert main(arguments) == 2
    output = capsys.readouterr()
    assert message in output.err and output.err.count("\n") == 1 and output.out == ""
