"""Search spaces as files: their choices, and errors of one line."""

import pytest

from lightseg.catalog.search_space import Slot
from lightseg.catalog.spaces import parse_space, read_space
from lightseg.errors import LightsegError
from tests.search.tiny_space import TINY


def test_choices_of_a_file():
    space = parse_space(TINY, "tiny.yaml")
    assert [len(stage) for stage in space.stages] == [1, 3, 1, 1, 1]
    first, second, third = space.stages[1]
    assert first == Slot((8, 12), (1, 2), (3, 5), (False, True), ("relu", "hswish"), stride=2)
    assert second == third and second.skip and second.stride == 1
    assert space.stages[2][0].out == (12, 16, 20) and space.stages[2][0].expand == (1.5, 3.0)
    assert space.nets() == 3 * 4 * 4 * 32 * (3 * 4) ** 2 * (3 * 7) * 8 * 3
    assert [space.mid(12, e) for e in (0.1, 0.75, 1, 1.5)] == [4, 8, 12, 20]
    assert parse_space(space.content, "again") == space


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("divisor: 4", "divisor: 8", "stem: out 4 is not divisible by the divisor 8: take 8 or 16"),
        ("from: 12, to: 20, step: 4", "from: 12, to: 20, step: 3", "stage 3, block 1: out 15 is not divisible"),
        ("from: 12, to: 20, step: 4", "from: 12, to: 20, step: 0", "from 12 to 20 by 0 are not"),
        ("from: 12, to: 20, step: 4", "from: 12, to: 20", "out: step is missing"),
        ("divisor: 4", "divisor: four", "divisor should be a whole number"),
        ("kernel: [3, 5, 7]", "kernel: [3, 4]", "stage 3, block 1: kernel 4 is even"),
        ("kernel: [3, 5, 7]", "kernels: [3, 4]", "stage 3, block 1: unknown key 'kernels': did you mean kernel"),
        ("act: hswish, skip", "act: swish, skip", "stage 2, block 2: act: unknown 'swish'"),
        ("se: true, act", "se: maybe, act", "se should be true or false, not 'maybe'"),
        ("expand: [1, 2, 3]", "expand: [1, -2]", "expand must be 0.1 to 32, not -2"),
        ("expand: [1, 2, 3]", "expand: []", "expand: give 1 to 64 choices, not 0"),
        ("expand: [1, 2, 3]", "expand: [1, 1.0]", "expand has one choice twice"),
        ("expand: [1, 2, 3]", "expand: [.nan]", "expand must be 0.1 to 32, not nan"),
        ("skip: true, repeat: 2", "skip: true, stride: 2", "stride 2 inside a stage: start a new stage here"),
        ("repeat: 2", "repeat: 0", "repeat should be a whole number from 1 to 100"),
        ("stem: {out: [4, 8], ", "stem: {", "stem: out is missing"),
        ("input_sizes: [48, 64, 96]", "input_sizes: 9.5", "input_sizes should be whole numbers, not 9.5"),
        ("head: {kind: conv, out: 32}", "head: {kind: conv, out: [32, 64]}", "head: its widths are not searched"),
        ("head: {kind: conv, out: 32}", "head: {kind: gem}", "head: unknown kind 'gem'"),
        ("name: tiny", "name: a/b", "name 'a/b' may have letters"),
        ("name: tiny", "name: [", "is not YAML: line"),
        ("name: tiny", "name: !!python/object:os.system x", "is not YAML"),
    ],
)
def test_errors_in_a_file(old, new, message):
    assert old in TINY
    with pytest.raises(LightsegError) as error:
        parse_space(TINY.replace(old, new), "tiny.yaml")
    assert message in str(error.value) and str(error.value).startswith("tiny.yaml") and "\n" not in str(error.value)


def test_missing_and_too_large_files(tmp_path):
    for name, message in (
        ("dmasking_fbnetv2_x", "did you mean dmasking_fbnetv2"),
        (f"{tmp_path}/a.yaml", "No such file"),
    ):
        with pytest.raises(LightsegError, match=message):
            read_space(name)
    (tmp_path / "big.yaml").write_text("a" * 300_000)
    with pytest.raises(LightsegError, match="over 200 kB"):
        read_space(str(tmp_path / "big.yaml"))
