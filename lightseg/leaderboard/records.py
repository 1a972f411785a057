"""Reads every `record.json` below a folder. No file is trusted: a record is complete and valid, or it is left out.

No text of a record is used as a path, and none holds a control character, so that it may be printed.
"""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from lightseg.errors import LightsegError
from lightseg.leaderboard.sanitize import InvalidRecord, printable
from lightseg.leaderboard.validate import Record, parse

MAX_BYTES = 8 * 2**20  # a record of ImageNet, with a metric per class, has 100 kB
MAX_REASONS = 6  # in the line that counts the records left out


@dataclass
class RecordScan:
    """The records in the order of their folders, and the files that were left out, by reason."""

    records: list[Record] = field(default_factory=list)
    skipped: dict[str, list[Path]] = field(default_factory=dict)
    unfinished: list[Path] = field(default_factory=list)  # run folders without a record

    def skip(self, reason: str, path: Path) -> None:
        self.skipped.setdefault(reason, []).append(path)

    def note(self) -> str:
        """One line on what is not in the table: "skipped 2 of 31 records: 2 not valid JSON (...)"; "" for nothing."""
        parts = []
        if self.skipped:
            count = sum(map(len, self.skipped.values()))
            by_count = sorted(self.skipped.items(), key=lambda item: -len(item[1]))
            reasons = [f"{len(paths)} {reason} ({_example(paths)})" for reason, paths in by_count[:MAX_REASONS]]
            others = sum(len(paths) for _, paths in by_count[MAX_REASONS:])
            reasons += [f"{others} for other reasons"] if others else []
            parts.append(f"skipped {count} of {count + len(self.records)} records: {', '.join(reasons)}")
        if self.unfinished:
            parts.append(f"{len(self.unfinished)} runs without a record: not finished ({_example(self.unfinished)})")
        return "; ".join(parts)


def read_records(folders: Iterable[str | Path]) -> RecordScan:
    """All records below the folders, each file once. Symbolic links to folders are counted, not followed.

    Raises:
        LightsegError: a folder does not exist, or there is no valid record in any of them.
    """
    scan, seen = RecordScan(), set[tuple[int, int]]()
    roots = [Path(folder) for folder in folders]
    for folder in roots:
        if not folder.is_dir():
            raise LightsegError(f"{printable(str(folder))} is not a folder: give the runs_dir of your runs")
        for path in _record_files(folder, scan):
            try:
                content = _read(path, seen)
                if content is not None:
                    scan.records.append(parse(content, path.parent))
            except InvalidRecord as error:
                scan.skip(str(error), path)
    if not scan.records:
        names = ", ".join(printable(str(folder)) for folder in roots)
        missing = "no valid record.json" if scan.skipped else "no record.json"
        raise LightsegError(f"{missing} in {names}: a run writes it last; {scan.note() or 'no run was started there'}")
    return scan


def _record_files(top: Path, scan: RecordScan) -> Iterator[Path]:
    """Files named record.json in the order of their paths. The subfolders of a run are not searched."""
    waiting = [top]
    while waiting:
        folder = waiting.pop()
        try:
            with os.scandir(folder) as entries:
                by_name = {entry.name: entry for entry in entries}
        except OSError as error:
            scan.skip(f"in a folder that cannot be read: {error.strerror}", folder)
            continue
        if (record := by_name.get("record.json")) is not None:
            if record.is_file(follow_symlinks=False):
                yield Path(record.path)
                continue
            scan.skip("not a regular file", Path(record.path))
        if "config.yaml" in by_name:
            scan.unfinished.append(folder)
            continue
        for name in sorted(by_name, reverse=True):
            entry = by_name[name]
            if entry.is_dir(follow_symlinks=False):
                waiting.append(Path(entry.path))
            elif entry.is_symlink() and entry.is_dir():
                scan.skip("below a symbolic link, which is not followed: give its path", Path(entry.path))


def _read(path: Path, seen: set[tuple[int, int]]) -> bytes | None:
    """The content of a file. None: the file was read before, by the path of another folder."""
    try:
        with open(path, "rb") as file:
            status = os.fstat(file.fileno())
            if (status.st_dev, status.st_ino) in seen:
                return None
            seen.add((status.st_dev, status.st_ino))
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise InvalidRecord(f"cannot be read: {error.strerror}") from error
    if len(content) > MAX_BYTES:
        raise InvalidRecord(f"larger than {MAX_BYTES >> 20} MB")
    return content


def _example(paths: list[Path]) -> str:
    return printable(str(paths[0])) + (", ..." if len(paths) > 1 else "")
