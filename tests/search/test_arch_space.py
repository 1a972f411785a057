"""A base net made wider, deeper, of other kernels and expansions."""

import pytest

from lightseg.catalog.arch import Arch, Block, Conv, ConvHead, Skip, Stem
from lightseg.errors import LightsegError
from lightseg.search.arch_space import rounded, varied

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


def test_nothing_turned_is_the_base():
    assert varied(BASE, {}) == BASE
    ones = varied(BASE, {"arch.width": 1, "arch.depth": 1.0, "arch.expansion": 1.0})
    assert (ones.stem, ones.stages, ones.head) == (BASE.stem, BASE.stages, BASE.head) and ones.name == "base_w1_d1_e1"


def test_width_keeps_what_has_no_expansion_without():
    made = varied(BASE, {"arch.width": 0.5})
    assert made.stem == Stem(8) and made.name == "base_w0.5"
    assert made.stages[0] == (Block(3, 8, 8),)
    assert made.stages[1] == (Block(3, 32, 16, 2), Block(3, 40, 16))  # 12 is nearer to 16 than nine tenths allow 8
    assert made.stages[2] == (Block(5, 48, 24, 2, True), Skip(24), Block(5, 24, 24), Conv(48))
    assert [rounded(channels, 0.75) for channels in (16, 24, 40, 100)] == [16, 24, 32, 72]


def test_depth_repeats_the_last_block_of_a_stage_or_leaves_blocks_out():
    deep = varied(BASE, {"arch.depth": 1.5})
    assert [len(stage) for stage in deep.stages] == [2, 3, 4]
    assert deep.stages[0] == (Block(3, 16, 16), Block(3, 16, 16)) and deep.stages[1][2] == Block(3, 72, 24)
    shallow = varied(BASE, {"arch.depth": 0.5})
    assert [len(stage) for stage in shallow.stages] == [1, 1, 4]  # what ends the body stays
    wide = varied(BASE, {"arch.depth": 0.5, "arch.width": 2})
    assert wide.stages[2][0] == Block(5, 192, 80, 2, True)
    alone = Arch("alone", Stem(8), ((Block(3, 48, 16, 2),),), ConvHead(32))
    assert varied(alone, {"arch.depth": 2}).stages == ((Block(3, 48, 16, 2), Block(3, 48, 16)),)


def test_kernel_and_expansion_are_of_all_blocks_that_have_them():
    made = varied(BASE, {"arch.kernel": 7, "arch.expansion": 0.5})
    blocks = [block for stage in made.stages for block in stage if isinstance(block, Block)]
    assert {block.kernel for block in blocks} == {7}
    assert [block.mid for block in blocks] == [16, 32, 40, 48, 48]
    assert made.name == "base_k7_e0.5"


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
def test_values_that_make_no_net_are_one_line(values, message):
    with pytest.raises(LightsegError) as error:
        varied(BASE, values)
    assert str(error.value).startswith(message)
