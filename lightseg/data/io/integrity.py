"""Checks of a data set's files before training, and a fingerprint of the files."""

import hashlib
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from lightseg.errors import DataError, LightsegError

MOST_COMPARED = 200_000  # images among which copies are looked for
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
                dataset.check(index)
                if on_error == "skip":
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


def copy_notes(train: Sequence[Path], evaluated: Sequence[Path], split: str) -> list[str]:
    """Lines on images that occur more than once, in a split or in both; none for more than MOST_COMPARED images.

    train, evaluated: the images of the samples, which may share images. split: the name of the evaluation split.
    """
    first, second = (list(dict.fromkeys(map(str, paths))) for paths in (train, evaluated))
    files = first + second
    pairs = copies(files) if len(files) <= MOST_COMPARED else {}
    shared = {copy: original for copy, original in pairs.items() if original < len(first) <= copy}
    repeated = {copy: original for copy, original in pairs.items() if copy not in shared}
    notes = []
    for group, text in (
        (shared, f"of {len(second)} {split} images are among the training images: figures are too good"),
        (repeated, "images are copies of others"),
    ):
        if group:
            copy, original = next(iter(group.items()))
            notes.append(f"{len(group)} {text}, the first: {files[copy]} = {files[original]}")
    return notes


def copies(files: Sequence[str]) -> dict[int, int]:
    """The files whose contents equal an earlier one's: their indices, and those of the earlier files.

    Only files that agree in size and in a piece of their middle are read.
    """
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        chunks = (files[start : start + _CHUNK] for start in range(0, len(files), _CHUNK))
        pieces = [piece for part in pool.map(lambda chunk: [*map(_piece, chunk)], chunks) for piece in part]
    counts = Counter(pieces)
    first: dict[bytes, int] = {}
    result = {}
    for index, (file, piece) in enumerate(zip(files, pieces, strict=True)):
        if piece and counts[piece] > 1:
            earlier = first.setdefault(hashlib.sha256(Path(file).read_bytes()).digest(), index)
            if earlier != index:
                result[index] = earlier
    return result


def _piece(file: str) -> bytes:
    """A digest of a file's size and middle; empty if it cannot be read."""
    try:
        with open(file, "rb") as opened:
            size = os.fstat(opened.fileno()).st_size
            opened.seek(max(0, size // 2 - 512))
            return hashlib.sha256(b"%d" % size + opened.read(1024)).digest()
    except OSError:
        return b""


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
