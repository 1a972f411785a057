"""The figures of foreign predictions."""

from dataclasses import dataclass, field
from typing import Any


@dataclass
class Scored:
    """
    Attributes:
        metrics: by name without split, such as "mAP".
        resolution: of the evaluation, as in the protocol of a run.
        notes: remarks on predictions that do not count.
        protocol: further entries.
    """

    metrics: dict[str, float]
    resolution: str
    notes: list[str] = field(default_factory=list)
    protocol: dict[str, Any] = field(default_factory=dict)
