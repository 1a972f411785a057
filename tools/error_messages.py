"""Every message of a `LightsegError` in the source, read by Python's parser, as text with names for what varies."""

import ast
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice, product
from pathlib import Path

ROOT = Path(__file__).parents[1]
FOLDERS = ("lightseg", "tasks")
BASE = "LightsegError"
HOLE = re.compile(r"<[^<>]*>")
# The last word of an expression that says nothing to a reader, and what stands for it
NAMES = {
    "error": "reason",
    "__name__": "reason",
    "strerror": "reason",
    "one_line": "reason",
    "nearest": "nearest names",
    "shorten": "names",
    "short_repr": "value",
    "printable": "folder",
}
SILENT = {"str", "map", "sorted", "list", "tuple", "set", "len", "min", "max", "next", "iter", "type"}  # say nothing
MOST = 6  # texts of a message
TEXT = (ast.Constant, ast.JoinedStr, ast.IfExp)
Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True, order=True)
class Message:
    """file: relative to the repository. text: what varies is a name in angle brackets."""

    file: str
    text: str

    @property
    def words(self) -> list[str]:
        """The fixed words."""
        return re.findall(r"[A-Za-z&]{3,}", HOLE.sub(" ", self.text))


def collect(root: Path = ROOT) -> list[Message]:
    """The messages in the order of files and lines, each text once a file. Those without words of their own are left
    out: they pass on another message."""
    sources = {path: ast.parse(path.read_text(encoding="utf-8")) for path in _files(root)}
    classes, functions = _definitions(sources.values())
    kinds = _error_kinds(classes)
    found: dict[Message, None] = {}
    for path, tree in sources.items():
        reader = _Reader(tree, functions)
        for function, call in _calls(tree, kinds, tree):
            for text in reader.texts(call.args[0], function):
                message = Message(path.relative_to(root).as_posix(), " ".join(text.split()))
                if message.words:
                    found[message] = None
    return list(found)


def _files(root: Path) -> list[Path]:
    return [path for folder in FOLDERS for path in sorted((root / folder).rglob("*.py"))]


def _definitions(trees: Iterable[ast.Module]) -> tuple[dict[str, set[str]], dict[str, list[Function]]]:
    """The base classes of every class, and the functions of every name."""
    classes: dict[str, set[str]] = {}
    functions: dict[str, list[Function]] = defaultdict(list)
    for tree in trees:
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                classes[node.name] = {_last_name(base) for base in node.bases}
            elif isinstance(node, Function):
                functions[node.name].append(node)
    return classes, functions


def _error_kinds(classes: dict[str, set[str]]) -> set[str]:
    """`LightsegError` and the classes that inherit from it."""
    kinds = {BASE}
    while more := {name for name, above in classes.items() if above & kinds} - kinds:
        kinds |= more
    return kinds


def _calls(node: ast.AST, kinds: set[str], scope: ast.AST) -> Iterator[tuple[ast.AST, ast.Call]]:
    """Each error that is made below a node, in the order of lines, with the function around it."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Call) and child.args and _last_name(child.func) in kinds:
            yield scope, child
        yield from _calls(child, kinds, child if isinstance(child, Function) else scope)


def _last_name(node: ast.AST) -> str:
    return node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""


class _Reader:
    """Reads the expression of a message as the texts that it can be."""

    def __init__(self, tree: ast.Module, functions: dict[str, list[Function]]) -> None:
        self.functions = functions
        self.constants = {
            target.id: node.value
            for node in tree.body
            if isinstance(node, ast.Assign)
            for target in node.targets
            if isinstance(target, ast.Name) and target.id.isupper()
        }

    def texts(self, node: ast.AST, scope: ast.AST, depth: int = 0) -> list[str]:
        if depth > 4:
            return ["<text>"]
        if isinstance(node, ast.Constant):
            return [str(node.value)]
        if isinstance(node, ast.JoinedStr):
            parts = [self._part(part, scope, depth) for part in node.values]
            return ["".join(choice) for choice in islice(product(*parts), MOST)]
        if isinstance(node, ast.IfExp):
            return self.texts(node.body, scope, depth) + self.texts(node.orelse, scope, depth)
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
            return [self.texts(node.left, scope, depth)[0] + self.texts(node.right, scope, depth)[0]]
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):
            return self.texts(node.left, scope, depth)
        if isinstance(node, ast.Name):
            return self._assigned(node.id, scope, depth) or [f"<{_name(node)}>"]
        if isinstance(node, ast.Call):
            if _last_name(node.func) == "format" and isinstance(node.func, ast.Attribute):
                (template,) = self.texts(node.func.value, scope, depth)
                return [re.sub(r"\{(\w*)[^}]*\}", lambda hole: f"<{hole[1] or 'name'}>", template)]
            return self._returned(_last_name(node.func), depth) or [f"<{_name(node)}>"]
        return [f"<{_name(node)}>"]

    def _part(self, part: ast.AST, scope: ast.AST, depth: int) -> list[str]:
        """A piece of an f-string. What is made of text here is read too."""
        value = part.value if isinstance(part, ast.FormattedValue) else part
        if isinstance(value, TEXT) and not isinstance(part, ast.Constant):
            return self.texts(value, scope, depth + 1)
        if isinstance(value, ast.Name) and (texts := self._assigned(value.id, scope, depth, only_text=True)):
            return texts
        called = value.func if isinstance(value, ast.Call) else None
        if isinstance(called, ast.Name) and (texts := self._returned(called.id, depth, only_text=True)):
            return texts
        return [str(value.value)] if isinstance(value, ast.Constant) else [f"<{_name(value)}>"]

    def _assigned(self, name: str, scope: ast.AST, depth: int, only_text: bool = False) -> list[str]:
        """What a variable of the function, or a constant of the module, is set to."""
        values = (
            [self.constants[name]]
            if name in self.constants
            else [
                node.value
                for node in ast.walk(scope)
                if isinstance(node, ast.Assign) and any(_last_name(target) == name for target in node.targets)
            ]
        )
        if only_text and not all(isinstance(value, TEXT) for value in values):
            return []
        return [text for value in values for text in self.texts(value, scope, depth + 1)]

    def _returned(self, name: str, depth: int, only_text: bool = False) -> list[str]:
        """What a function of this name returns, where there is only one."""
        if len(self.functions.get(name, [])) != 1 or name in NAMES:
            return []
        (function,) = self.functions[name]
        returns = [node.value for node in ast.walk(function) if isinstance(node, ast.Return) and node.value]
        if only_text and not all(isinstance(value, TEXT) for value in returns):
            return []
        return [text for value in returns for text in self.texts(value, function, depth + 1)]


def _name(node: ast.AST) -> str:
    """A word for what varies: the last name in its expression that says something."""
    if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant) and isinstance(node.slice.value, str):
        return node.slice.value
    if isinstance(node, ast.Call):
        name = _last_name(node.func)
        if name in NAMES:
            return NAMES[name]
        inside = [*node.args, node.func.value if isinstance(node.func, ast.Attribute) else None]
        return next((word for part in inside if part and (word := _name(part)) != "…"), "…")
    if isinstance(node, ast.Attribute | ast.Name):
        word = NAMES.get(_last_name(node), _last_name(node).strip("_").replace("_", " ").lower())
        return "…" if word in SILENT else word
    children = [child for child in ast.iter_child_nodes(node) if isinstance(child, ast.expr)]
    return next((word for child in children if (word := _name(child)) != "…"), "…")
