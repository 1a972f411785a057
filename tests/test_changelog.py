"""CHANGELOG.md: its newest entry is this version's, and the import paths that it sends people to exist."""

import re
from importlib import import_module
from pathlib import Path

import pytest

from lightseg import __version__

TEXT = (Path(__file__).parents[1] / "CHANGELOG.md").read_text(encoding="utf-8")
ROWS = re.findall(r"^\| (`.+) \| (`.+) \|$", TEXT, re.MULTILINE)
NEW = sorted({name for _, new in ROWS for name in re.findall(r"`(?:python -m )?([\w.]+)`", new)})


def test_the_newest_entry_is_of_this_version():
    assert re.findall(r"^## \[([\d.]+)\]", TEXT, re.MULTILINE)[0] == __version__


@pytest.mark.parametrize("name", NEW)
def test_what_was_moved_is_there(name):
    parts = name.split(".")
    for count in range(len(parts), 0, -1):
        try:
            found = import_module(".".join(parts[:count]))
        except ModuleNotFoundError as error:
            assert name.startswith(error.name or "?"), error  # the module itself, not what it imports
            continue
        for attribute in parts[count:]:
            found = getattr(found, attribute)
        return
    pytest.fail(f"there is no {name}")


def test_what_was_moved_is_no_longer_at_the_old_place():
    names = {name for old, _ in ROWS for name in re.findall(r"`((?:lightseg|tasks|configs)\.[\w.]+)`", old)}
    root = Path(__file__).parents[1]
    still = {name for name in names - set(NEW) if (root / name.replace(".", "/")).with_suffix(".py").is_file()}
    assert not still and len(names) > 40
