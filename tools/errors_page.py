"""docs/errors.md, by `python -m tools.errors_page`: every message of an error, its cause and its cure.

Most messages say what to do: `where: what is wrong: what to do`. The others have a line in tools/errors.yaml: words of
the message, and [cause, cure]. `python -m tools.errors_page "the line"` prints the entries of a line that was seen.
"""

import re
import sys
from itertools import groupby
from textwrap import fill
from typing import NamedTuple

import yaml

from tools.error_messages import HOLE, ROOT, Message, collect

PAGE, TABLE, TOPICS = ROOT / "docs" / "errors.md", ROOT / "tools" / "errors.yaml", ROOT / "tools" / "errors_topics.yaml"
HEAD = """\
# Error messages

Written by `python -m tools.errors_page` from the source and from `tools/errors.yaml`; do not edit.

A line that begins with `error:` is something that you can correct, and the exit code is 2. What was on disk is still
there. Search this page for a few words of your line that are neither a name, a path nor a number:
`<angle brackets>` stand for those. `<nearest names>` is `did you mean ...?`, or all names where they are few;
`<reason>` is what the operating system or another library said. In a checkout,
`python -m tools.errors_page "the line"` searches for you.

A traceback is not here: it is a bug of lightseg, or comes from another program.
"""
# The first words of the part of a message that says what to do,
CURE = re.compile(
    r"(?:choose|give|take|leave|use|set|start|run|make|remove|delete|move|add|check|export|write|put|quote|end it"
    r"|lower|raise|save|copy|restore|unset|try|train it|wait|see|to zoom|profile one|in Python call|pip install"
    r"|with udp leave)\b"
    r"|resume=<\w+> |launcher=local runs\b",
    re.IGNORECASE,
)
# or what would be right,
RIGHT = re.compile(
    r"(?:it )?must\b|mid must\b|should\b|takes\b|expected\b|a range is\b|from -?\d|a number, |transposing needs\b"
    r"|(?:a|the) [\w ]+ (?:lies in|is above|is more than)\b|it lies in\b"
)
# or offers names
NAMES = re.compile(r"did you mean|<nearest names>|choose from\b")
RULE = re.compile(
    r"(?P<cause>(?:.*: )?(?P<subject>[^:]*?)) (?P<rule>(?:must|should) (?:be|have|say|hold|differ)\b.*?)"
    r"(?:, (?:not |got )(?P<value>.*))?"
)
VALUE = re.compile(r"(?:[\w.]+: )?(\S+)(?:=| is )<[^<>]*>:")  # a cause that only repeats what was typed
PART = re.compile(r"(?<=[:;.]) ")


class Entry(NamedTuple):
    message: Message
    cause: str
    cure: str


def entries() -> list[Entry]:
    """An entry a message. ValueError naming messages without a cure, and words of the table that no message needs."""
    table: dict[str, list[str]] = yaml.safe_load(TABLE.read_text(encoding="utf-8"))
    used: set[str] = set()
    lacking: list[str] = []
    found: list[Entry] = []
    for message in collect():
        line = f"{message.file}: {message.text}"
        words = max((key for key in table if key in line), key=len, default=None)
        said = advice(message.text)
        if said is None and words is not None:
            used.add(words)
            said = table[words][0], table[words][1]
        said = said or rule(message.text)
        if said is None:
            lacking.append(line)
        else:
            found.append(Entry(message, *said))
    if lacking:
        raise ValueError("no cure in the message and no line in tools/errors.yaml:\n" + "\n".join(lacking))
    if unused := table.keys() - used:
        raise ValueError(f"tools/errors.yaml has lines that no message needs: {sorted(unused)}")
    return found


def advice(text: str) -> tuple[str, str] | None:
    """Cause and cure of a message whose end says what to do, or None."""
    parts = PART.split(text)
    for number in range(1, len(parts)):
        said, cure = " ".join(parts[:number]), " ".join(parts[number:])
        value = VALUE.fullmatch(said)
        cause = f"The value of `{value[1]}` cannot be used." if value else _quote(said)
        if NAMES.match(cure):
            return "That name or value is none of the choices.", f"Take one that the line offers: {_quote(cure)}"
        if CURE.match(cure):
            return cause, _quote(cure)
        if RIGHT.match(cure):
            return cause, _right(re.sub(", not .*", "", cure))
    return None


def rule(text: str) -> tuple[str, str] | None:
    """Cause and cure of a message that says what must be, or None."""
    said = RULE.fullmatch(text)
    if said is None:
        return None
    now = f"is {said['value']}" if said["value"] else "is something else"
    return _quote(f"{said['cause']} {now}"), _right(f"{said['subject']} {said['rule']}")


def _right(text: str) -> str:
    return f"What would be right: {_quote(text)}"


def _quote(text: str) -> str:
    """Words of a message, as Markdown shows them unchanged."""
    text = text.strip().rstrip(":;.")
    fence = "``" if "`" in text else "`"
    space = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{fence}{space}{text}{space}{fence}."


def document(found: list[Entry]) -> str:
    topics = yaml.safe_load(TOPICS.read_text(encoding="utf-8"))
    lines = [HEAD]
    placed = sorted(((_topic_of(entry.message.file, topics), entry) for entry in found), key=lambda pair: pair[0])
    for number, group in groupby(placed, key=lambda pair: pair[0]):
        lines += [f"## {topics[number]['title']}", "", fill(topics[number]["about"], 128), ""]
        files: dict[tuple[str, str, str], list[str]] = {}
        for _, (message, cause, cure) in group:
            files.setdefault((message.text, cause, cure), []).append(message.file)
        for (text, cause, cure), where in files.items():
            lines += [f"- {_quote(text)[:-1]}  ", f"  **Cause:** {cause} **Cure:** {cure} ({', '.join(where)})"]
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def _topic_of(file: str, topics: list[dict]) -> int:
    for number, topic in enumerate(topics):
        if file.startswith(tuple(topic["paths"])):
            return number
    raise ValueError(f"{file} has error messages and belongs to no topic: add its path to tools/errors_topics.yaml")


def matching(line: str, found: list[Entry]) -> list[Entry]:
    """The entries whose message `line` can be, those with most fixed words first."""
    line = " ".join(line.removeprefix("error:").split())
    fits = [entry for entry in found if _pattern(entry.message.text).search(line)]
    return sorted(fits, key=lambda entry: -len(entry.message.words))


def _pattern(text: str) -> re.Pattern[str]:
    return re.compile(".*?".join(map(re.escape, HOLE.split(text))))


def main(arguments: list[str]) -> None:
    found = entries()
    if not arguments:
        PAGE.write_text(document(found), encoding="utf-8")
        return
    for message, cause, cure in matching(" ".join(arguments), found)[:5] or sys.exit("no message fits this line"):
        print(f"{message.text}\n  cause: {cause}\n  cure:  {cure}\n  where: {message.file}")


if __name__ == "__main__":
    main(sys.argv[1:])
