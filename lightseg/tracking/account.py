"""Checks that Weights & Biases can be used: API key, WANDB_MODE and server. Does not import wandb."""

import netrc
import os
import urllib.error
import urllib.request

from lightseg.errors import LightsegError

OFF = ("disabled", "dryrun", "offline")  # values of WANDB_MODE under which nothing is sent
SERVER = "https://api.wandb.ai"
TIMEOUT_S = 8


def server() -> str:
    return os.environ.get("WANDB_BASE_URL", SERVER).rstrip("/")


def logged_in() -> bool:
    """An API key in the environment or in the netrc file that `wandb login` writes."""
    if os.environ.get("WANDB_API_KEY"):
        return True
    host = server().split("//")[-1].split("/")[0]
    try:
        return netrc.netrc(os.environ.get("NETRC")).authenticators(host) is not None
    except (OSError, netrc.NetrcParseError):
        return False


def run_mode(option: str) -> str:
    """`online`, `offline` or `disabled` for a run with `logger.mode=option`.

    `auto` is what WANDB_MODE or WANDB_DISABLED says, otherwise online if the user is logged in.
    """
    if option != "auto":
        return option
    if os.environ.get("WANDB_DISABLED", "").lower() in ("1", "true", "yes", "on"):
        return "disabled"
    mode = os.environ.get("WANDB_MODE", "")
    if mode in ("online", *OFF):
        return "offline" if mode == "dryrun" else mode
    return "online" if logged_in() else "offline"


def unreachable(url: str | None = None) -> str | None:
    """Why the server does not respond within TIMEOUT_S. None if it does. url: null for W&B's server."""
    try:
        urllib.request.urlopen(url or server(), timeout=TIMEOUT_S).close()
    except urllib.error.HTTPError:
        return None  # it responds
    except (OSError, ValueError) as error:
        return str(getattr(error, "reason", None) or error)
    return None


def require_online(dry_run_shows: str) -> None:
    """Raise LightsegError where nothing can be sent to W&B.

    Args:
        dry_run_shows: what `--dry-run` prints, for the end of the error text.
    """
    instead = f"; --dry-run shows {dry_run_shows}"
    if (mode := os.environ.get("WANDB_MODE", "")) in OFF:
        raise LightsegError(f"WANDB_MODE={mode}: nothing is sent to W&B; unset it first{instead}")
    if not logged_in():
        raise LightsegError(f"not logged in to W&B: run `wandb login`, or set WANDB_API_KEY{instead}")
    if reason := unreachable():
        raise LightsegError(f"W&B cannot be reached at {server()} ({reason}): try again later{instead}")
