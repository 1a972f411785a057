"""A bar where stderr is a terminal, and one line for everything that is odd; stdout stays clean for pipes."""

import sys
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn


class PredictionProgress:
    """Use as a context. shown: False is silence."""

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

    def begin(self, what: str, total: int) -> None:
        """total: 0 where it is not known."""
        self._task = self.bar.add_task(what, total=total or None)

    def advance(self) -> None:
        self.bar.advance(self._task)

    def say(self, line: str) -> None:
        if not self.shown:
            return
        if self.bar.disable:
            print(line, file=sys.stderr, flush=True)
        else:
            self.bar.console.print(line, markup=False, highlight=False, soft_wrap=True)
