"""docs/errors.md has every message of an error, with cause and cure, and lines that were seen lead to theirs."""

from pathlib import Path

import pytest
import yaml

from lightseg.commands.train import main as train
from tools import errors_page
from tools.error_messages import Message, collect
from tools.errors_page import PAGE, TABLE, advice, document, entries, matching, rule


@pytest.fixture(scope="module")
def found() -> list[errors_page.Entry]:
    """Fails with the messages that say no cure and have no line in tools/errors.yaml."""
    return entries()


def test_the_page_is_what_the_source_says(found):
    assert PAGE.read_text(encoding="utf-8") == document(found), "run python -m tools.errors_page"


def test_a_message_without_a_cure_and_a_line_without_a_message_fail(found, monkeypatch):
    messages = [entry.message for entry in found]
    strange = Message("lightseg/config/new.py", "the moon is <color> today")
    monkeypatch.setattr(errors_page, "collect", lambda: [*messages, strange])
    with pytest.raises(ValueError, match=r"no cure in the message .*\nlightseg/config/new.py: the moon is"):
        entries()
    monkeypatch.setattr(errors_page, "collect", lambda: messages[:20])
    with pytest.raises(ValueError, match="has lines that no message needs"):
        entries()


def test_messages_are_read_from_the_code(tmp_path):
    (tmp_path / "lightseg").mkdir()
    (tmp_path / "lightseg" / "a.py").write_text(
        'KEY = "data.new"\n'
        "class Odd(LightsegError): ...\n"
        "def word(name): return f'no word {name!r}' if name else 'no word at all'\n"
        "def f(path, names, error):\n"
        "    raise Odd(f'{KEY}={path.name}: choose from {\", \".join(names)}')\n"
        "def g(path, error):\n"
        "    where = 'the left' if path else f'side {path}'\n"
        "    raise LightsegError(f'{where} hand: {nearest(path, [])}') from error\n"
        "def h(error): return LightsegError(word(error))\n"
        "def i(error): raise LightsegError(f'{error}')\n"
        "def j(error): raise ValueError('not ours')\n"
    )
    (tmp_path / "tasks").mkdir()
    assert [message.text for message in collect(tmp_path)] == [
        "data.new=<name>: choose from <names>",
        "the left hand: <nearest names>",
        "side <path> hand: <nearest names>",
        "no word <name>",
        "no word at all",
    ]


def test_causes_and_cures_are_the_parts_of_a_message():
    assert advice("<path> has <n> colors; give one a class") == ("`<path> has <n> colors`.", "`give one a class`.")
    assert advice("data.seed=<seed>: give 1 or more") == (
        "The value of `data.seed` cannot be used.",
        "`give 1 or more`.",
    )
    assert advice("head.name=<name>: <nearest names>") is not None
    assert advice("<path>: the file is empty") is None and rule("<path>: the file is empty") is None
    assert rule("<where>: stride must be 1 or 2, not <stride>") == (
        "`<where>: stride is <stride>`.",
        "What would be right: `stride must be 1 or 2`.",
    )


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["head.name=lrasp"], "head.name=<name> (task=<name>): <nearest names>"),
        (["ckpt=/nowhere/best.ckpt", "mode=test"], "ckpt=<checkpoint>: no such file"),
        (["resume=/nowhere"], "resume=<folder>: no run folder (there is no <folder>)"),
    ],
)
def test_a_line_that_was_seen_leads_to_its_entry(found, capsys, words, text):
    assert train(words) == 2
    assert matching(capsys.readouterr().err, found)[0].message.text == text


def test_the_table_has_a_line_an_entry_and_whole_sentences():
    text = TABLE.read_text(encoding="utf-8")
    table = yaml.safe_load(text)
    assert len(table) == sum(line.startswith('"') for line in text.splitlines())  # no key twice
    for words, (cause, cure) in table.items():
        assert cause.endswith((".", "?")) and cure.endswith("."), words


def test_every_file_and_page_that_it_names_is_there():
    root = Path(errors_page.ROOT)
    for topic in yaml.safe_load(errors_page.TOPICS.read_text(encoding="utf-8")):
        assert all((root / path).exists() for path in topic["paths"]), topic["title"]
