"""docs/keys.md, by `python -m tools.key_table`: every key of the configuration with its default and what it may be."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from lightseg.catalog.tasks import TASKS
from lightseg.config.compose import compose, plain
from lightseg.config.domain import shown
from lightseg.config.domains import ALL, SECTIONS
from lightseg.config.overrides import dotted
from lightseg.config.paths import SHIPPED
from lightseg.config.trainer_keys import REFUSED

PAGE = Path(__file__).parents[1] / "docs" / "keys.md"
COMPOSED = ("data.name", "data.file", "trainer.name", "logger.name", "launcher.name", "search.name")
HEAD = """# Keys

Every key of the configuration, its default, and the values it may have. This page is written by `python -m
tools.key_table` from the table that `lightseg train` checks values against, before anything is loaded. What a key does
is said in the files below `configs/`; `lightseg train --help` prints `configs/train.yaml`.

Defaults are those of the task with its mini data set; in the first table, of `task=seg`. Names and paths are the text
that is typed (`010` stays `010`), and `~` is your home folder. `null` and `None` mean that there is no value.
"""


def page() -> str:
    parts = [HEAD, _section("Every run", ALL, _defaults(ALL))]
    for name, info in TASKS.items():
        if name in SECTIONS:
            parts.append(_section(f"task={name}: {info.title.lower()}", name, _defaults(name)))
    parts += [_section(name, name, _defaults(name)) for name in SECTIONS if "=" in name]
    refused = [f"| `trainer.{key}` | {reason} |" for key, reason in REFUSED.items()]
    parts.append(
        "## Arguments of Lightning's Trainer that a run does not have\n\n| key | |\n|---|---|\n" + "\n".join(refused)
    )
    return "\n".join(part.rstrip("\n") + "\n" for part in parts)


def _section(title: str, name: str, defaults: dict[str, Any]) -> str:
    return f"## {title}\n\n| key | default | values |\n|---|---|---|\n" + "\n".join(_rows(name, defaults))


def _rows(name: str, defaults: dict[str, Any]) -> Iterator[str]:
    for key, domain in SECTIONS[name].items():
        if key not in COMPOSED:
            default = f"`{_text(defaults[key])}`" if key in defaults else ""
            yield f"| `{key}` | {default} | {domain.description} |"


def _text(value: Any) -> str:
    return value or '""' if isinstance(value, str) else shown(value)


def _defaults(section: str) -> dict[str, Any]:
    """The defaults of a section's keys by dotted key."""
    if "=" in section:
        search = section.partition("=")[2]
        values: Any = OmegaConf.to_container(OmegaConf.load(SHIPPED / "search" / f"{search}.yaml"))
        return dotted({"search": values})
    if section != ALL:
        return dotted(plain(compose([f"task={section}"])))
    train: Any = OmegaConf.to_container(OmegaConf.load(SHIPPED / "train.yaml"))
    return {**dotted(plain(compose(["launcher=submitit"]))), **dotted(train)}


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
