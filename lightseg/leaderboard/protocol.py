"""How a metric was measured: the values under which two numbers may stand in one column, and how they are said."""

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

from lightseg.leaderboard.sanitize import MOST_KEYS, MOST_LETTERS, Refused, plain

SAID = {  # the values that are not said as "key value"
    "split": "{}",
    "precision": "{}",
    "images": "{} images",
    "classes": "{} classes",
    "resolution": "resolution: {}",
    "checkpoint": "{} checkpoint",
    "crop": "input ({})",
    "ignore": "ids {} ignored",
    "left_out": "kinds of annotation left out: {}",
    "skipped": "unreadable pictures left out: {}",
}
UNSAID = (("scales", "[1.0]"),)  # the usual value


def read_protocol(given: dict[str, Any], data: dict[str, Any]) -> dict[str, str]:
    """The values of the protocol; of pictures that were left out how many, of a checkpoint which of a run's two.

    With what the data's options say of the labels: a class more or less makes another mean over classes.
    """
    protocol: dict[str, str] = {}
    for key, value in given.items():
        if key in ("left_out", "skipped"):
            if isinstance(value, list) and value:
                protocol[key] = str(len(value))
            continue
        if key == "checkpoint":
            stem = re.split(r"[/\\]", value)[-1].removesuffix(".ckpt") if isinstance(value, str) else ""
            value = stem if stem in ("best", "last") else "given"
        protocol[plain(key)] = plain(value)
    splits = data.get("split")
    if isinstance(splits, dict) and isinstance(name := splits.get(protocol.get("split", "")), str):
        protocol["split"] = plain(name)  # data.split.val=test
    if isinstance(classes := data.get("classes"), list | dict):
        digest = hashlib.sha256(json.dumps(classes, sort_keys=True).encode()).hexdigest()
        protocol["classes"] = f"{len(classes)} {digest[:6]}"
    for key in ("ignore", "coarse"):
        if data.get(key):
            protocol[key] = plain(data[key])
    if any(len(text) >= MOST_LETTERS for text in protocol.values()) or len(protocol) > MOST_KEYS:
        raise Refused("whose protocol is too long")
    return protocol


def say_protocol(protocol: Mapping[str, str]) -> str:
    """One line: "val, 80 images, resolution: the label's own, best checkpoint, ema, 32-true"."""
    parts = []
    for key, value in protocol.items():
        if (key, value) in UNSAID or value == "false":
            continue
        if key in SAID:
            text = value.split()[0] if key == "classes" else value  # without the digits that stand for their names
            parts.append(SAID[key].format(text.replace('"', "").strip("{}")))
        else:
            parts.append(key if value == "true" else f"{key} {value}")
    return ", ".join(parts)
