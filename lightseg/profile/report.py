"""The result of `profile` as a text table and as a plot."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from lightseg.text import align

BLUE, ORANGE, PALE = (31, 95, 168), (214, 120, 32), (246, 205, 160)
HEADINGS = ("stage", "modules", "output", "layers", "params", "MAdds M", "activations M", "MAC M", "time ms")


def profile_table(report: dict[str, Any], layers: bool = False) -> str:
    """The text table of a report of `profile`. layers: also a line per layer."""
    model, (height, width) = report["model"], report["image_size"]
    shift_max = report.get("madds_with_shift_max")
    training = report.get("training_form")
    timed = bool(report["latency"])
    lines = [
        f"{model['backbone']}, task={model['task']}, {model['num_classes']} classes, one image of {height}x{width}",
        f"params {report['params'] / 1e6:.3f} M, MAdds {report['madds'] / 1e6:.1f} M"
        + (f" ({shift_max / 1e6:.2f} M with Shift-Max)" if shift_max else "")
        + f", activations {report['activations'] / 1e6:.2f} M, memory access cost {report['mac'] / 1e6:.2f} M, "
        f"peak memory {report['peak_memory_mb']:.1f} MB",
        *(
            [f"in training form: params {training['params'] / 1e6:.3f} M, MAdds {training['madds'] / 1e6:.1f} M"]
            if training
            else []
        ),
        "",
    ]
    total = {"stage": "whole", "modules": [], "output": None, **_sums(report["stages"])}
    lines += align([HEADINGS, *(_cells(row, timed) for row in [*report["stages"], total])], range(3))
    if layers:
        headings = ("layer", "kind", *HEADINGS[2:3], *HEADINGS[4:])
        rows = [_cells({**row, "stage": row["name"] or "model", "layers": 0}, timed) for row in report["layers"]]
        kinds = [row["kind"] for row in report["layers"]]
        lines += [
            "",
            *align([headings, *((r[0], k, r[2], *r[4:]) for r, k in zip(rows, kinds, strict=True))], range(3)),
        ]
    if timed:
        rows = [
            (row["runtime"], str(row["threads"]), f"{row['latency_ms']:.2f}", f"{row['latency_min_ms']:.2f}")
            for row in report["latency"]
        ]
        lines += ["", *align([("runtime", "threads", "latency ms", "minimum"), *rows], range(1))]
        lines += [f"{name} not measured: {why}" for name, why in report["skipped"].items()]
        threads = report["layer_threads"]
        lines += [f"latency: medians; time of stages and layers: eager, {threads} thread{'s' * (threads > 1)}"]
    return "\n".join(lines)


def _cells(row: dict[str, Any], timed: bool) -> tuple[str, ...]:
    parts = row.get("modules", [])
    return (
        row["stage"],
        parts[0] if len(parts) == 1 else f"{parts[0]} – {parts[-1]}" if parts else "",
        "x".join(map(str, row["output"][1:])) if row["output"] else "",
        str(row["layers"]),
        str(row["params"]),
        f"{row['madds'] / 1e6:.2f}",
        f"{row['activations'] / 1e6:.3f}",
        f"{row['mac'] / 1e6:.3f}",
        f"{row['time_ms']:.3f}" if timed else "-",
    )


def _sums(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    keys = ("layers", "params", "madds", "activations", "mac", "time_ms")
    return {key: sum(row[key] for row in rows) for key in keys}


def profile_plot(report: dict[str, Any]) -> np.ndarray:
    """Bars, uint8 RGB [H, W, 3]: a row per layer with multiply-adds.

    Blue is its share of the MAdds, orange its share of the measured time, pale the time of the layers without
    multiply-adds (norms, activations, sums) up to the next row.
    """
    rows = _plot_rows(report["layers"])
    madds = max(1, sum(row["madds"] for row in rows))
    total_ms = max(1e-9, sum(row["time"] + row["after"] for row in rows))
    largest = max(max(row["madds"] / madds, (row["time"] + row["after"]) / total_ms) for row in rows)
    font, bold = ImageFont.load_default(12), ImageFont.load_default(15)
    left = round(max(font.getlength(row["name"]) for row in rows)) + 16
    bars, line, top, right = 560, 17, 84, 140
    sheet = Image.new("RGB", (left + bars + right, top + line * len(rows) + 12), "white")
    draw = ImageDraw.Draw(sheet)
    model, (height, width) = report["model"], report["image_size"]
    title = f"{model['backbone']}, {model['task']}, {height}x{width}: {madds / 1e6:.1f} M MAdds, {total_ms:.1f} ms"
    draw.text((8, 8), f"{title} (eager, {report['layer_threads']} thread)", "black", bold)
    legend = ((BLUE, "share of the MAdds"), (ORANGE, "of the time, the layer"), (PALE, "of the time, layers after it"))
    for number, (color, text) in enumerate(legend):
        draw.rectangle((8 + 200 * number, 36, 20 + 200 * number, 48), fill=color)
        draw.text((26 + 200 * number, 42), text, "black", font, anchor="lm")
    for share in _ticks(largest):
        x = left + round(bars * share / largest)
        draw.line((x, top - 4, x, top + line * len(rows)), fill=(225, 225, 225))
        draw.text((x, top - 14), f"{100 * share:.3g} %", "grey", font, anchor="mm")
    for number, row in enumerate(rows):
        y = top + line * number
        draw.text((left - 6, y + line / 2), row["name"], "black", font, anchor="rm")
        ends = [left + round(bars * part / largest) for part in (row["madds"] / madds, row["time"] / total_ms)]
        end = left + round(bars * (row["time"] + row["after"]) / total_ms / largest)
        draw.rectangle((left, y + 2, ends[0], y + 7), fill=BLUE)
        draw.rectangle((left, y + 9, end, y + 14), fill=PALE)
        draw.rectangle((left, y + 9, ends[1], y + 14), fill=ORANGE)
        text = f"{row['madds'] / 1e6:.1f} M, {row['time'] + row['after']:.2f} ms"
        draw.text((sheet.width - 8, y + line / 2), text, "grey", font, anchor="rm")
    return np.asarray(sheet)


def _plot_rows(layers: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The layers with multiply-adds; `after`: time of the layers without, up to the next row (and before the first)."""
    rows: list[dict[str, Any]] = []
    before = 0.0
    for layer in layers:
        if layer["madds"]:
            name = layer["name"].removeprefix("backbone.net.") or layer["kind"]
            rows.append({"name": name, "madds": layer["madds"], "time": layer["time_ms"], "after": before})
            before = 0.0
        elif rows:
            rows[-1]["after"] += layer["time_ms"]
        else:
            before += layer["time_ms"]
    return rows


def _ticks(largest: float) -> list[float]:
    """About four round shares up to the largest."""
    step = next((s for s in (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2) if largest / s <= 5), 0.5)
    return [step * n for n in range(int(largest / step) + 1)]
