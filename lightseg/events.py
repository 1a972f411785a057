"""Progress events of a run, `log=jsonl`: a JSON object a line on stdout. docs/training.md describes them."""

import json
import math
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from datetime import datetime, timezone
from typing import Any, TextIO

from lightseg.errors import LightsegError, one_line

SCHEMA = 1

_out: TextIO | None = None  # None: no events are written
_folder: str | None = None  # of the run that has started


@contextmanager
def stream(enabled: bool) -> Iterator[None]:
    """Events are written to stdout, and all else that is printed goes to stderr. The last event of an exception is
    `error`. Does nothing if not `enabled`, or within another stream."""
    global _out, _folder
    if not enabled or _out is not None:
        yield
        return
    _out, _folder = sys.stdout, None
    try:
        with redirect_stdout(sys.stderr):
            yield
    except BaseException as error:
        code = _exit_code(error)
        message = f"ended with exit code {code}" if isinstance(error, SystemExit) else one_line(error)
        emit("error", kind=type(error).__name__, message=message, exit_code=code, folder=_folder)
        raise
    finally:
        _out = None


def emit(event: str, **fields: Any) -> None:
    """Write an event, in the first process of a run. A number that JSON lacks (NaN) is null."""
    global _out, _folder
    if event == "start":
        _folder = fields.get("folder")
    if _out is None or any(os.environ.get(key, "0") != "0" for key in ("RANK", "LOCAL_RANK", "SLURM_PROCID")):
        return
    content = {"event": event, "time": datetime.now(timezone.utc).isoformat(timespec="milliseconds"), **fields}
    try:
        _out.write(json.dumps(_finite(content), allow_nan=False) + "\n")
        _out.flush()
    except OSError:  # nobody reads any more: the run goes on
        _out = open(os.devnull, "w")  # noqa: SIM115


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _exit_code(error: BaseException) -> int:
    """The exit code of `lightseg train` after this exception."""
    if isinstance(error, LightsegError):
        return 2
    if isinstance(error, KeyboardInterrupt):
        return 130
    return error.code if isinstance(error, SystemExit) and isinstance(error.code, int) else 1
