"""`lightseg leaderboard runs/ --task seg --data camvid`: the results of finished runs in comparable tables."""

import argparse
import json
import math
import os
import sys
from collections.abc import Iterable
from pathlib import Path

from lightseg.atomic_io import write_text
from lightseg.errors import LightsegError
from lightseg.leaderboard import csv_json, text
from lightseg.leaderboard.cells import check_metrics, group_table, matrix_table
from lightseg.leaderboard.matrix import build_matrix
from lightseg.leaderboard.records import read_records
from lightseg.leaderboard.select import COLUMNS, FILTERS, select_records, sort_groups
from lightseg.leaderboard.table import REWARD_EXPONENT, Group, group_runs
from lightseg.output_paths import check_outputs

FORMATS = ("terminal", "markdown", "csv", "latex", "html", "json")
SUFFIXES = {".md": "markdown", ".csv": "csv", ".tex": "latex", ".html": "html", ".htm": "html", ".json": "json"}
PAGE = "leaderboard.html"
RUN_FILES = ("record.json", "config.yaml", "metrics.csv")


def leaderboard(
    folders: Iterable[str | Path] = ("runs",),
    *,
    filters: dict[str, str | None] | None = None,
    sort: str | None = None,
    reverse: bool = False,
    target_ms: float | None = None,
    reward_exponent: float = REWARD_EXPONENT,
) -> tuple[list[Group], str]:
    """The runs below the folders as groups with comparable numbers, and a line on records that were left out.

    Args:
        filters: shell patterns, separated by commas, of `task`, `data`, `backbone`, `head`, `weights`.
        sort: name of a metric or a column. None: the task's main metric.
        target_ms, reward_exponent: of MnasNet's reward, accuracy * (latency / target)^exponent.

    Raises:
        LightsegError: there is no record, the filters leave none, or no column has the name to sort by.
    """
    if target_ms is not None and not (math.isfinite(target_ms) and target_ms > 0):
        raise LightsegError(f"--target-ms {target_ms:g}: a latency in milliseconds is more than 0")
    if not math.isfinite(reward_exponent):
        raise LightsegError(f"--reward-exponent {reward_exponent}: a number, {REWARD_EXPONENT} in the paper")
    scan = read_records(folders)
    records = select_records(scan.records, filters or {})
    groups = group_runs(records, target_ms=target_ms, reward_exponent=reward_exponent)
    return sort_groups(groups, sort, reverse), scan.note()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "folders", nargs="*", default=["runs"], metavar="folder", help="folders of runs (default: runs)"
    )
    examples = {"task": "seg,det", "data": "camvid", "backbone": "mobilenet*", "head": "lraspp", "weights": "scratch"}
    for key in FILTERS:
        parser.add_argument(f"--{key}", help=f"only these: {examples[key]!r}")
    parser.add_argument("--sort", metavar="KEY", help=f"a metric (mIoU) or one of {', '.join(COLUMNS)}")
    parser.add_argument("--reverse", action="store_true", help="in reverse order")
    parser.add_argument("--metrics", help="columns of metrics: all, or names with commas; csv and json have all")
    parser.add_argument("--matrix", action="store_true", help="models x data sets (the HTML page has both)")
    parser.add_argument(
        "--reward",
        "--target-ms",
        dest="target_ms",
        type=float,
        metavar="MS",
        help="add MnasNet's reward at this target latency, accuracy x (latency / MS)^W; --sort reward sorts by it",
    )
    parser.add_argument(
        "--reward-exponent",
        type=float,
        default=REWARD_EXPONENT,
        metavar="W",
        help=f"exponent of the reward, default {REWARD_EXPONENT} (MobileNetV3-Small: -0.15)",
    )
    parser.add_argument("--format", choices=FORMATS, help="default: by the suffix of --output, otherwise terminal")
    parser.add_argument(
        "--output", metavar="FILE", help=f"default: standard output; html: {PAGE} in the folder of runs"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace an existing --output")
    parser.add_argument("--wandb", metavar="ENTITY/PROJECT", help="publish a W&B Report and a wandb.Table artifact")
    parser.add_argument("--dry-run", action="store_true", help="with --wandb: print what would be sent, as JSON")


def run(arguments: argparse.Namespace) -> None:
    suffix = Path(arguments.output).suffix.lower() if arguments.output else ""
    form = arguments.format or SUFFIXES.get(suffix, "terminal")
    if arguments.output and not arguments.format and suffix not in SUFFIXES:
        raise LightsegError(f"--output {arguments.output}: end it in {', '.join(SUFFIXES)}, or give --format")
    if arguments.dry_run and not arguments.wandb:
        raise LightsegError("--dry-run prints what --wandb entity/project would send: give that too")
    if arguments.wandb and (arguments.format or arguments.output or arguments.matrix or arguments.metrics):
        raise LightsegError("--wandb has a format of its own: leave out --format, --output, --matrix and --metrics")
    if arguments.output:
        _check_output(Path(arguments.output), arguments.overwrite)
    tables, note = leaderboard(
        arguments.folders,
        filters={key: getattr(arguments, key) for key in FILTERS},
        sort=arguments.sort,
        reverse=arguments.reverse,
        target_ms=arguments.target_ms,
        reward_exponent=arguments.reward_exponent,
    )
    check_metrics(tables, arguments.metrics)
    if arguments.wandb:
        _to_wandb(tables, arguments)
    elif form == "html":
        from lightseg.leaderboard.page import write_page

        path = Path(arguments.output or Path(arguments.folders[0]) / PAGE)
        write_page(tables, path, [note] if note else [])
        print(path)
    else:
        content = _text(tables, note, form, arguments)
        if arguments.output:
            _write(Path(arguments.output), content)
            print(arguments.output)
        else:
            sys.stdout.write(content)
    if note:
        sys.stdout.flush()
        print(note, file=sys.stderr)


def _to_wandb(tables: list[Group], arguments: argparse.Namespace) -> None:
    """The Report's address, or with --dry-run its specification, to standard output."""
    from lightseg.tracking import report as wandb_report

    entity, project = wandb_report.destination(arguments.wandb)
    name = wandb_report.title({key: getattr(arguments, key) for key in FILTERS})
    if arguments.dry_run:
        print(json.dumps(wandb_report.specification(tables, entity, project, name), indent=1, allow_nan=False))
    else:
        print(wandb_report.publish(tables, entity, project, name))
    if count := wandb_report.not_logged(tables):
        sys.stdout.flush()
        print(f"{count} runs were not logged to W&B: they are in the tables, not in the run sets", file=sys.stderr)


def _text(tables: list[Group], note: str, form: str, arguments: argparse.Namespace) -> str:
    matrix = build_matrix(tables) if arguments.matrix else None
    if form == "json":
        return csv_json.matrix_json(matrix) if matrix else csv_json.json_text(tables, note)
    if form == "csv":
        return csv_json.matrix_csv(matrix) if matrix else csv_json.csv_text(tables)
    cells = [matrix_table(matrix)] if matrix else [group_table(group, arguments.metrics) for group in tables]
    if form == "terminal":
        width = None if arguments.output else text.terminal_width()
        return text.terminal(cells, width, color=width is not None and "NO_COLOR" not in os.environ)
    return text.markdown(cells) if form == "markdown" else text.latex(cells)


def _check_output(path: Path, overwrite: bool) -> None:
    if (path.parent / "record.json").is_file() and path.name in RUN_FILES:
        raise LightsegError(f"{path} is a file of a run and would be overwritten: give another --output")
    check_outputs([path], overwrite=overwrite)


def _write(path: Path, content: str) -> None:
    """Atomically: an earlier table is kept if the disk is full."""
    try:
        write_text(path, content)
    except OSError as error:
        raise LightsegError(f"cannot write {path}: {error.strerror}") from error
