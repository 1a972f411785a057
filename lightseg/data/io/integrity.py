"""What every kind of data set shares around its files: a look for broken ones before training, and a fingerprint."""

import hashlib
import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from lightseg.errors import DataError, LightsegError

_AT_ONCE = 16  # samples a thread looks at in one go; ImageNet has 1.3 million, and a task for each takes 1 GB


class BadFile(NamedTuple):
    path: Path
    reason: str


class Checked(Protocol):
    """A data set that `verify` can look through."""

    @property
    def paths(self) -> Sequence[Path]:
        """The image of every sample."""

    def __len__(self) -> int: ...

    def check(self, index: int) -> None:
        """DataError for what can be seen to be wrong with a sample without decoding it."""

    def read(self, index: int) -> Any:
        """The sample, decoded as training would; DataError for a broken one."""

    def keep_only(self, chosen: Sequence[bool]) -> None: ...


def verify(dataset: Checked, on_error: str = "raise") -> list[BadFile]:
    """Looks for broken files before training does. Threads do the reading; the result is in the data set's order.

    `raise`: nothing is decoded; a missing label, an unreadable header, a label of another size is a DataError at once.
    `skip`: every file is decoded as training would; the bad samples are taken out of the data set and returned.
    """
    if on_error not in ("raise", "skip"):
        raise LightsegError(f"on_error is {on_error!r}: choose raise or skip")
    count = len(dataset)

    def check(start: int) -> dict[int, str]:
        reasons = {}
        for index in range(start, min(start + _AT_ONCE, count)):
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
        for found in pool.map(check, range(0, count, _AT_ONCE)):
            reasons |= found
    if not reasons:
        return []
    if len(reasons) == count:
        raise DataError(f"all {count} images of the split are unusable; the first: {reasons[0]}")
    paths = dataset.paths
    dataset.keep_only([index not in reasons for index in range(count)])
    return [BadFile(paths[index], reason) for index, reason in reasons.items()]


def fingerprint(files: Iterable[tuple[str, str | Path]]) -> str:
    """12 hexadecimal digits that change with the names and sizes (not the contents) of (name, file)."""
    digest = hashlib.sha256()
    for name, file in files:
        try:
            size = os.stat(file).st_size
        except OSError:
            size = -1
        digest.update(f"{name}/{os.path.basename(file)}:{size}\n".encode())
    return digest.hexdigest()[:12]
