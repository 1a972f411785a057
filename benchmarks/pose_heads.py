"""The pose heads on the same backbone and data: parameters, multiply-adds, latency and OKS AP.

    python benchmarks/pose_heads.py                                  # 3 runs on mini_pose; writes docs/pose_heads.md
    python benchmarks/pose_heads.py --backbone shufflenetv2_x1_0 --epochs 20 --seeds 0 1 2
    python benchmarks/pose_heads.py --overrides "data=coco_pose data.root=/data/coco" --epochs 210

`light` and `simple` are the variants of the heatmap head, `simcc` classes of coordinates; everything else is the same.
Counts and AP are those of the records. The second table has untrained models for COCO's 17 points at 256x192, and
`simple` as published, after a last 1x1 convolution.
"""

import argparse
import statistics
import sys
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.runs import ROOT, Results, page_parser, publish, record_of

PAGE = ROOT / "docs" / "pose_heads.md"
HEADS = {
    "light": "head.name=heatmap head.variant=light",
    "simple": "head.name=heatmap head.variant=simple",
    "simcc": "head.name=simcc",
}
SIZE = (256, 192)  # of the second table
COCO_POINTS = 17
LAST_CHANNELS = {"mobilenetv2": 1280, "shufflenetv2_x1_0": 1024}  # before pooling: the input of mmpose's heads


def backbone_cost(name: str, output_stride: int, size: tuple[int, int]) -> tuple[int, int]:
    """Parameters and multiply-adds of the feature pyramid, without a head."""
    from lightseg.backbones import create_backbone
    from lightseg.profile import count_madds, count_params

    backbone = create_backbone(name, output_stride=output_stride)
    return count_params(backbone), count_madds(backbone, (1, 3, *size))


def trained_table(results: dict[str, list[dict[str, Any]]], backbone: str, runs: int) -> str:
    """Latencies are measured here one after the other, because those of the records are from different times."""
    from lightseg.model import create_model
    from lightseg.profile import profile_model

    lines = [
        "| head | its parameters, M | its MAdds, M | with the net: M | MAdds, M | latency, ms | AP %, by seed | mean |",
        "|---|--:|--:|--:|--:|--:|---|--:|",
    ]
    for name, records in results.items():
        cost, config = records[0]["cost"], records[0]["config"]
        height, width = config["profile"]["image_size"] or config["data"]["eval"]["size"]
        params, madds = backbone_cost(backbone, config["output_stride"], (height, width))
        head = {**config["head"], **({"image_size": (height, width)} if name == "simcc" else {})}
        model = create_model(backbone, "pose", COCO_POINTS, head=head)
        latency = profile_model(model, (height, width), runs=runs)["latency_ms"]
        # undefined metrics are null in the record
        points = [100 * (record["metrics"]["val/AP"] or 0.0) for record in records]
        lines.append(
            f"| {name} | {(cost['params'] - params) / 1e6:.2f} | {(cost['madds'] - madds) / 1e6:.1f} "
            f"| {cost['params'] / 1e6:.2f} | {cost['madds'] / 1e6:.1f} | {latency:.1f} "
            f"| {', '.join(f'{value:.1f}' for value in points)} | {statistics.mean(points):.1f} |"
        )
    return "\n".join(lines)


