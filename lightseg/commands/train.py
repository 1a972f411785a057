"""`lightseg train task=seg backbone=mobilenetv3_large`: train, evaluate and record one backbone on one task.

    lightseg train --help

`python train.py` in a checkout is the same code. The configuration is composed and checked before torch is imported: a
mistyped key is answered at once.
"""

import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from lightseg import process_tuning
from lightseg.config.compose import defaults_of, help_text, plain
from lightseg.config.sweep import read_sweep
from lightseg.errors import LightsegError, one_line


def main(overrides: Sequence[str]) -> int:
    """Exit code: 0 done, 1 runs of a sweep failed, 2 the user can mend it (one line on stderr), 130 interrupted."""
    if {"--help", "-h"} & set(overrides):
        print(help_text())
        return 0
    try:
        sweep = read_sweep([word for word in overrides if word != "--cfg"])
        if "--cfg" in overrides:
            print("---\n".join(sweep.configurations()), end="")
            return 0
        if not sweep.is_one_run:
            return trainer_module("launch.dispatch").run_sweep(sweep)
        run(plain(sweep.first), plain(defaults_of(sweep.first)))
    except LightsegError as error:
        print(f"error: {one_line(error)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted; what is finished is saved (resume=<run folder> or the same sweep goes on)", file=sys.stderr)
        return 130
    return 0


def run(config: dict[str, Any], defaults: dict[str, Any]) -> dict[str, Any]:
    """One run of a composed configuration. Returns its record (empty in other processes than the first)."""
    process_tuning.tune_process()  # before torch is imported
    return trainer_module("run.execute").run(config, defaults)


def trainer_module(name: str) -> ModuleType:
    """A module of `tasks/`, which is `lightseg.tasks` in the wheel and lies beside the library in a checkout."""
    library = Path(__file__).parents[1]
    if (library / "tasks").is_dir():
        return import_module(f"lightseg.tasks.{name}")
    if str(library.parent) not in sys.path:
        sys.path.insert(0, str(library.parent))
    return import_module(f"tasks.{name}")
