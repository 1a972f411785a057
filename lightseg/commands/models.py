"""`lightseg models "shufflenet*"`: the backbones, with their cost and published accuracy."""

import argparse
import json
from collections.abc import Sequence
from typing import Any

from lightseg.catalog import backbones as catalog
from lightseg.errors import LightsegError, nearest
from lightseg.text import align

HEADINGS = ("name", "params M", "MAdds M", "size", "top-1 %", "maps: channels/stride", "weights", "licence")
RIGHT = ("params M", "MAdds M", "size", "top-1 %")


def models(pattern: str = "*") -> list[dict[str, Any]]:
    """The catalog's rows whose names match a shell pattern, with their counted cost.

    Returns:
        A dict per row: `name`, `family`, `params` and `madds` (counted, with 1000 classes, at `resolution`), for
        MicroNet `madds_shift_max`, `top1` (published, per cent, or None), `source`, `stages` [[channels, stride], ...],
        `weights` and their `licence`.

    Raises:
        LightsegError: no name matches.
    """
    counted = json.loads(catalog.COUNTED.read_text(encoding="utf-8"))
    names = catalog.list_backbones(pattern)
    if not names:
        raise LightsegError(f"no backbone is named {pattern!r}: {nearest(pattern, list(catalog.CATALOG))}")
    published = ("name", "family", "resolution", "top1", "source")
    return [{**{key: getattr(catalog.CATALOG[name], key) for key in published}, **counted[name]} for name in names]


def models_table(rows: Sequence[dict[str, Any]]) -> str:
    lines = [
        (
            row["name"],
            f"{row['params'] / 1e6:.2f}",
            f"{row['madds'] / 1e6:.1f}",
            str(row["resolution"]),
            "-" if row["top1"] is None else f"{row['top1']:.1f}",
            " ".join(f"{channels}/{stride}" for channels, stride in row["stages"]),
            row["weights"],
            row["licence"],
        )
        for row in rows
    ]
    left = [number for number, heading in enumerate(HEADINGS) if heading not in RIGHT]
    return "\n".join(align([HEADINGS, *lines], left))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("pattern", nargs="?", default="*", help='shell pattern of names, as in "shufflenetv1_g3*"')
    parser.add_argument("--json", action="store_true", help="as JSON, with every figure")


def run(arguments: argparse.Namespace) -> None:
    rows = models(arguments.pattern)
    print(json.dumps(rows, indent=1) if arguments.json else models_table(rows))
