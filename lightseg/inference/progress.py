"""The progress bar of `predict`, and its lines about defective images, both on stderr. stdout stays free for pipes."""

import sys
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn


class PredictionProgress:
    """A context manager. The bar appears where stderr is a terminal.

    shown: False: print nothing.
    """

    def __init__(self, shown: bool) -> None:
        self.shown = shown
        console = Console(stderr=True)
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        self.bar = Progress(
            *columns,
            TextColumn("ETA"),
            TimeRemainingColumn(),
            console=console,
            disable=not (shown and console.is_terminal),
        )

    def __enter__(self) -> "PredictionProgress":
        self.bar.start()
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.bar.stop()

    def begin(self, title: str, total: int) -> None:
        """total: number of images, 0 where it is unknown."""
        self._task = self.bar.add_task(title, total=total or None)

    def advance(self) -> None:
        self.bar.advance(self._task)

    def print(self, line: str) -> None:
        if not self.shown:
            return
        if self.bar.disable:
            print(line, file=sys.stderr, flush=True)
        else:
            self.bar.console.print(line, markup=False, highlight=False, soft_wrap=True)
