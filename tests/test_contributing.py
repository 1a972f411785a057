"""CONTRIBUTING.md against the code: what stands in back-ticks exists, where the page says that it is."""

import re
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
ITEMS = re.split(r"\n\n|\n(?=\d\. |- |#)", TEXT)  # paragraphs, and the points of lists
NAMES = [(item, name) for item in ITEMS for name in re.findall(r"`([^`]+)`", item)]
WORDS = ("data", "backbone=<timm name>")  # a group and a key of the configuration


def is_path(name: str) -> bool:
    return " " not in name and ("/" in name or name.endswith((".py", ".md", ".toml", ".yaml")))


def paths(item: str) -> list[Path]:
    """The files and folders that a point names; `<net>` stands for any name."""
    names = [name for name in re.findall(r"`([^`]+)`", item) if is_path(name)]
    return [path for name in names for path in ROOT.glob(re.sub(r"<\w+>", "*", name.rstrip("/")))]


def test_every_path_is_there():
    named = {name for _, name in NAMES if is_path(name)}
    missing = {name for name in named if not list(ROOT.glob(re.sub(r"<\w+>", "*", name.rstrip("/"))))}
    assert not missing and len(named) > 25
    folders = {name for name in named if name.endswith("/")}
    assert all((ROOT / name).is_dir() for name in folders)


@pytest.mark.parametrize("name", sorted({name for _, name in NAMES if re.fullmatch(r"lightseg(\.\w+)+", name)}))
def test_every_module_can_be_imported(name):
    import_module(name)


def test_every_other_name_is_in_a_file_of_its_point():
    checked = 0
    for item, name in NAMES:
        if not re.fullmatch(r"\w+", name) or name in WORDS:
            continue
        texts = [path.read_text(encoding="utf-8") for path in paths(item) if path.suffix == ".py"]
        definition = rf"(?:def|class) {name}\b|^\s*{name}\b.*[=:]|\b{name}: "
        assert any(re.search(definition, text, re.MULTILINE) for text in texts), f"{name}: {item}"
        checked += 1
    assert checked > 20


def test_every_command_can_be_given():
    commands = {name for _, name in NAMES if " " in name and name not in WORDS}
    targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    for command in commands:
        program, *words = command.split()
        if program == "make":
            assert words[0] in targets
        elif program == "pytest":
            assert (ROOT / words[0]).is_dir()
        elif program == "python":
            assert (ROOT / f"{words[1].replace('.', '/')}.py").is_file()
        else:
            assert command == 'pip install -e ".[train,test]"'
    assert {"make check", "pytest tests/backbones", "python -m tools.backbone_table"} <= commands


def test_it_says_how_to_add_each_of_the_five():
    headings = re.findall(r"^## To add an? (.+)$", TEXT, re.MULTILINE)
    assert headings == ["backbone", "head", "data format", "task", "export format"]


def test_what_is_there_was_added_as_it_says():
    """Every format, head and task of the catalog stands in the files of the lists."""
    from lightseg.catalog.tasks import TASKS
    from lightseg.export.runner import FORMATS

    for task in (TASKS[name] for name in ("seg", "cls", "multilabel", "det", "pose")):
        assert (ROOT / "configs" / "task" / f"{task.name}.yaml").is_file()
        assert task.spec.startswith("lightseg.task_specs.") and task.module.startswith(".")
        for head in task.heads.values():
            assert head.path.startswith("lightseg.heads.")
        for form in task.formats.values():
            assert form.path.startswith("lightseg.data.datasets.") and form.path.endswith(":from_options")
            assert (ROOT / "configs" / "data" / f"{form.example}.yaml").is_file()
    for form in FORMATS.values():
        assert form.module.startswith("lightseg.export.")
