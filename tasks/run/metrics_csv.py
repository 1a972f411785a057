"""`metrics.csv` of a run: a row for each optimizer step with logged values."""

import csv
import io
from argparse import Namespace
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers.logger import Logger
from pytorch_lightning.utilities.rank_zero import rank_zero_only

from lightseg.atomic_io import writing
from lightseg.errors import LightsegError

Row = dict[str, Any]


class MetricsCSV(Logger):
    """`metrics.csv`. A row is appended; the file is written anew only where columns are added.

    Lightning's CSVLogger deletes the file when a run is resumed. This logger keeps the rows up to the checkpoint.

    Args:
        path: of the file.
        resume_step: of the checkpoint from which the run is resumed. Rows from this step on are removed.

    Raises:
        LightsegError: the file of the resumed run is not as this class wrote it.
    """

    def __init__(self, path: Path, resume_step: int | None = None) -> None:
        super().__init__()
        self.path = path
        self.columns = ["step", "epoch"]
        self._row: Row = {}  # of the latest step; more values of that step may follow
        self._start = self._end = 0  # of this row in the file, in bytes
        self._saved = True
        self._anew = True  # write the whole file
        if resume_step is not None and path.is_file():
            self._keep_rows_before(resume_step)

    @property
    def name(self) -> str:
        return "csv"

    @property
    def version(self) -> str:
        return ""

    @rank_zero_only
    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        """Not logged: they are in config.yaml."""

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        step = step or 0
        if self._row and step != self._row["step"]:
            self.save()
            if step < self._row["step"]:
                self._anew = True
            self._row, self._start = {}, self._end
        self._row = {"step": step, **self._row, **metrics}
        self._saved = False
        if added := [name for name in metrics if name not in self.columns]:
            self.columns += added
            self._anew = True

    @rank_zero_only
    def save(self) -> None:
        if self._saved:
            return
        if self._anew or not self.path.is_file():
            self._write_anew()
        else:
            line = self._text([self._row])
            # another program may have changed the file: then the row goes to its end
            position = self._start if (size := self.path.stat().st_size) == self._end else size
            with open(self.path, "r+b") as file:
                file.seek(position)
                file.write(line)
                file.truncate()
            self._start, self._end = position, position + len(line)
        self._saved = True

    @rank_zero_only
    def finalize(self, status: str) -> None:
        self.save()

    def _write_anew(self) -> None:
        rows = {int(row["step"]): row for row in _read(self.path)} if self.path.is_file() else {}
        step = self._row["step"]
        rows[step] = {**rows.get(step, {}), **self._row}
        self._write([rows[step] for step in sorted(rows)])

    @rank_zero_only
    def _keep_rows_before(self, step: int) -> None:
        rows = [row for row in _read(self.path) if int(row["step"]) < step]
        self.columns = list(dict.fromkeys([*self.columns, *(name for row in rows for name in row)]))
        self._write(rows)

    def _write(self, rows: list[Row]) -> None:
        content = ",".join(self.columns).encode() + b"\r\n" + self._text(rows)
        with writing(self.path) as file:
            file.write(content)
        self._row = {**rows[-1], "step": int(rows[-1]["step"])} if rows else {}
        self._end = len(content)
        self._start = self._end - len(self._text(rows[-1:]))
        self._anew = False

    def _text(self, rows: list[Row]) -> bytes:
        text = io.StringIO()
        csv.DictWriter(text, self.columns).writerows(rows)
        return text.getvalue().encode()


def _read(path: Path) -> list[Row]:
    """The rows, without empty cells. Raises LightsegError if another program has changed the file's form."""
    try:
        with open(path, encoding="utf-8", newline="") as file:
            rows = [{name: value for name, value in row.items() if value != ""} for row in csv.DictReader(file)]
        for row in rows:
            int(row["step"])
    except (ValueError, KeyError, TypeError, csv.Error) as error:
        raise LightsegError(
            f"{path} is not as it was written: it needs commas and a column of whole numbers `step` (did a spreadsheet "
            "save it?). Restore it, or move it away, which loses the rows up to here"
        ) from error
    return rows
