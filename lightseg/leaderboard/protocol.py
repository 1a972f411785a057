"""The evaluation protocol: how a metric was measured. Only numbers of one protocol share a column."""

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

from lightseg.leaderboard.sanitize import MAX_CHARS, MAX_KEYS, InvalidRecord, one_line_text

TEMPLATES = {  # of the values that are not described as "key value"
    "split": "{}",
    "precision": "{}",
    "images": "{} images",
    "classes": "{} classes",
    "resolution": "resolution: {}",
    "checkpoint": "{} checkpoint",
    "crop": "input ({})",
    "ignore": "ids {} ignored",
    "left_out": "kinds of annotation left out: {}",
    "skipped": "unreadable images left out: {}",
}
# of a foreign record, which says no more: how its network was run is not known
COMPARED = ("split", "images", "resolution", "classes", "ignore", "coarse", "left_out", "skipped", "sigmas")
HIDDEN = (("scales", "[1.0]"),)  # the usual value


def read_protocol(values: dict[str, Any], data: dict[str, Any]) -> dict[str, str]:
    """The protocol of a record as plain text: the number of images left out, and which of a run's checkpoints.

    Data options that change the labels become part of it, because the mean over classes depends on them. Raises
    InvalidRecord for a partial evaluation, which is not comparable, and for a protocol that is too long.
    """
    if "partial_of" in values:
        raise InvalidRecord(f"of a partial evaluation: {values.get('images')} of {values['partial_of']} samples")
    protocol: dict[str, str] = {}
    for key, value in values.items():
        if key in ("left_out", "skipped"):
            if isinstance(value, list) and value:
                protocol[key] = str(len(value))
            continue
        if key == "checkpoint":
            stem = re.split(r"[/\\]", value)[-1].removesuffix(".ckpt") if isinstance(value, str) else ""
            value = stem if stem in ("best", "last") else "given"
        protocol[one_line_text(key)] = one_line_text(value)
    splits = data.get("split")
    if isinstance(splits, dict) and isinstance(name := splits.get(protocol.get("split", "")), str):
        protocol["split"] = one_line_text(name)  # data.split.val=test
    if isinstance(classes := data.get("classes"), list | dict):
        digest = hashlib.sha256(json.dumps(classes, sort_keys=True).encode()).hexdigest()
        protocol["classes"] = f"{len(classes)} {digest[:6]}"
    for key in ("ignore", "coarse"):
        if data.get(key):
            protocol[key] = one_line_text(data[key])
    if any(len(text) >= MAX_CHARS for text in protocol.values()) or len(protocol) > MAX_KEYS:
        raise InvalidRecord("whose protocol is too long")
    return protocol


def describe_protocol(protocol: Mapping[str, str]) -> str:
    """One line: "val, 80 images, resolution: the label's own, best checkpoint, ema, 32-true"."""
    parts = []
    for key, value in protocol.items():
        if (key, value) in HIDDEN or value == "false":
            continue
        if key in TEMPLATES:
            text = value.split()[0] if key == "classes" else value  # without the digest of the class names
            parts.append(TEMPLATES[key].format(text.replace('"', "").strip("{}")))
        else:
            parts.append(key if value == "true" else f"{key} {value}")
    return ", ".join(parts)
