"""The epoch in which a run is resumed: its learning rate, and its batches without those that are done."""

from typing import Any


def batches_done(trainer: Any) -> int:
    """Of the present epoch, when a run is resumed."""
    fit = trainer.fit_loop
    return fit.epoch_loop.batch_progress.current.ready if fit.restarted_mid_epoch else 0


def continue_batches(trainer: Any) -> None:
    """Build the iterator of the training batches anew: Lightning has built it, and workers have begun to read from it,
    before it knew the epoch of the checkpoint."""
    fit = trainer.fit_loop
    for loader in fit._combined_loader.flattened:
        loader.batch_sampler.sampler.set_epoch(fit.epoch_progress.current.processed)
        loader.batch_sampler.done = batches_done(trainer)
    iter(fit._data_fetcher)


def continue_schedules(trainer: Any, saved: list[dict[str, Any]], step: int, start: int) -> None:
    """Set the learning rates of a resumed run, which are those of the schedule over its new number of epochs.

    saved: the states in the checkpoint. step: of the schedule. start: the optimizer step at which it began.
    """
    for config, state in zip(trainer.lr_scheduler_configs, saved, strict=False):
        config.scheduler.step_update(step)
        before, after = state.get("t_initial"), getattr(config.scheduler, "t_initial", None)
        if before != after:
            begins = f", from step {start} on" if start else ""
            print(f"the schedule of the learning rate has {after} steps instead of {before}{begins}", flush=True)
