"""Architectures as files: a written file reads back as the same net, and errors are one line with the position."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from lightseg.backbones.fbnet_tables import ARCHS
from lightseg.catalog.arch import Arch, Block, Conv, ConvHead, IRPoolHead, PoolHead, Skip, Stem, check_arch, levels
from lightseg.catalog.arch_yaml import read_arch as read
from lightseg.catalog.arch_yaml import write_arch as write
from lightseg.errors import LightsegError

TINY = Arch(
    "tiny",
    Stem(8, "hswish"),
    (
        (Skip(8),),
        (Block(3, 48, 24, 2, True, "hswish"), Block(5, 24, 24, groups=2), Skip(24)),
        (Skip(32, 2), Block(7, 96, 40)),
    ),
    IRPoolHead(96, 160),
    input_size=96,
)
V3_END = replace(  # ends as MobileNetV3 does
    TINY,
    name="v3_end",
    stages=(*TINY.stages, (Conv(64, act="relu6"),)),
    head=PoolHead(80),
    se_relu=True,
    pixels="inception",
)
TEXT = """\
name: tiny
stem: {out: 8}
stages:
- - {kernel: 3, mid: 8, out: 8}
- - {kernel: 3, mid: 48, out: 24, stride: 2}
  - {kernel: 5, mid: 24, out: 24, groups: 2}
