"""Records of a few networks on two data sets, with the files that their page links."""

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from lightseg.leaderboard.validate import Record, parse
from tests.leaderboard.conftest import RECORD

EXAMPLE = parse(json.dumps(RECORD).encode(), Path("runs"))
MODELS = (  # backbone, weights, mIoU of each seed, parameters, multiply-adds, ms
    ("mobilenetv3_large", "scratch", (0.70, 0.72, 0.71), 3_200_000, 250_000_000, 17.0),
    ("mobilenetv3_small", "scratch", (0.61, 0.60, 0.59), 1_080_000, 60_000_000, 9.0),
    ("micronet_m3", "scratch", (0.55,), 2_100_000, 20_000_000, 12.0),
    ("shufflenetv2_x1_0", "scratch", (0.58,), 1_300_000, 140_000_000, 11.0),
    ("efficientnet_lite0", "pretrained", (0.75,), 3_500_000, 400_000_000, None),
)


def example_records(runs: Path) -> list[Record]:
    """Five backbones on CamVid, three of them also under a second protocol, two also as detectors."""
    records = []
    for i, (backbone, weights, values, params, madds, ms) in enumerate(MODELS):
        cost = {"params": params, "madds": madds, "latency_ms": ms}
        for seed, value in enumerate(values):
            record = replace(EXAMPLE, backbone=backbone, weights=weights, seed=seed, config_hash=f"c{i}", **cost)
            metrics = {"val/mIoU": value, "val/pixel_accuracy": value + 0.2}
            records.append(replace(record, metrics=metrics, folder=runs / "seg" / backbone / f"s{seed}"))
        if i < 3:
            flipped = {**EXAMPLE.protocol, "flip": "true"}
            more = {"metrics": {"val/mIoU": values[0] + 0.02}, "folder": runs / "flip" / backbone}
            records.append(replace(record, protocol=flipped, seed=0, **more))
        if i < 2:
            more = {"metrics": {"val/mAP": values[0] - 0.5}, "folder": runs / "det" / backbone}
            records.append(replace(record, task="det", data="mini_det", head="ssdlite", seed=0, **more))
    records[3] = replace(records[3], setting={"optimizer.lr": "0.002"})
    for i, record in enumerate(records):
        (record.folder / "images").mkdir(parents=True)
        for name in ("images/val.png", "config.yaml", "record.json"):
            (record.folder / name).write_text(f"file {i}")
        records[i] = replace(record, started=record.started + timedelta(seconds=i))
    return records
