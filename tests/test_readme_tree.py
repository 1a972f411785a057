"""The tree in the README against the disk: what it names exists, and every room and module of the library is named."""

import re
from pathlib import Path

from lightseg.catalog.tasks import TASKS

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PATH = re.compile(r"(?:\w+/|\w+\.(?:py|yaml))(?= |$|[,;:.)])")  # `search_spaces/` and `train.yaml`


def tree() -> dict[str, str]:
    """Path -> the rest of its line, for every line of the tree."""
    match = re.search(r"## The tree\n\n```\n(.*?)```", README, re.DOTALL)
    assert match is not None
    paths: dict[str, str] = {}
    parents: list[str] = []
    for line in match[1].splitlines():
        name, _, text = line.strip().partition(" ")
        depth = (len(line) - len(line.lstrip())) // 2
        parents[depth:] = [name]
        paths["".join(parents)] = text.strip()
    return paths


TREE = tree()


def named() -> set[str]:
    """The path of every line, and the files and folders that its text names, in the folder or beside the file."""
    found = set(TREE)
    for path, text in TREE.items():
        folder = path if path.endswith("/") else path[: path.rfind("/") + 1]
        found |= {folder + name for name in PATH.findall(text)}
    return found


def packages(top: str) -> set[str]:
    """`tasks/`, `tasks/run/`, ...: the folders with code."""
    return {f"{path.parent.relative_to(ROOT)}/" for path in (ROOT / top).rglob("__init__.py")}


def test_everything_it_names_exists():
    missing = {path for path in named() if not (ROOT / path).exists()}
    assert not missing
    assert all((ROOT / path).is_dir() == path.endswith("/") for path in named())
    assert {"lightseg/catalog/tasks.py", "configs/train.yaml", "configs/data/", "tasks/base.py"} <= named()


def test_every_room_has_a_line_of_its_own():
    for top in ("lightseg", "tasks"):
        assert packages(top) <= set(TREE)
        assert len(packages(top)) >= 4


def test_every_line_says_what_is_there():
    assert all(len(text) > 10 for text in TREE.values())


def test_every_module_at_the_top_of_the_library_and_of_tasks_is_named():
    of_tasks = {f"tasks/{info.module.partition(':')[0].strip('.')}.py" for info in TASKS.values()}  # a file a task
    assert len(of_tasks) >= 4
    for top in ("lightseg", "tasks"):
        modules = {f"{top}/{path.name}" for path in (ROOT / top).glob("*.py")}
        assert modules - named() - of_tasks <= {f"{top}/__init__.py"}


def test_every_folder_of_configs_is_named():
    folders = {f"configs/{path.name}/" for path in (ROOT / "configs").iterdir() if path.is_dir()}
    assert folders <= named()
