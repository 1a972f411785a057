"""A base net scaled wider, deeper, of other kernels and expansions."""

import pytest

from lightseg.catalog.arch import Arch, Block, Conv, ConvHead, Skip, Stem
from lightseg.errors import LightsegError
from lightseg.search.arch_space import round_channels, scale_arch

BASE = Arch(
    "base",
    Stem(16),
    (
        (Block(3, 16, 16),),
        (Block(3, 64, 24, 2), Block(3, 72, 24)),
        (Block(5, 96, 40, 2, True), Skip(48), Block(5, 48, 48), Conv(96)),
    ),
    ConvHead(256),
)


def test_no_values_give_the_base():
    assert scale_arch(BASE, {}) == BASE
    ones = scale_arch(BASE, {"arch.width": 1, "arch.depth": 1.0, "arch.expansion": 1.0})
    assert (ones.stem, ones.stages, ones.head) == (BASE.stem, BASE.stages, BASE.head) and ones.name == "base_w1_d1_e1"


def test_width_keeps_blocks_without_expansion():
    scaled = scale_arch(BASE, {"arch.width": 0.5})
    assert scaled.stem == Stem(8) and scaled.name == "base_w0.5"
    assert scaled.stages[0] == (Block(3, 8, 8),)
    assert scaled.stages[1] == (Block(3, 32, 16, 2), Block(3, 40, 16))  # 12 gives 16, since 8 is below 0.9 of it
    assert scaled.stages[2] == (Block(5, 48, 24, 2, True), Skip(24), Block(5, 24, 24), Conv(48))
    assert [round_channels(channels, 0.75) for channels in (16, 24, 40, 100)] == [16, 24, 32, 72]


def test_depth_repeats_the_last_block_of_a_stage_or_leaves_blocks_out():
    deep = scale_arch(BASE, {"arch.depth": 1.5})
    assert [len(stage) for stage in deep.stages] == [2, 3, 4]
    assert deep.stages[0] == (Block(3, 16, 16), Block(3, 16, 16)) and deep.stages[1][2] == Block(3, 72, 24)
    shallow = scale_arch(BASE, {"arch.depth": 0.5})
    assert [len(stage) for stage in shallow.stages] == [1, 1, 4]  # the last convolution is kept
    wide = scale_arch(BASE, {"arch.depth": 0.5, "arch.width": 2})
    assert wide.stages[2][0] == Block(5, 192, 80, 2, True)
    alone = Arch("alone", Stem(8), ((Block(3, 48, 16, 2),),), ConvHead(32))
    assert scale_arch(alone, {"arch.depth": 2}).stages == ((Block(3, 48, 16, 2), Block(3, 48, 16)),)


def test_kernel_and_expansion_apply_to_all_blocks():
    scaled = scale_arch(BASE, {"arch.kernel": 7, "arch.expansion": 0.5})
    blocks = [block for stage in scaled.stages for block in stage if isinstance(block, Block)]
    assert {block.kernel for block in blocks} == {7}
    assert [block.mid for block in blocks] == [16, 32, 40, 48, 48]
    assert scaled.name == "base_k7_e0.5"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"arch.widht": 1.0}, "search.space: no key 'arch.widht': did you mean arch.width"),
        ({"arch.kernel": 4}, "stage 1, block 1: kernel 4 is even"),
        ({"arch.kernel": 3.5}, "search.space: arch.kernel=3.5: takes odd whole numbers"),
        ({"arch.width": "half"}, "search.space: arch.width=half: takes numbers above 0"),
        ({"arch.depth": 0}, "search.space: arch.depth=0: takes numbers above 0"),
        ({"arch.width": 9}, "search.space: arch.width=9: a factor of at most 8"),
    ],
)
def test_invalid_values_are_an_error_of_one_line(values, message):
    with pytest.raises(LightsegError) as error:
        scale_arch(BASE, values)
    assert str(error.value).startswith(message)
