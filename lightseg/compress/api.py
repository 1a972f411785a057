"""`compress`: a small file of a checkpoint, which `load_model` reads."""

import logging
import os
from pathlib import Path
from typing import Any

from lightseg.checkpoint import load_model
from lightseg.compress.pruning import layer_weights, prune, share_of_zeros
from lightseg.compress.sharing import share_weights
from lightseg.compressed_file import write_compressed
from lightseg.errors import LightsegError
from lightseg.model import Model
from lightseg.output_paths import check_outputs

log = logging.getLogger(__name__)
ENDING = ".compressed"


def compress(
    checkpoint: str | Path,
    path: str | Path | None = None,
    *,
    sparsity: float = 0.0,
    scope: str = "layer",
    bits: int = 8,
    overwrite: bool = False,
) -> dict[str, Any]:
    """Prune, share and code the weights of a run's checkpoint.

    Args:
        checkpoint: of a run, `.../checkpoints/best.ckpt`, if possible one that was fine-tuned with `prune.sparsity`.
        path: of the file; None: beside the checkpoint, `best.8bit.compressed`.
        sparsity, scope: as for `lightseg.compress.pruning.prune`; 0 prunes nothing. Weights that are zero already
            count and stay zero.
        bits: at most 2^bits values per layer.
        overwrite: whether to replace an existing file; the checkpoint itself is never replaced.

    Returns:
        The report of `compress_model`.

    Raises:
        LightsegError: the checkpoint cannot be read safely, a value is out of range, or the file exists or cannot be
            written.
    """
    checkpoint = Path(checkpoint)
    target = Path(path) if path is not None else checkpoint.with_suffix(f".{bits}bit{ENDING}")
    if target.is_dir():
        raise LightsegError(f"{target} exists: give another --output, it is a folder")
    check_outputs([target], [checkpoint], overwrite=overwrite)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LightsegError(f"{target.parent} cannot be made ({error.strerror}): give another --output") from error
    if not os.access(target.parent, os.W_OK):
        raise LightsegError(f"{target} cannot be written: give another --output")
    model = load_model(checkpoint)
    deployed = model.deployed()
    if share_of_zeros(model) - share_of_zeros(deployed) > 0.01:
        log.warning(
            f"{checkpoint}: its pruned weights are spread over branches, and the fused ones are not zero: "
            "give --sparsity to prune the fused layers"
        )
    return compress_model(deployed, target, sparsity=sparsity, scope=scope, bits=bits)


def compress_model(
    model: Model, path: str | Path, *, sparsity: float = 0.0, scope: str = "layer", bits: int = 8
) -> dict[str, Any]:
    """The same for a model in memory, which is changed in place. `load_model(path)` then returns exactly this model.

    Returns:
        `file`, `bytes`, `bytes_before` (of the uncompressed state), `parts` (bytes of `positions`, `codes`, `tables`,
        `plain`, `header`), `weights` (number in convolutions and linear layers), `kept` (fraction of these that is not
        zero), `bits`.
    """
    state = model.state_dict()
    before = sum(tensor.numel() * tensor.element_size() for tensor in state.values())
    if sparsity:
        prune(model, sparsity, scope)
    share_weights(model, bits)
    parts = write_compressed(path, model.spec, state)
    return {
        "file": str(path),
        "bytes": sum(parts.values()),
        "bytes_before": before,
        "parts": parts,
        "weights": sum(weight.numel() for weight in layer_weights(model).values()),
        "kept": 1 - share_of_zeros(model),
        "bits": bits,
    }
