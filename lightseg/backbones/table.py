"""docs/backbones.md: `python -m lightseg.backbones.table > docs/backbones.md`.

Each row of the catalog with its figures counted (by `lightseg.profile`, on the meta device, the 1000-way classifier
included) beside those published.
"""

from itertools import groupby

import timm
import torch

from lightseg.backbones.catalog import ROWS, Row
from lightseg.backbones.create import create_backbone
from lightseg.profile import count_madds, count_params

HEAD = """\
# Backbones

Written by `python -m lightseg.backbones.table > docs/backbones.md`; do not edit.

`backbone=` takes any name below, and any other name of timm. Where a name here is also one of timm's, the net named
here is meant.

Parameters and multiply-adds (MAdds: convolutions and linear layers, one image at the size given) are those of the
classification net with 1000 classes: **counted** on the left, as published on the right. Top-1 is ImageNet-1k's as
published; the weights in the last column, which `pretrained=true` loads from timm, may be trained otherwise. Channels
are those of the maps at strides 2, 4, 8, 16 and 32. Every row is within 1 % of what was published, or the reason stands
below its table.
"""
COLUMNS = (
    "| name | timm's name | params M | published | MAdds M | published | size | top-1 % | channels | source | weights |"
)


def count(row: Row) -> tuple[float, float]:
    """Parameters and MAdds of the classification net, in millions."""
    with torch.device("meta"):
        net = timm.create_model(row.timm_name)
    shape = (1, 3, row.resolution, row.resolution)
    return count_params(net) / 1e6, count_madds(net, shape) / 1e6


def differs(counted: float, published: float | None) -> bool:
    """More than 1 % apart."""
    return published is not None and abs(counted / published - 1) > 0.01


def line(row: Row, sources: list[str]) -> str:
    """One row of the table; `sources` are the family's, numbered from 1."""
    params, madds = count(row)
    with torch.device("meta"):
        channels = [stage.channels for stage in create_backbone(row.name).stages]
    cells = [
        f"`{row.name}`",
        f"`{row.timm_name}`" if row.timm_name != row.name else "the same",
        f"{params:.3f}",
        marked(params, row.params_m),
        f"{madds:.1f}",
        marked(madds, row.madds_m),
        str(row.resolution),
        "–" if row.top1 is None else f"{row.top1:.1f}",
        " ".join(map(str, channels)),
        f"{sources.index(row.source) + 1}",
        weights_tag(row),
    ]
    return f"| {' | '.join(cells)} |"


def weights_tag(row: Row) -> str:
    """The tag of the weights that timm loads, such as `ra_in1k`."""
    config = timm.get_pretrained_cfg(row.timm_name)
    return str(config.tag) if config and config.has_weights else "none"


def marked(counted: float, published: float | None) -> str:
    """A published figure, with what is counted here in per cent of it where that is more than 1 % off."""
    if published is None:
        return "–"
    return f"{published:g}" + (f" ({counted / published - 1:+.1%})" if differs(counted, published) else "")


def family(name: str, rows: list[Row]) -> str:
    sources = list(dict.fromkeys(row.source for row in rows))
    notes: dict[str, list[str]] = {}
    for row in rows:
        if row.note:
            notes.setdefault(row.note, []).append(f"`{row.name}`")
    return "\n".join(
        [
            f"\n## {name}\n",
            COLUMNS,
            "|---|---|--:|--:|--:|--:|--:|--:|---|--:|---|",
            *[line(row, sources) for row in rows],
            "\nSources: " + "; ".join(f"{i}: {source}" for i, source in enumerate(sources, 1)) + ".",
            *[f"\n{', '.join(names)}: {note}." for note, names in notes.items()],
        ]
    )


def document() -> str:
    families = [family(name, list(rows)) for name, rows in groupby(ROWS, key=lambda row: row.family)]
    return "\n".join([HEAD.rstrip(), *families])


if __name__ == "__main__":
    print(document())
