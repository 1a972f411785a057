"""Lightning callbacks that a script passes to `lightseg.train(callbacks=[...])`."""

import io
from collections.abc import Sequence
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback

from lightseg.errors import LightsegError


def check_callbacks(callbacks: Any) -> list[Callback]:
    """The callbacks as a list. LightsegError for what is no callback of pytorch_lightning."""
    if not isinstance(callbacks, Sequence) or isinstance(callbacks, str):
        raise LightsegError("lightseg.train: callbacks is a list, as in callbacks=[MyCallback()]")
    for callback in callbacks:
        if isinstance(callback, Callback):
            continue
        bases = type(callback).__mro__ if not isinstance(callback, type) else ()
        if isinstance(callback, type):
            reason = f"{callback.__name__} is a class: give an object of it, {callback.__name__}()"
        elif any(base.__module__.startswith("lightning.") for base in bases):
            reason = f"{type(callback).__name__} is of the package lightning: import Callback from pytorch_lightning"
        else:
            reason = f"{type(callback).__name__} is no pytorch_lightning.Callback"
        raise LightsegError(f"lightseg.train(callbacks=...): {reason}")
    return list(callbacks)


def raised_by(error: BaseException, callbacks: Sequence[Callback]) -> Callback | None:
    """The callback in whose method the error was raised."""
    trace, raiser = error.__traceback__, None
    while trace is not None:
        holder = trace.tb_frame.f_locals.get("self")
        raiser = next((callback for callback in callbacks if callback is holder), raiser)
        trace = trace.tb_next
    return raiser


class ReadableStates(Callback):
    """Refuses a checkpoint with a callback's state that `resume=` could not read: checkpoints are read without running
    code, as tensors and plain values."""

    def __init__(self, callbacks: Sequence[Callback]) -> None:
        self.callbacks = callbacks

    def on_save_checkpoint(self, trainer: pl.Trainer, module: pl.LightningModule, checkpoint: dict[str, Any]) -> None:
        for callback in self.callbacks:
            file = io.BytesIO()
            try:
                torch.save(callback.state_dict(), file)
                file.seek(0)
                torch.load(file, weights_only=True)
            except Exception as error:  # pickle and torch raise many kinds
                raise LightsegError(
                    f"the state of callback {type(callback).__name__} cannot be read back from a checkpoint: its "
                    "state_dict must hold tensors, numbers, texts, lists and dicts alone"
                ) from error