head: {kind: conv, out: 64}
"""


@pytest.mark.parametrize(
    "arch", [*ARCHS, TINY, V3_END, replace(TINY, name="1.5"), replace(TINY, name="true")], ids=lambda a: a.name
)
def test_a_written_file_reads_back_as_the_same_net(arch, tmp_path):
    path = tmp_path / "arch.yaml"
    write(arch, path)
    assert read(path) == arch
    assert read(str(path)) == arch
    write(read(path), tmp_path / "again.yaml")
    assert (tmp_path / "again.yaml").read_bytes() == path.read_bytes()


def test_the_file_has_a_line_per_block_without_defaults(tmp_path):
    path = tmp_path / "arch.yaml"
    write(TINY, path)
    lines = path.read_text().splitlines()
    assert [line for line in lines if not line.startswith("#")] == [
        "name: tiny",
        "input_size: 96",
        "conv_bias: false",
        "stem: {out: 8, act: hswish}",
        "stages:",
        "- # stage 1, stride 2",
        "  - {op: skip, out: 8}",
        "- # stage 2, stride 4",
        "  - {kernel: 3, mid: 48, out: 24, stride: 2, se: true, act: hswish}",
        "  - {kernel: 5, mid: 24, out: 24, groups: 2}",
        "  - {op: skip, out: 24}",
        "- # stage 3, stride 8",
        "  - {op: skip, out: 32, stride: 2}",
        "  - {kernel: 7, mid: 96, out: 40}",
        "head: {kind: irpool, mid: 96, out: 160}",
    ]
    assert max(map(len, lines)) <= 120


def test_a_file_may_leave_out_defaults(tmp_path):
    path = tmp_path / "arch.yaml"
    path.write_text(TEXT)
    assert read(path) == Arch(
        "tiny",
        Stem(8),
        ((Block(3, 8, 8),), (Block(3, 48, 24, 2), Block(5, 24, 24, groups=2))),
        ConvHead(64),
        input_size=224,
        conv_bias=False,
    )


def test_levels_are_the_last_stages_of_their_stride():
    assert levels(TINY) == ((0, 8, 2), (1, 24, 4), (2, 40, 8))
    a = next(arch for arch in ARCHS if arch.name == "fbnet_a")
    assert levels(a) == ((0, 16, 2), (1, 24, 4), (2, 32, 8), (4, 112, 16), (6, 352, 32))
    assert levels(replace(TINY, stages=TINY.stages[1:]))[:2] == ((-1, 8, 2), (0, 24, 4))  # the stem's own map


CHANGED = [  # (text of TEXT, its replacement, the message after the file's name)
    ("name: tiny", "name: ../tiny", "name '../tiny' may have letters, digits, '_', '.' and '-' alone"),
    ("name: tiny", "name: 7", "name should be a word, not 7"),
    ("name: tiny", "nam: tiny", "unknown key 'nam': did you mean name?"),
    ("name: tiny\n", "", "name is missing"),
    ("name: tiny", "name: tiny\ninput_size: big", "input_size should be a whole number, not 'big'"),
    ("name: tiny", "name: tiny\ninput_size: 0", "input_size must be 16 to 4096, not 0"),
    ("name: tiny", "name: tiny\nconv_bias: 1", "conv_bias should be true or false, not 1"),
    ("{out: 8}", "8", "stem: should have the keys out, act, not be 8"),
    ("{out: 8}", "{out: -8}", "stem: out must be 1 to 16384, not -8"),
    ("{out: 8}", "{out: 8, act: swish}", "stem: unknown act 'swish': did you mean hswish?"),
    ("{out: 8}", "{out: 8, stride: 1}", "stem: unknown key 'stride': choose from out, act"),
    ("kernel: 5", "kernal: 5", "stage 2, block 2: unknown key 'kernal': did you mean kernel?"),
    ("kernel: 5", "kernel: 4", "stage 2, block 2: kernel 4 is even: take an odd one, such as 5"),
    ("kernel: 5", "kernel: 33", "stage 2, block 2: kernel must be 1 to 31, not 33"),
    ("kernel: 5", "kernel: 5x5", "stage 2, block 2: kernel should be a whole number, not '5x5'"),
    ("kernel: 5", "kernel: true", "stage 2, block 2: kernel should be a whole number, not True"),
    ("kernel: 5, ", "", "stage 2, block 2: kernel is missing"),
    ("kernel: 5", "kernel: 5, se: 1", "stage 2, block 2: se should be true or false, not 1"),
    ("kernel: 5", "kernel: 5, act: gelu", "stage 2, block 2: unknown act 'gelu': did you mean relu, relu6?"),
    ("kernel: 5", "kernel: 5, act: [relu]", "stage 2, block 2: unknown act a list: choose from relu, hswish, relu6"),
    ("kernel: 5", "op: sepconv, kernel: 5", "stage 2, block 2: unknown op 'sepconv': did you mean conv?"),
    ("kernel: 5", "op: [ir], kernel: 5", "stage 2, block 2: unknown op a list: choose from ir, skip, conv"),
    ("kernel: 5", "op: skip, kernel: 5", "stage 2, block 2: unknown key 'kernel': choose from op, out, stride"),
    ("kernel: 5", "kernel: 5, 3: 4", "stage 2, block 2: unknown key 3: "),
    ("mid: 24, out: 24", "mid: 0, out: 24", "stage 2, block 2: mid must be 1 to 16384, not 0"),
    ("mid: 24, out: 24", "mid: 24, out: 99999", "stage 2, block 2: out must be 1 to 16384, not 99999"),
    (
        "mid: 24, out: 24",
        "mid: 72, out: 24",
        "stage 2, block 2: with groups 2 there is no expansion: mid must be the 24 channels that come in, not 72",
    ),
    ("mid: 24, out: 24", "mid: 24, out: 25", "stage 2, block 2: out 25 is not divisible by groups 2"),
    ("groups: 2", "groups: 5", "stage 2, block 2: mid 24 is not divisible by groups 5"),
    ("groups: 2", "groups: 0", "stage 2, block 2: groups must be 1 to 16384, not 0"),
    ("groups: 2", "stride: 2", "stage 2, block 2: stride 2 inside a stage: start a new stage here"),
    ("stride: 2", "stride: 3", "stage 2, block 1: stride must be 1 or 2, not 3"),
    ("head:", "- " * 2 + "{op: skip, out: 9, stride: 2}\n" + ("- - {op: skip, out: 9, stride: 2}\n" * 3) + "head:",
     "stage 6: stride 64 in all, and a pyramid ends at 32"),
    ("head:", "- []\nhead:", "stage 3: it has no blocks"),
    ("head:", "-\nhead:", "stage 3: should be a list of blocks, not None"),
    ("head:", "- {op: skip, out: 24}\nhead:", "stage 3: should be a list of blocks, not a mapping"),
    ("- - {kernel: 3, mid: 8, out: 8}", "- - 5",
     "stage 1, block 1: should have the keys op, kernel, mid, out, stride, se, act, groups, not be 5"),
    ("kind: conv", "kind: fc", "head: unknown kind 'fc': choose from conv, irpool, pool"),
    ("kind: conv", "kind: irpool", "head: mid is missing"),
    ("out: 64", "out: 0", "head: out must be 1 to 16384, not 0"),
    ("out: 64", "out: 64, mid: 9", "head: unknown key 'mid': did you mean kind?"),
    ("name: tiny", "name: tiny\npixels: caffe", "unknown pixels 'caffe': choose from imagenet, inception"),
    ("kind: conv", "kind: pool, act: gelu", "head: unknown act 'gelu': did you mean relu, relu6?"),
]  # fmt: skip
# 2 kB of nested aliases, 10^60 items when expanded
BOMB = b"- &a0 [x]\n" + b"".join(b"- &a%d [%s]\n" % (i + 1, b", ".join([b"*a%d" % i] * 10)) for i in range(60))
INVALID_FILES = [  # (the content, the message after the file's name)
    (b"", ": should have the keys name, stem, stages, head, input_size, conv_bias, se_relu, pixels, not be None"),
    (b"[1]", ": should have the keys name, stem, stages, head, input_size, conv_bias, se_relu, pixels, not be a list"),
    (b"a: b: c", " is not YAML: line 1, column 5: mapping values are not allowed here"),
    (b"name: tiny\nstages: [\n", " is not YAML: line 3, column 1: "),
    (b"\xff\xfe\x00", " is not YAML: "),
    (b"name: 2001-99-99", " is not YAML: month must be in 1..12"),
    (b"name: tiny\nstem: {out: 0x" + b"f" * 9000 + b"}\nstages: []\nhead: {out: 8}", ": Exceeds the limit"),
    (b"[" * 5000, " is not YAML: "),
    (b"name: !!python/object/apply:os.system [touch owned]", " is not YAML: line 1, column 7: could not determine"),
    (BOMB, ": should have the keys name, stem, stages, head, input_size, conv_bias, se_relu, pixels, not be a list"),
    (b"# " + b"a" * 300_000, " is no architecture: it has over 200 kB"),
]  # fmt: skip


def refusal(path: Path) -> str:
    with pytest.raises(LightsegError) as caught:
        read(path)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(str(path))
    return message.removeprefix(str(path))


@pytest.mark.parametrize(("old", "new", "message"), CHANGED)
def test_an_error_in_a_file_is_one_line_with_its_position(old, new, message, tmp_path):
    assert TEXT.count(old) == 1 or old == "{out: 8}"
    path = tmp_path / "arch.yaml"
    path.write_text(TEXT.replace(old, new, 1))
    line = refusal(path)
    assert line.startswith(f": {message}")
    assert line == f": {message}" or message.endswith(" ")


def test_no_stages(tmp_path):
    path = tmp_path / "arch.yaml"
    for stages, message in (
        ([], "stages: there are none"),
        (None, "stages: should be a list of stages, each a list of blocks, not None"),
        ("x" * 60, f"stages: should be a list of stages, each a list of blocks, not '{'x' * 36}..."),
    ):
        path.write_text(yaml.safe_dump({**yaml.safe_load(TEXT), "stages": stages}))
        assert refusal(path) == f": {message}"


@pytest.mark.parametrize(("content", "message"), INVALID_FILES, ids=range(len(INVALID_FILES)))
def test_files_that_are_no_architecture(content, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "arch.yaml"
    path.write_bytes(content)
    assert refusal(path).startswith(message)
    assert [file.name for file in tmp_path.iterdir()] == ["arch.yaml"]  # nothing in it has run


def test_paths_that_cannot_be_read_or_written(tmp_path):
    assert refusal(tmp_path / "none.yaml") == ": cannot be read (No such file or directory)"
    assert refusal(tmp_path) == ": cannot be read (Is a directory)"
    with pytest.raises(LightsegError, match=r"none.arch\.yaml: cannot be written \(No such file or directory\)"):
        write(TINY, tmp_path / "none" / "arch.yaml")


def test_an_invalid_net_is_not_written(tmp_path):
    wrong = replace(TINY, stages=(*TINY.stages, (Block(4, 40, 40),)))
    with pytest.raises(LightsegError, match="stage 4, block 1: kernel 4 is even"):
        check_arch(wrong)
    with pytest.raises(LightsegError, match="stage 4, block 1: kernel 4 is even"):
        write(wrong, tmp_path / "arch.yaml")
    assert not (tmp_path / "arch.yaml").exists()


def test_a_file_is_read_without_torch_and_timm(tmp_path):
    """Configurations are checked before either is loaded."""
    write(TINY, tmp_path / "arch.yaml")
    script = (
        "import sys; from lightseg.catalog.arch_yaml import read_arch\n"
        "print(read_arch(sys.argv[1]).name, *(m for m in ('torch', 'timm', 'numpy') if m in sys.modules))\n"
    )
    command = [sys.executable, "-c", script, tmp_path / "arch.yaml"]
    done = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["tiny"]
