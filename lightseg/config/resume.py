"""What may change when a run is resumed."""

from typing import Any

from omegaconf import DictConfig, OmegaConf

from lightseg.config.check_key import canonical, expected
from lightseg.config.domains import sections_of
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
    before, after, sections = _leaves(saved), _leaves(config), sections_of(config)
    for key in [*after, *(before.keys() - after.keys())]:
        if canonical(key, before.get(key), sections) == after.get(key):
            continue
        is_mended = key in before and expected(key, before[key], None, sections) is not None
        if is_mended or any(f"{key}.".startswith(f"{allowed}.") for allowed in MAY_CHANGE):
            continue
        raise LightsegError(
            f"resume={config.resume}: this run has {key}={before.get(key)}, which cannot change to {after.get(key)}. "
            f"Leave {key} out, or start a new run with pretrained={config.resume}/checkpoints/last.ckpt"
        )


def _leaves(config: DictConfig) -> dict[str, Any]:
    return dotted(OmegaConf.to_container(config, resolve=True))  # type: ignore[arg-type]
