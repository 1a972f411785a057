"""The table of a NetAdapt search, step by step."""

from typing import Any

from lightseg.search.netadapt.cost import METRICS

UNITS = {"madds": ("M MAdds", 1e6, 2), "latency_ms": ("ms", 1.0, 3)}


def markdown(content: dict[str, Any]) -> str:
    """Of the content of `steps.json`: a line a step, the trained net first."""
    unit, scale, digits = UNITS[content["cost"]]
    metric, seed = content["metric"], content["seed"]
    held = f"{content['held_out']} training pictures"
    lines = [
        f"Metric: {metric} in per cent, after the step's short training; held out: on {held} that no step was trained "
        f"on, which is what chose. Cost: {METRICS[content['cost']]} of the whole model at "
        f"{content['image_size'][0]}x{content['image_size'][1]}.",
        "",
        f"| step | cut | {unit} | of the trained net | M parameters | held out | {content['split']} | of nets |",
        "|--:|---|--:|--:|--:|--:|--:|--:|",
    ]
    rows = [{"number": 0, "what": "the trained net", **seed, "tried": []}, *content["steps"]]
    for row in rows:
        if "val" not in row:
            continue
        share = row["cost"] / seed["cost"]
        lines.append(
            f"| {row['number']} | {row['what']} | {row['cost'] / scale:.{digits}f} | {share:.3f} | "
            f"{row['params'] / 1e6:.3f} | {100 * row['held']:.2f} | {100 * row['val']:.2f} | "
            f"{len(row['tried']) or ''} |"
        )
    return "\n".join(lines) + "\n"
