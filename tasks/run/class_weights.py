"""`loss.class_weights=auto`: weights from the pixels of the training masks.

ENet (Paszke et al., arXiv:1606.02147, section 5): 1 / ln(1.02 + share of the class), here with a mean of 1 over the
classes that occur. A class without a pixel has weight 0.
"""

from typing import Any

import numpy as np

from lightseg.errors import LightsegError

from ..data import DataModule

AUTO = "auto"


def with_class_weights(config: dict[str, Any], data: DataModule) -> dict[str, Any]:
    """The configuration with numbers in place of `auto`; `replaced` keeps the word. An evaluation has no weights.

    Raises:
        LightsegError: a data set whose labels are not counted.
    """
    if config["loss"].get("class_weights") != AUTO:
        return config
    weights = None
    if config["mode"] == "train":
        counted = data.label_statistics("train")
        if counted is None:
            raise LightsegError(f"loss.class_weights=auto: data={data.options['name']} counts no labels; give numbers")
        weights = balanced_weights(counted.counts)
        names = zip(counted.class_names, weights, strict=True)
        print(f"loss.class_weights=auto: {', '.join(f'{name} {weight:g}' for name, weight in names)}", flush=True)
    replaced = {**config.get("replaced", {}), "loss.class_weights": AUTO}
    return {**config, "loss": {**config["loss"], "class_weights": weights}, "replaced": replaced}


def balanced_weights(counts: np.ndarray) -> list[float]:
    """A weight a class, from the counts int64 [C] of their labels."""
    weights = np.where(counts > 0, 1 / np.log(1.02 + counts / max(1, counts.sum())), 0)
    return (weights / max(weights.sum(), 1e-9) * (counts > 0).sum()).round(4).tolist()
