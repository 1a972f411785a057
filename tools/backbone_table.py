"""docs/backbones.md and costs.json, both by `python -m tools.backbone_table`.

Each row of the catalog is built with its 1000-way classifier, on the meta device, and counted by `lightseg.profile`;
costs.json keeps what was counted for `lightseg models`, which shows it without building anything.
"""

import json
import sys
from itertools import groupby
from pathlib import Path
from typing import Any

import timm
import torch

from lightseg.backbones.create import create_backbone
from lightseg.catalog.backbones import COUNTED, PACKAGES, ROWS, Row
from lightseg.profile import count_madds, count_params, count_shift_max

HEAD = """\
# Backbones

Written by `python -m tools.backbone_table`; do not edit. `lightseg models` prints the same rows in a terminal.

`backbone=` takes any name below, any other name of timm, the path of an `arch.yaml`, and EfficientNet at any width and
depth, as `efficientnet_w1.1_d1.2`. Where a name here is also one of timm's, the net
named here is meant. `timm.create_model` takes the names of the second column, once `lightseg.backbones` is imported.

Parameters and multiply-adds (MAdds: convolutions and linear layers, one image at the size given) are those of the
classification net with 1000 classes: **counted** on the left, as published on the right. Top-1 is ImageNet-1k's as
published; the weights in the last column, which `pretrained=true` loads, may be trained otherwise; their license is as
their publisher gives it. Channels are those of the maps at strides 2, 4, 8, 16 and 32 (SqueezeNet: 2 to 16). Every row
is within 1 % of what was published, or the reason stands below its table.
"""
COLUMNS = (
    "| name | timm's name | params M | published | MAdds M | published | size | top-1 % | channels | source | weights |"
)


def count(row: Row) -> dict[str, Any]:
    """What costs.json holds of a row: `params`, `madds` (with Shift-Max's products where the net has any, as
    `madds_shift_max`), `stages` [[channels, stride], ...], and `weights` and their `licence`."""
    shape = (1, 3, row.resolution, row.resolution)
    with torch.device("meta"):
        net = timm.create_model(row.timm_name)
        stages = [list(stage) for stage in create_backbone(row.name).stages]
    madds = count_madds(net, shape)
    extra = count_shift_max(net, shape)
    weights, licence = weights_of(row)
    return {
        "params": count_params(net),
        "madds": madds,
        **({"madds_shift_max": madds + extra} if extra else {}),
        "stages": stages,
        "weights": weights,
        "licence": licence,
    }


def weights_of(row: Row) -> tuple[str, str]:
    """Whose weights `pretrained=true` loads, and their licence."""
    config = timm.get_pretrained_cfg(row.timm_name)
    if config is None or not config.has_weights:
        return "none", ""
    if config.url and "download.pytorch.org" in config.url and not config.hf_hub_id:
        return "torchvision", config.license or ""
    whose = f"timm {config.tag}" + (f", {PACKAGES[row.name]}" if row.name in PACKAGES else "")
    return whose, config.license or "not stated"


def differs(counted: float, published: float | None) -> bool:
    """More than 1 % apart."""
    return published is not None and abs(counted / published - 1) > 0.01


def line(row: Row, counted: dict[str, Any], sources: list[str]) -> str:
    """One row of the table; `sources` are the family's, numbered from 1."""
    params, madds = counted["params"] / 1e6, counted["madds"] / 1e6
    with_shift_max = f" ({counted['madds_shift_max'] / 1e6:.2f} with Shift-Max)" if "madds_shift_max" in counted else ""
    cells = [
        f"`{row.name}`",
        f"`{row.timm_name}`" if row.timm_name != row.name else "the same",
        f"{params:.3f}",
        marked(params, row.params_m),
        f"{madds:.1f}{with_shift_max}",
        marked(madds, row.madds_m),
        str(row.resolution),
        "–" if row.top1 is None else f"{row.top1:.1f}",
        " ".join(str(channels) for channels, _ in counted["stages"]),
        f"{sources.index(row.source) + 1}",
        counted["weights"] + (f" ({counted['licence']})" if counted["licence"] else ""),
    ]
    return f"| {' | '.join(cells)} |"


def marked(counted: float, published: float | None) -> str:
    """A published figure, with what is counted here in per cent of it where that is more than 1 % off."""
    if published is None:
        return "–"
    return f"{published:g}" + (f" ({counted / published - 1:+.1%})" if differs(counted, published) else "")


def family(name: str, rows: list[Row], counts: dict[str, dict[str, Any]]) -> str:
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
            *[line(row, counts[row.name], sources) for row in rows],
            "\nSources: " + "; ".join(f"{i}: {source}" for i, source in enumerate(sources, 1)) + ".",
            *[f"\n{', '.join(names)}: {note}." for note, names in notes.items()],
        ]
    )


def document(counts: dict[str, dict[str, Any]]) -> str:
    families = [family(name, list(rows), counts) for name, rows in groupby(ROWS, key=lambda row: row.family)]
    return "\n".join([HEAD.rstrip(), *families]) + "\n"


def as_json(counts: dict[str, dict[str, Any]]) -> str:
    """One line a row."""
    return "{\n" + ",\n".join(f'"{name}": {json.dumps(counted)}' for name, counted in counts.items()) + "\n}\n"


def main() -> int:
    counts = {row.name: count(row) for row in ROWS}
    COUNTED.write_text(as_json(counts), encoding="utf-8")
    page = Path(__file__).parents[1] / "docs" / "backbones.md"
    page.write_text(document(counts), encoding="utf-8")
    print(f"wrote {COUNTED} and {page}: {len(counts)} rows")
    return 0


if __name__ == "__main__":
    sys.exit(main())
