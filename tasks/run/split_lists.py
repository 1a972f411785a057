"""The lists of a run whose evaluation images are a share of the training images: splits/train.txt, splits/val.txt."""

from pathlib import Path

from lightseg.atomic_io import write_text
from lightseg.data.datasets.splitting import name_of, share_of
from lightseg.errors import DataError, LightsegError

from ..data import DataModule
from . import distributed

FOLDER = "splits"


def save_lists(data: DataModule, folder: Path, *, resumed: bool) -> None:
    """Write the images of the run's splits, relative to `data.root`, one a line, in its first process.

    resumed: the run has lists, which stay. Raises DataError where the images are not those of the lists.
    """
    if share_of(data.options) is None:
        return
    for split in data.loaded:
        paths = dict.fromkeys(name_of(path, data.options["root"]) for path in data.dataset(split).paths)
        file, lines = folder / FOLDER / f"{split}.txt", list(paths)
        if resumed and file.is_file():
            _compare(lines, file.read_text(encoding="utf-8").splitlines(), file)
        elif distributed.rank() == 0:
            try:
                file.parent.mkdir(exist_ok=True)
                write_text(file, "\n".join(lines) + "\n")
            except OSError as error:
                raise LightsegError(f"cannot write {file} ({error.strerror}): give another runs_dir") from error


def _compare(now: list[str], before: list[str], file: Path) -> None:
    if now != before:
        added, gone = sorted(set(now) - set(before)), sorted(set(before) - set(now))
        first = (added + gone or now)[0]
        raise DataError(
            f"{file}: the run began with other images ({len(added)} are new, {len(gone)} are missing, the first: "
            f"{first}): restore them, or start a new run"
        )
