"""Reads every `record.json` below a folder, trusting none of them: a record is whole and plain, or it is counted out.

What a record says is never used as a path, and no text of it holds a control character: it may be printed.
"""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from lightseg.errors import LightsegError
from lightseg.leaderboard.sanitize import Refused
from lightseg.leaderboard.validate import Record, parse

MOST_BYTES = 8 * 2**20  # a record of ImageNet, with a metric a class, has 100 kB
MOST_REASONS = 6  # in the line that counts what was left out


@dataclass
class Found:
    """The records, in the order of their folders, and what was left out: reason -> the files, never empty."""

    records: list[Record] = field(default_factory=list)
    skipped: dict[str, list[Path]] = field(default_factory=dict)
    unfinished: list[Path] = field(default_factory=list)  # run folders without a record

    def skip(self, reason: str, path: Path) -> None:
        self.skipped.setdefault(reason, []).append(path)

    def note(self) -> str:
        """One line on what is not in the table, empty if all is: "skipped 2 of 31 records: 2 not whole JSON (...)"."""
        parts = []
        if self.skipped:
            count = sum(map(len, self.skipped.values()))
            common = sorted(self.skipped.items(), key=lambda item: -len(item[1]))
            reasons = [f"{len(paths)} {reason} ({_shown(paths)})" for reason, paths in common[:MOST_REASONS]]
            more = sum(len(paths) for _, paths in common[MOST_REASONS:])
            reasons += [f"{more} for other reasons"] if more else []
            parts.append(f"skipped {count} of {count + len(self.records)} records: {', '.join(reasons)}")
        if self.unfinished:
            parts.append(f"{len(self.unfinished)} runs without a record: not finished ({_shown(self.unfinished)})")
        return "; ".join(parts)


def read_records(folders: Iterable[str | Path]) -> Found:
    """All records below the folders (each file once). Linked folders are counted, not entered: a link may lead in
    circles or anywhere.

    Raises:
        LightsegError: a folder is not there, or none of them holds a record that can be read.
    """
    found, seen = Found(), set[tuple[int, int]]()
    places = [Path(folder) for folder in folders]
    for folder in places:
        if not folder.is_dir():
            raise LightsegError(f"{_printable(folder)} is not a folder: give the runs_dir of your runs")
        for path in _record_files(folder, found):
            try:
                content = _read(path, seen)
                if content is not None:
                    found.records.append(parse(content, path.parent))
            except Refused as refused:
                found.skip(str(refused), path)
    if not found.records:
        where = ", ".join(map(_printable, places))
        what = "no record.json that can be read" if found.skipped else "no record.json"
        raise LightsegError(f"{what} in {where}: a run writes it last; {found.note() or 'no run was started there'}")
    return found


def _record_files(folder: Path, found: Found) -> Iterator[Path]:
    """Files named record.json, in the order of their paths. A run's own subfolders are not searched."""
    waiting = [folder]
    while waiting:
        place = waiting.pop()
        try:
            with os.scandir(place) as entries:
                names = {entry.name: entry for entry in entries}
        except OSError as error:
            found.skip(f"in a folder that cannot be read: {error.strerror}", place)
            continue
        if (record := names.get("record.json")) is not None:
            if record.is_file(follow_symlinks=False):
                yield Path(record.path)
                continue
            found.skip("not a plain file", Path(record.path))
        if "config.yaml" in names:
            found.unfinished.append(place)
            continue
        for name in sorted(names, reverse=True):
            entry = names[name]
            if entry.is_dir(follow_symlinks=False):
                waiting.append(Path(entry.path))
            elif entry.is_symlink() and entry.is_dir():
                found.skip("below a linked folder, which is not entered: name it", Path(entry.path))


def _read(path: Path, seen: set[tuple[int, int]]) -> bytes | None:
    """None for a file that was read already, by another of the folders' paths."""
    try:
        with open(path, "rb") as file:
            status = os.fstat(file.fileno())
            if (status.st_dev, status.st_ino) in seen:
                return None
            seen.add((status.st_dev, status.st_ino))
            content = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise Refused(f"cannot be read: {error.strerror}") from error
    if len(content) > MOST_BYTES:
        raise Refused(f"larger than {MOST_BYTES >> 20} MB")
    return content


def _shown(paths: list[Path]) -> str:
    return _printable(paths[0]) + (", ..." if len(paths) > 1 else "")


def _printable(path: Path) -> str:
    """A folder's name may hold what steers a terminal."""
    return "".join(letter if letter.isprintable() else "?" for letter in str(path))
