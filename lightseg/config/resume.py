"""What may change when a run is resumed."""

from typing import Any

from omegaconf import DictConfig, OmegaConf

from lightseg.config.overrides import dotted
from lightseg.errors import LightsegError

# Keys and groups that take effect from the resumed epoch on. Data, model, optimizer and randomness are not among them.
# With more `trainer.max_epochs` the learning rate follows the longer schedule.
MAY_CHANGE = (
    "resume", "resume_schedule", "ckpt", "runs_dir", "trainer", "evaluation", "profile", "logger", "launcher", "log",
    "compile", "channels_last",
    "data.root", "data.workers", "data.cache", "data.on_error", "data.eval_batch_size",
)  # fmt: skip


def check_resume(saved: DictConfig, config: DictConfig) -> None:
    """Raise LightsegError for a value of `config` that is not that of the run, `saved`, and may not change."""
    before, after = _leaves(saved), _leaves(config)
    for key in [*after, *(before.keys() - after.keys())]:
        if before.get(key) == after.get(key) or any(f"{key}.".startswith(f"{allowed}.") for allowed in MAY_CHANGE):
            continue
        raise LightsegError(
            f"resume={config.resume}: this run has {key}={before.get(key)}, which cannot change to {after.get(key)}. "
            f"Leave {key} out, or start a new run with pretrained={config.resume}/checkpoints/last.ckpt"
        )


def _leaves(config: DictConfig) -> dict[str, Any]:
    return dotted(OmegaConf.to_container(config, resolve=True))  # type: ignore[arg-type]
