"""Values as they are typed: on the command line and in the files of users.

The domain of a key decides how a text is read. Where it is text (names, paths), the text is the value: `010`, `no`,
`1e5`, `#1` and `2026-11-30` stay what they are. Elsewhere it is YAML with the numbers of YAML 1.2: `1e-3` is a number,
`010` is 10.
"""

import re
from collections.abc import Iterable
from typing import Any

import yaml

from lightseg.config.domain import Domain
from lightseg.config.domains import PARENTS, domains_of

NULLS = ("", "null", "Null", "NULL", "None", "~")
SWITCHES = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}


class Loader(yaml.SafeLoader):
    """YAML whose plain scalars are null, true, false, decimal numbers, or text."""

    yaml_implicit_resolvers: dict[str, list[Any]] = {}


def _construct_int(loader: Loader, node: yaml.ScalarNode) -> int:
    return int(node.value)


for _tag, _pattern, _first in (
    ("null", r"~|null|Null|NULL|None|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?[0-9][0-9_]*", list("-+0123456789")),
    ("float", r"[-+]?(\.[0-9]+|[0-9][0-9_]*(\.[0-9_]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
     list("-+.0123456789")),
):  # fmt: skip
    Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"^(?:{_pattern})$"), _first)
Loader.add_constructor("tag:yaml.org,2002:int", _construct_int)


class Unread(str):
    """The text of a key that the table lacks: the key's default decides how it is read."""

    def read(self, default: Any) -> Any:
        if isinstance(default, str) and _unquoted(self) is None and self not in NULLS:
            return str(self)
        if isinstance(default, bool) and self.lower() in SWITCHES:
            return SWITCHES[self.lower()]
        return None if self in NULLS else _read(self)


def parse(key: str, text: str) -> Any:
    """The value that `text` means for a dotted key. Raises yaml.YAMLError for text that is no YAML."""
    text = _with_backslashes(text)
    alternatives = [part for domain in domains_of(key) for part in domain.alternatives()]
    if not alternatives and key not in PARENTS:
        _read(text)
        return Unread(text)
    if text in NULLS and not (text == "~" and any(part.is_path for part in alternatives)):
        return None
    quoted = _unquoted(text)
    if alternatives and all(part.is_text for part in alternatives) and not text.startswith("{"):
        return text if quoted is None else quoted
    if text.lower() in SWITCHES and any(part.is_switch for part in alternatives):
        return SWITCHES[text.lower()]
    words = any(part.is_text and part.fits(text) for part in alternatives)
    try:
        value = _read(text)
    except yaml.YAMLError:
        if (names := _names(text, alternatives)) is not None:
            return names
        if words:
            return text
        raise
    if quoted is not None and not words:
        value = _read(quoted)
    if isinstance(value, dict) and key in PARENTS:
        return keep_text(value, yaml.compose(text, Loader=yaml.SafeLoader), key)
    if not alternatives or any(part.fits(value) for part in alternatives):
        return value
    if (names := _names(text, alternatives)) is not None:
        return names
    return text if words else value


def _with_backslashes(text: str) -> str:
    """`{group: "(.*)_\\d+"}` with the backslashes of its pattern, which are no escapes that YAML knows."""
    if text[:1] not in ("{", "[", '"') or "\\" not in text:
        return text
    try:
        yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.scanner.ScannerError:
        return text.replace("\\", "\\\\")
    except yaml.YAMLError:
        pass
    return text


def split_values(text: str) -> list[str]:
    """Split at commas outside brackets, braces and quotes: `[1,2],[3,4]` is two lists of two."""
    parts, start, depth, quote, before = [], 0, 0, "", ","
    for position, letter in enumerate(text):
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "\"'" and before in ",[{:":  # elsewhere it is an apostrophe
            quote = letter
        elif letter in "[{":
            depth += 1
        elif letter in "]}":
            depth -= 1
        elif letter == "," and depth == 0:
            parts.append(text[start:position])
            start = position + 1
        before = before if letter == " " else letter
    return [part.strip() for part in (*parts, text[start:])]


def keep_text(value: Any, node: yaml.Node, key: str) -> Any:
    """A value of a file, with the text that was typed where the key's domain is text. node: what `value` was read from.

    key: dotted, "" for the file itself.
    """
    if isinstance(node, yaml.MappingNode) and isinstance(value, dict) and len(value) == len(node.value):
        prefix = f"{key}." if key else ""
        is_names = any(part.fits({}) for domain in domains_of(key) for part in domain.alternatives())
        return {
            (name_node.value if is_names else name): keep_text(inner, inner_node, f"{prefix}{name_node.value}")
            for (name, inner), (name_node, inner_node) in zip(value.items(), node.value, strict=True)
        }
    alternatives = [part for domain in domains_of(key) for part in domain.alternatives()]
    if isinstance(node, yaml.ScalarNode) and node.style is None and not isinstance(value, dict | None):
        return _scalar(value, node.value, alternatives)
    if isinstance(node, yaml.SequenceNode) and isinstance(value, list):
        items = [part.items for part in alternatives if part.items is not None]
        return [
            _scalar(inner, item.value, items) if isinstance(item, yaml.ScalarNode) and item.style is None else inner
            for inner, item in zip(value, node.value, strict=True)
        ]
    return value


def _scalar(value: Any, text: str, alternatives: Iterable[Domain]) -> Any:
    parts = list(alternatives)
    if text == "None" and any(part.fits(None) for part in parts):
        return None
    if text.lower() in SWITCHES and any(part.is_switch for part in parts):
        return SWITCHES[text.lower()]
    if not isinstance(value, bool | str):
        value = _read(text)  # 010 is 10 and not 8
    if isinstance(value, str) or any(part.fits(value) for part in parts):
        return value
    return text if any(part.is_text and part.fits(text) for part in parts) else value


def _read(text: str) -> Any:
    loader = Loader(text)
    try:
        return loader.get_single_data()
    finally:
        loader.dispose()


def _unquoted(text: str) -> str | None:
    """The content of a text in quotes, None for another text."""
    if len(text) < 2 or text[0] not in "\"'" or text[-1] != text[0]:
        return None
    try:
        value = _read(text)
    except yaml.YAMLError:
        return None
    return value if isinstance(value, str) else None


def _names(text: str, alternatives: Iterable[Domain]) -> list[str] | None:
    """The items of `[no, yes]` as text, for a key whose domain has a list of texts."""
    if not any(part.items is not None and part.items.is_text for part in alternatives):
        return None
    if not (text.startswith("[") and text.endswith("]")):
        return None
    items = [] if text[1:-1].strip() == "" else split_values(text[1:-1])
    return [item if (quoted := _unquoted(item)) is None else quoted for item in items]
