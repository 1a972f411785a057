"""`lightseg data camvid data.root=/data/CamVid`: a data set looked at before training, as a table and an HTML page."""

import argparse
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightseg.commands.train import extra_train
from lightseg.errors import LightsegError

if TYPE_CHECKING:
    from lightseg.inspection.report import DataReport


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "overrides",
        nargs="*",
        metavar="data or override",
        help="a choice of data=, and overrides as for train: camvid data.root=/data/CamVid",
    )
    parser.add_argument("--output", metavar="FILE.html", help="the page; default: data_<name>.html, which is replaced")
    parser.add_argument("--overwrite", action="store_true", help="replace an existing --output")
    parser.add_argument("--no-page", action="store_true", help="print the tables alone")


def run(arguments: argparse.Namespace) -> None:
    if arguments.no_page and arguments.output:
        raise LightsegError("--no-page writes no file: leave out --output")
    if arguments.output:
        from lightseg.output_paths import check_outputs

        check_outputs([Path(arguments.output)], overwrite=arguments.overwrite)
    report = _inspect(_named(arguments.overrides), progress=True)
    print(report)
    if not arguments.no_page:
        path = report.save(arguments.output or f"data_{report.name}.html")
        print(f"\n{os.path.relpath(path)}: open it in a browser")


def inspect_data(
    overrides: Mapping[str, Any] | Iterable[str] = (), /, *, progress: bool = False, **keywords: Any
) -> "DataReport":
    """A data set looked at before training: `lightseg data` from Python. Arguments are those of `lightseg.train`.

    >>> report = lightseg.inspect_data({"data.root": "/data/rooms"}, data="folder")
    >>> print(report)
    >>> report.save("rooms.html")

    Args:
        overrides: keys with their dots, as a dict or as the command line's `key=value` texts.
        progress: show a bar where stderr is a terminal.
        keywords: keys without dots. A dict gives the keys below. The task follows from `data`.

    Raises:
        LightsegError: one line, for a configuration or a split that cannot be opened.
    """
    with extra_train():
        from lightseg.config.python_overrides import merge_overrides
    return _inspect(merge_overrides(overrides, keywords), progress)


def _named(overrides: list[str]) -> list[str]:
    """A first word without `=` is the choice of `data=`."""
    if overrides and "=" not in overrides[0]:
        return [f"data={overrides[0]}", *overrides[1:]]
    return overrides


def _inspect(overrides: list[str] | dict[str, Any], progress: bool) -> "DataReport":
    with extra_train():
        from lightseg.config.compose import compose, plain
        from lightseg.config.data_task import with_task
    config = plain(compose(with_task(overrides)))
    from lightseg import process_tuning

    process_tuning.tune_process()  # before torch is imported
    with extra_train():
        from lightseg.catalog.tasks import get_task
        from lightseg.inspection.inspect import inspect
    return inspect(get_task(config["task"]), config["data"], seed=config["seed"], progress=progress)
