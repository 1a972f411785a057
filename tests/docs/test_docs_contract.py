"""docs/predict.md has every field of the input contract, docs/export.md every key of an exported file's metadata."""

import re
from dataclasses import fields
from pathlib import Path

from lightseg.export.metadata import FILE_KEYS, Metadata
from lightseg.input_contract import InputContract

DOCS = Path(__file__).parents[2] / "docs"


def named(page: str, heading: str, column: int) -> set[str]:
    """The back-ticked names in a column of the table below a heading."""
    text = (DOCS / page).read_text(encoding="utf-8")
    section = re.search(rf"^## {heading}\n(.*?)^(?:## |\Z)", text, re.DOTALL | re.MULTILINE)
    assert section is not None
    rows = [line.split("|") for line in section[1].splitlines() if line.startswith("| `")]
    return {name for row in rows for name in re.findall(r"`(\w+)`", row[column])}


def test_the_fields_of_the_contract():
    assert named("predict.md", "The input contract", 1) == {field.name for field in fields(InputContract)}


def test_the_keys_of_the_metadata():
    assert named("export.md", "Metadata", 1) == set(Metadata.KEYS)
    content = named("export.md", "Metadata", 2)
    assert set(FILE_KEYS) <= content
    assert content - set(FILE_KEYS) <= {field.name for field in fields(InputContract)}
