"""Checks that Weights & Biases can be used: API key, WANDB_MODE and server. Does not import wandb."""

import netrc
import os
import urllib.error
import urllib.request

from lightseg.errors import LightsegError

SERVER = "https://api.wandb.ai"
TIMEOUT_S = 10


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


def require_online(dry_run_shows: str) -> None:
    """Raise LightsegError where nothing can be sent to W&B.

    Args:
        dry_run_shows: what `--dry-run` prints, for the end of the error text.
    """
    instead = f"; --dry-run shows {dry_run_shows}"
    if (mode := os.environ.get("WANDB_MODE", "")) in ("offline", "disabled", "dryrun"):
        raise LightsegError(f"WANDB_MODE={mode}: nothing is sent to W&B; unset it first{instead}")
    if not logged_in():
        raise LightsegError(f"not logged in to W&B: run `wandb login`, or set WANDB_API_KEY{instead}")
    try:
        urllib.request.urlopen(server(), timeout=TIMEOUT_S).close()
    except urllib.error.HTTPError:
        pass  # the server responds
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        raise LightsegError(f"W&B cannot be reached at {server()} ({reason}): try again later{instead}") from error
