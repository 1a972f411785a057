"""The table of a NetAdapt search, step by step."""

from typing import Any

from lightseg.search.netadapt.cost import METRICS

UNITS = {"madds": ("M MAdds", 1e6, 2), "latency_ms": ("ms", 1.0, 3)}


def markdown(content: dict[str, Any]) -> str:
    """The content of `steps.json` as a Markdown table with a row per step, the trained net first."""
    unit, scale, digits = UNITS[content["cost"]]
    metric, seed = content["metric"], content["seed"]
    held = f"{content['held_out']} training images"
    lines = [
        f"Metric: {metric} in per cent, after the short training of the step. Held out: on {held}, on which no net was "
        f"trained and by which nets were chosen. Cost: {METRICS[content['cost']]} of the model at "
        f"{content['image_size'][0]}x{content['image_size'][1]}.",
        "",
        f"| step | cut | {unit} | of the trained net | M parameters | held out | {content['split']} | of nets |",
        "|--:|---|--:|--:|--:|--:|--:|--:|",
    ]
    rows = [{"number": 0, "what": "the trained net", **seed, "tried": []}, *content["steps"]]
    for row in rows:
        if "val" not in row:
            continue
        fraction = row["cost"] / seed["cost"]
        lines.append(
            f"| {row['number']} | {row['what']} | {row['cost'] / scale:.{digits}f} | {fraction:.3f} | "
            f"{row['params'] / 1e6:.3f} | {100 * row['held']:.2f} | {100 * row['val']:.2f} | "
            f"{len(row['tried']) or ''} |"
        )
    return "\n".join(lines) + "\n"
