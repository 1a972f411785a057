"""`lightseg sync runs/`: uploads to W&B the runs that were trained offline."""

import argparse
import sys
from collections.abc import Iterable
from pathlib import Path

from lightseg.tracking.sync import OfflineRuns, offline_runs, upload


def sync(
    folders: Iterable[str | Path] = ("runs",), *, unfinished: bool = False, dry_run: bool = False
) -> tuple[OfflineRuns, list[Path]]:
    """Uploads what is below the folders and not uploaded yet.

    Args:
        unfinished: also runs without a record; not while they train, since their end would be left behind.

    Returns:
        What was found, and the folders that are (with `dry_run`: would be) uploaded.

    Raises:
        LightsegError: a folder is not there; W&B is not installed, not logged in, or did not take a run.
    """
    found = offline_runs(folders)
    chosen = [*found.waiting, *(found.unfinished if unfinished else ())]
    if chosen and not dry_run:
        upload(chosen)
    return found, chosen


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "folders", nargs="*", default=["runs"], metavar="folder", help="folders of runs (default: runs)"
    )
    parser.add_argument(
        "--unfinished", action="store_true", help="also runs without a record.json; not while they train"
    )
    parser.add_argument("--dry-run", action="store_true", help="name what would be uploaded; needs no network")


def run(arguments: argparse.Namespace) -> None:
    found, chosen = sync(arguments.folders, unfinished=arguments.unfinished, dry_run=arguments.dry_run)
    for place in chosen if arguments.dry_run else ():
        print(place)
    parts = [f"{len(chosen)} {'to upload' if arguments.dry_run else 'uploaded'}", f"{found.uploaded} before"]
    if found.unfinished and not arguments.unfinished:
        parts.append(f"{len(found.unfinished)} of runs that are not finished left out (--unfinished takes them)")
    print(f"offline runs: {', '.join(parts)}", file=sys.stderr)
