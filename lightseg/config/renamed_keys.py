"""Keys of older releases and their names today. Old files, saved configurations and overrides keep working."""

from typing import Any

RENAMED = {"pixels": "input_format", "logger.pictures": "logger.images"}  # dotted key -> its name today


def upgrade_keys(config: Any) -> None:
    """Rename the old keys of a saved configuration (nested mappings), in place."""
    for old, new in RENAMED.items():
        *parents, key = old.split(".")
        node = config
        for parent in parents:
            node = node.get(parent) or {}
        if key in node:
            node[new.rpartition(".")[2]] = node.pop(key)


def old_keys(group: str) -> frozenset[str]:
    """The keys that a file of this group, or of the top level for `""`, may still have under their old names."""
    split = [old.rpartition(".") for old in RENAMED]
    return frozenset(key for parent, _, key in split if parent == group)
