"""`lightseg train task=seg backbone=mobilenetv3_large`: train, evaluate and record one backbone on one task.

    lightseg train --help

`python train.py` in a checkout is the same code, and so is `lightseg.train(task="seg")` in Python. The configuration is
composed and checked before torch is imported, so an error in a key appears at once.
"""

import signal
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from lightseg import events
from lightseg.config.usage import help_text
from lightseg.errors import LightsegError, one_line


@dataclass(frozen=True)
class FinishedRun:
    """What `lightseg.train` returns: the run's folder, and the content of its record.json (docs/python.md)."""

    folder: Path
    record: dict[str, Any] = field(repr=False)


def main(overrides: Sequence[str]) -> int:
    """Exit code: 0 done, 1 runs of a sweep failed, 2 an error that the user can fix (one line on stderr),
    130 interrupted."""
    if {"--help", "-h"} & set(overrides):
        _print(help_text() + "\n")
        return 0
    try:
        with events.stream("log=jsonl" in overrides and "--cfg" not in overrides):
            return _train(overrides)
    except LightsegError as error:
        print(f"error: {one_line(error)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as error:
        again = "continue with resume=<run folder> or the same sweep"
        print(str(error) or f"interrupted; finished epochs are saved ({again})", file=sys.stderr)
        return 130


def _train(overrides: Sequence[str]) -> int:
    with extra_train():
        from lightseg.config.sweep import read_sweep  # needs omegaconf, which --help does not
    sweep = read_sweep([override for override in overrides if override != "--cfg"])
    if "--cfg" in overrides:
        _print("---\n".join(sweep.configurations()))
    elif sweep.is_one_run:
        _run(sweep.first)
    elif sweep.first.get("log") == "jsonl":
        raise LightsegError("log=jsonl is for one run: the runs of a sweep write their output to <runs_dir>/sweeps")
    else:
        return trainer_module("launch.dispatch").run_sweep(sweep)
    return 0


def train(
    overrides: Mapping[str, Any] | Iterable[str] = (), /, *, callbacks: Sequence[Any] = (), **keywords: Any
) -> FinishedRun:
    """One run: `lightseg train` from Python, in this process.

    >>> run = lightseg.train(task="seg", backbone="mobilenetv3_large", trainer={"max_epochs": 2})
    >>> run = lightseg.train({"trainer.max_epochs": 2, "data.root": "/data/rooms"}, data="folder")
    >>> run.folder, run.record["metrics"]

    Args:
        overrides: keys with their dots, as a dict or as the command line's `key=value` texts.
        callbacks: Lightning callbacks (`pytorch_lightning.Callback`), which run beside lightseg's own.
        keywords: keys without dots. A dict gives the keys below.

    Returns:
        The run's folder and its record (empty in all processes of the run but the first).

    Raises:
        LightsegError: one line, for the errors that exit with code 2, and for overrides that mean several runs.
    """
    with extra_train():
        from lightseg.config.compose import compose
        from lightseg.config.python_overrides import check_one_run, merge_overrides
    config = compose(merge_overrides(overrides, keywords))
    check_one_run(config)
    try:
        return _run(config, callbacks)
    except LightsegError as error:
        if "\n" not in str(error):
            raise
        raise type(error)(one_line(error)) from None  # from a data loader's worker, with its traceback in the text


def _run(config: Any, callbacks: Sequence[Any] = ()) -> FinishedRun:
    """One run of a composed configuration, with callbacks of the user."""
    with events.stream(config.get("log") == "jsonl"):
        return _executed(config, callbacks)


def _executed(config: Any, callbacks: Sequence[Any]) -> FinishedRun:
    from lightseg import process_tuning
    from lightseg.config.compose import defaults_of, plain

    process_tuning.tune_process()  # before torch is imported
    values, defaults = plain(config), plain(defaults_of(config))
    distributed, execute = trainer_module("run.distributed"), trainer_module("run.execute")
    in_main_thread = threading.current_thread() is threading.main_thread()
    handler = signal.getsignal(signal.SIGINT)
    try:
        record = execute.run(values, defaults, callbacks)
        return FinishedRun(Path(distributed.current_run_folder()), record)
    except SystemExit as stop:  # how Lightning ends on Ctrl-C; the process would ignore the next Ctrl-C
        if not isinstance(stop.__context__, KeyboardInterrupt):
            raise
        raise KeyboardInterrupt from None
    finally:
        distributed.forget_run_folder()
        if in_main_thread and handler is not None:
            signal.signal(signal.SIGINT, handler)


def _print(text: str) -> None:
    try:
        print(text, end="", flush=True)
    except BrokenPipeError:  # `| head`
        sys.stderr.close()


def trainer_module(name: str) -> ModuleType:
    """A module of `tasks/`, which is `lightseg.tasks` in the wheel and a folder beside the library in a checkout."""
    library = Path(__file__).parents[1]
    with extra_train():
        if (library / "tasks").is_dir():
            return import_module(f"lightseg.tasks.{name}")
        if "tasks" not in sys.modules:  # this one, even if the working directory has a folder of that name
            sys.path.insert(0, str(library.parent))
        return import_module(f"tasks.{name}")


@contextmanager
def extra_train() -> Iterator[None]:
    """Names the extra `train` where one of its packages is missing."""
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or "").split(".")[0]
        if package in ("lightseg", "tasks"):
            raise
        raise LightsegError(f"training needs {package}: pip install 'lightseg[train]'") from error
