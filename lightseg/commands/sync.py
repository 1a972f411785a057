"""`lightseg sync runs/`: uploads to W&B the runs that were trained offline."""

import argparse
import sys
from collections.abc import Iterable
from pathlib import Path

from lightseg.tracking.sync import OfflineRuns, offline_runs, upload


def sync(
    folders: Iterable[str | Path] = ("runs",), *, unfinished: bool = False, dry_run: bool = False
) -> tuple[OfflineRuns, list[Path]]:
    """Upload the runs below the folders that are not uploaded yet.

    Args:
        unfinished: also runs without a record.json. Not while they train: what they log later would be missing.

    Returns:
        The offline runs, and the folders that are (with `dry_run`: would be) uploaded.

    Raises:
        LightsegError: a folder does not exist; W&B is not installed, not logged in, or did not accept a run.
    """
    runs = offline_runs(folders)
    chosen = [*runs.waiting, *(runs.unfinished if unfinished else ())]
    if chosen and not dry_run:
        upload(chosen)
    return runs, chosen


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "folders", nargs="*", default=["runs"], metavar="folder", help="folders of runs (default: runs)"
    )
    parser.add_argument(
        "--unfinished", action="store_true", help="also runs without a record.json (not while they train)"
    )
    parser.add_argument("--dry-run", action="store_true", help="list what would be uploaded, without a network")


def run(arguments: argparse.Namespace) -> None:
    runs, chosen = sync(arguments.folders, unfinished=arguments.unfinished, dry_run=arguments.dry_run)
    for folder in chosen if arguments.dry_run else ():
        print(folder)
    parts = [f"{len(chosen)} {'to upload' if arguments.dry_run else 'uploaded'}", f"{runs.uploaded} before"]
    if runs.unfinished and not arguments.unfinished:
        parts.append(f"{len(runs.unfinished)} of unfinished runs left out (--unfinished takes them)")
    print(f"offline runs: {', '.join(parts)}", file=sys.stderr)
