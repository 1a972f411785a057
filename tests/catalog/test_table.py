"""The catalog's figures are as counted, within 1 % or with a reason; docs/backbones.md is what its command prints."""

import json
from pathlib import Path

import pytest

from lightseg.catalog.backbones import CATALOG, COUNTED, ROWS
from tools.backbone_table import as_json, count, differs, document

DOCUMENT = Path(__file__).parents[2] / "docs" / "backbones.md"


def cells(name: str) -> list[str]:
    """The columns of a row in the document: name, timm's name, params, published, MAdds, published, size, top-1, ..."""
    (line,) = [line for line in DOCUMENT.read_text(encoding="utf-8").splitlines() if line.startswith(f"| `{name}` |")]
    return [cell.strip() for cell in line.strip("|").split("|")]


SAVED = json.loads(COUNTED.read_text(encoding="utf-8"))


@pytest.mark.slow
def test_the_files_are_up_to_date():
    counts = {row.name: count(row) for row in ROWS}
    assert COUNTED.read_text(encoding="utf-8") == as_json(counts), "run python -m tools.backbone_table"
    assert DOCUMENT.read_text(encoding="utf-8") == document(counts), "run python -m tools.backbone_table"


def test_the_document_has_the_counts():
    assert list(SAVED) == list(CATALOG) and len(SAVED) > 90
    assert DOCUMENT.read_text(encoding="utf-8") == document(SAVED)


@pytest.mark.parametrize("name", ["mobilenetv2", "efficientnet_lite0", "micronet_m0", "fbnetv2_f0"])
def test_saved_counts_equal_counts(name):
    assert count(CATALOG[name]) == SAVED[name]


def test_counts_equal_published_figures_or_have_a_note():
    for row in ROWS:
        _, _, params, published_params, madds, published_madds, size, top1, *_ = cells(row.name)
        off = differs(float(params), row.params_m) or differs(float(madds.split()[0]), row.madds_m)
        assert not off or row.note, f"{row.name}: more than 1 % from what was published, and no reason given"
        assert published_params.split()[0] == ("–" if row.params_m is None else f"{row.params_m:g}"), row.name
        assert published_madds.split()[0] == ("–" if row.madds_m is None else f"{row.madds_m:g}"), row.name
        assert (size, top1) == (str(row.resolution), "–" if row.top1 is None else f"{row.top1:.1f}"), row.name


def test_rows_are_complete():
    assert len({row.name for row in ROWS}) == len({row.timm_name for row in ROWS}) == len(ROWS)
    assert all(row.source and row.family and 0 < (row.top1 or 50) < 100 for row in ROWS)
