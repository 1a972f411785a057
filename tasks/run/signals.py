"""Signals of the keyboard and of schedulers: the step is finished, last.ckpt is written, and the run ends.

Slurm sends SIGTERM at the time limit, and before it what `#SBATCH --signal=USR1@120` asks for; a terminal that closes
sends SIGHUP.
"""

import signal
import threading
from types import FrameType, TracebackType
from typing import Any

NAMES = {"SIGINT": "interrupted", "SIGTERM": "terminated", "SIGHUP": "the terminal was closed", "SIGUSR1": "stopped"}
SIGNALS = {getattr(signal, name): text for name, text in NAMES.items() if hasattr(signal, name)}


class Stopped(BaseException):
    """A run that ends because of a signal. No subclass of Exception, like KeyboardInterrupt.

    Attributes:
        number: of the signal.
        reason: in words.
        saved: the optimizer steps of the `last.ckpt` that was written for it, or None.
    """

    def __init__(self, number: int, saved: int | None = None) -> None:
        super().__init__(number)
        self.number, self.saved = number, saved
        self.reason = SIGNALS[signal.Signals(number)]


class StopSignals:
    """Takes the signals while a run is active. In the main thread only: others cannot.

    While `waits` is true, the first signal is kept in `received`, for the training to finish its step; a second Ctrl-C
    ends the run at once. Otherwise a signal raises Stopped.
    """

    def __init__(self) -> None:
        self.received: int | None = None
        self.waits = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "StopSignals":
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.getsignal(number) for number in SIGNALS}
        self.install()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            if handler is not None:  # None: it was not set from Python
                signal.signal(number, handler)
        self._before = {}

    def install(self) -> None:
        """Also called once Lightning's `fit` has set a handler of its own for SIGTERM."""
        for number, handler in self._before.items():
            if handler is not signal.SIG_IGN:  # as under nohup
                signal.signal(number, self._handle)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        first, self.received = self.received is None, self.received or number
        if not self.waits or (number == signal.SIGINT and not first):
            raise Stopped(number)


def ignore_in_worker() -> None:
    """In a worker of a data loader. A terminal sends its signals to the workers too; the training process ends them."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
