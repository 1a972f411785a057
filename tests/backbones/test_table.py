"""The catalog's figures are as counted, within 1 % or with a reason; docs/backbones.md is what its command prints."""

from pathlib import Path

import pytest

from lightseg.backbones.catalog import CATALOG, ROWS
from lightseg.backbones.table import count, differs, document

DOCUMENT = Path(__file__).parents[2] / "docs" / "backbones.md"


def cells(name: str) -> list[str]:
    """The columns of a row in the document: name, timm's name, params, published, MAdds, published, size, top-1, ..."""
    (line,) = [line for line in DOCUMENT.read_text(encoding="utf-8").splitlines() if line.startswith(f"| `{name}` |")]
    return [cell.strip() for cell in line.strip("|").split("|")]


@pytest.mark.slow
def test_the_document_is_what_its_command_prints():
    assert DOCUMENT.read_text(encoding="utf-8") == document() + "\n", (
        "python -m lightseg.backbones.table > docs/backbones.md"
    )


@pytest.mark.parametrize("name", ["mobilenetv2", "mobilenetv3_large", "efficientnet_lite0", "xception"])
def test_the_document_holds_what_is_counted(name):
    params, madds = count(CATALOG[name])
    assert cells(name)[2] == f"{params:.3f}"
    assert cells(name)[4] == f"{madds:.1f}"


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_counted_as_published_or_explained(row):
    _, _, params, published_params, madds, published_madds, size, top1, *_ = cells(row.name)
    off = differs(float(params), row.params_m) or differs(float(madds), row.madds_m)
    assert not off or row.note, "more than 1 % from what was published, and no reason given"
    assert published_params.split()[0] == ("–" if row.params_m is None else f"{row.params_m:g}")
    assert published_madds.split()[0] == ("–" if row.madds_m is None else f"{row.madds_m:g}")
    assert (size, top1) == (str(row.resolution), "–" if row.top1 is None else f"{row.top1:.1f}")


def test_rows_are_whole():
    assert len({row.name for row in ROWS}) == len({row.timm_name for row in ROWS}) == len(ROWS)
    assert all(row.source and row.family and 0 < (row.top1 or 50) < 100 for row in ROWS)
