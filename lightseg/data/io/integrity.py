"""Checks of a data set's files before training, and a fingerprint of the files."""

import hashlib
import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from lightseg.errors import DataError, LightsegError

_CHUNK = 16  # samples per task of a thread; with a task per sample, ImageNet's 1.3 million would take 1 GB


class BadFile(NamedTuple):
    path: Path
    reason: str


class Checked(Protocol):
    """A data set that `verify` can check."""

    @property
    def paths(self) -> Sequence[Path]:
        """The image of every sample."""

    def __len__(self) -> int: ...

    def check(self, index: int) -> None:
        """Raise DataError for errors in a sample that show without decoding it."""

    def read(self, index: int) -> Any:
        """The sample, decoded as in training. Raises DataError for a broken sample."""

    def keep_only(self, chosen: Sequence[bool]) -> None: ...


def verify(dataset: Checked, on_error: str = "raise") -> list[BadFile]:
    """Check all files, in threads, before training.

    `raise`: without decoding. Raises DataError for a missing label, an unreadable header or a label of another size.
    `skip`: with decoding. Broken samples are removed from the data set and returned, in the data set's order.
    """
    if on_error not in ("raise", "skip"):
        raise LightsegError(f"on_error is {on_error!r}: choose raise or skip")
    count = len(dataset)

    def check(start: int) -> dict[int, str]:
        reasons = {}
        for index in range(start, min(start + _CHUNK, count)):
            try:
                if on_error == "raise":
                    dataset.check(index)
                else:
                    dataset.read(index)
            except DataError as error:
                if on_error == "raise":
                    raise
                reasons[index] = str(error)
        return reasons

    reasons: dict[int, str] = {}
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        for chunk in pool.map(check, range(0, count, _CHUNK)):
            reasons |= chunk
    if not reasons:
        return []
    if len(reasons) == count:
        raise DataError(f"all {count} images of the split are unusable; the first: {reasons[0]}")
    paths = dataset.paths
    dataset.keep_only([index not in reasons for index in range(count)])
    return [BadFile(paths[index], reason) for index, reason in reasons.items()]


def fingerprint(files: Iterable[tuple[str, str | Path]]) -> str:
    """12 hexadecimal digits that depend on the names and sizes (not the contents) of (name, file)."""
    digest = hashlib.sha256()
    for name, file in files:
        try:
            size = os.stat(file).st_size
        except OSError:
            size = -1
        digest.update(f"{name}/{os.path.basename(file)}:{size}\n".encode())
    return digest.hexdigest()[:12]
