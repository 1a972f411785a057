"""What a user did that cannot work, said in one line, which the commands print before they exit with code 2."""

from collections.abc import Iterable
from difflib import get_close_matches


class LightsegError(ValueError):
    """One clear line: what was wrong, where, and what to do."""

    def _render_traceback_(self) -> list[str]:
        """What a notebook shows (IPython's protocol): the line, as there is nothing to look up in the code."""
        return [f"{type(self).__name__}: {one_line(self)}"]


class DataError(LightsegError):
    """A file of the data set that is missing, unreadable or contradicts another one; the message names its path."""


def nearest(name: str, choices: Iterable[str], most: int = 3) -> str:
    """The choices most like `name` as a half sentence (`"did you mean a, b?"`), or all of a short list."""
    choices = list(choices)
    close = get_close_matches(name.lower(), choices, n=most, cutoff=0.5)
    if close:
        return f"did you mean {', '.join(close)}?"
    return f"choose from {', '.join(choices)}" if len(choices) <= 12 else "nothing comes near it"


def one_line(error: BaseException) -> str:
    """The message alone, also where a data-loading worker has wrapped it in its traceback."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    if not lines:
        return type(error).__name__
    last = lines[-1].strip() if lines[0].startswith("Caught ") else " ".join(line.strip() for line in lines)
    return last.split("Error: ", 1)[1] if lines[0].startswith("Caught ") and "Error: " in last else last