def cost_table(backbone: str, runs: int) -> str:
    """The models for COCO's points at 256x192."""
    from lightseg.model import create_model
    from lightseg.profile import profile_model

    heads: dict[str, dict[str, Any]] = {
        "light": {"name": "heatmap", "variant": "light"},
        "simple": {"name": "heatmap", "variant": "simple"},
        "simcc": {"name": "simcc", "image_size": SIZE},
    }
    if backbone in LAST_CHANNELS:
        heads["simple, as published"] = {**heads["simple"], "last_channels": LAST_CHANNELS[backbone]}
    params, madds = backbone_cost(backbone, 32, SIZE)
    lines = [
        "| head | its parameters, M | its MAdds, M | of simple's | with the net: M | MAdds, M | latency, ms |",
        "|---|--:|--:|--:|--:|--:|--:|",
    ]
    costs = {
        name: profile_model(create_model(backbone, "pose", COCO_POINTS, head=head), SIZE, runs=runs)
        for name, head in heads.items()
    }
    simple = costs["simple"]
    for name, cost in costs.items():
        head_params, head_madds = cost["params"] - params, cost["madds"] - madds
        ratios = head_params / (simple["params"] - params), head_madds / (simple["madds"] - madds)
        lines.append(
            f"| {name} | {head_params / 1e6:.2f} | {head_madds / 1e6:.1f} | {ratios[0]:.0%}, {ratios[1]:.0%} "
            f"| {cost['params'] / 1e6:.2f} | {cost['madds'] / 1e6:.1f} | {cost['latency_ms']:.1f} |"
        )
    return "\n".join(lines)


def page(results: dict[str, list[dict[str, Any]]], options: argparse.Namespace, overrides: dict[str, str]) -> str:
    import torch

    record = next(iter(results.values()))[0]
    protocol = record["protocol"]
    commands = "\n".join(
        f"    python train.py {text} seed={options.seeds[0]}   # {name}" for name, text in overrides.items()
    )
    note = " Its numbers compare only with each other." if record["data"].startswith("mini") else ""
    defaults = {"backbone": "mobilenetv2", "epochs": 19, "overrides": "data=mini_pose"}
    changed = {key: vars(options)[key] for key, value in defaults.items() if vars(options)[key] != value}
    arguments = [f'--{key} "{value}"' if " " in str(value) else f"--{key} {value}" for key, value in changed.items()]
    arguments += [f"--seeds {' '.join(map(str, options.seeds))}"] if options.seeds != [0] else []
    seeds = ", ".join(map(str, options.seeds))
    boxes, flip = protocol.get("person_boxes", "ground truth"), "yes" if protocol.get("flip") else "no"
    return f"""\
# Heads of pose, measured

Written by `{" ".join(["python benchmarks/pose_heads.py", *arguments])}`; do not edit.

## {options.backbone} on {record["data"]}

{options.epochs} epochs, seeds {seeds}; OKS AP of {protocol["images"]} persons, boxes: {boxes}, flip test: {flip}.{note}
Latency: median of {options.latency_runs} single images, cpu, threads: {torch.get_num_threads()}.

{trained_table(results, options.backbone, options.latency_runs)}

{commands}

## {options.backbone} for 17 points at {SIZE[0]}x{SIZE[1]}

Untrained; the share of `simple` is that of the heads alone, in parameters and multiply-adds.

{cost_table(options.backbone, options.latency_runs)}
"""


def main() -> None:
    parser = page_parser(__doc__)
    parser.add_argument("--backbone", default="mobilenetv2")
    parser.add_argument("--epochs", type=int, default=19)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--overrides", default="data=mini_pose", help="more overrides: data, sizes, optimizer")
    parser.add_argument("--latency-runs", type=int, default=20, help="timed forward passes of each model")
    parser.add_argument("--results", type=Path, help="JSON file with finished runs")
    options = parser.parse_args()
    common = f"task=pose backbone={options.backbone} {options.overrides} trainer.max_epochs={options.epochs}"
    common += f" logger=csv profile.runs={options.latency_runs}"
    overrides = {name: f"{common} {head}" for name, head in HEADS.items()}
    records: dict[str, list[dict[str, Any]]] = {name: [] for name in overrides}
    results = Results(options.results)
    for seed in options.seeds:
        for name, text in overrides.items():
            key = f"{text} seed={seed}"
            records[name].append(results.get(key, partial(record_of, key.split())))
            print(f"seed {seed}, {name}: AP {records[name][-1]['metrics']['val/AP']}", flush=True)
    publish(page(records, options, overrides), PAGE, options)


if __name__ == "__main__":
    main()
