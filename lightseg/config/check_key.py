"""The check of one value: against the table of domains, or the type of the default where the table lacks the key."""

from collections.abc import Iterable
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf

from lightseg.config.domain import shown
from lightseg.config.domains import PARENTS, domain_of, sections_of
from lightseg.config.split_keys import VAL_SHARE
from lightseg.config.trainer_keys import hint
from lightseg.errors import LightsegError


def expected(key: str, value: Any, default: Any, sections: Iterable[str]) -> str | None:
    """A description of the values that fit, for a value that does not. None for one that fits.

    default: another value of the key, whose type decides where the table has no such key.
    """
    domain = domain_of(key, sections)
    if key == "data.split.val" and VAL_SHARE.fits(value):
        return None
    if domain is None or (key in PARENTS and isinstance(default, dict | DictConfig)):
        kind = _wrong_type(default, value, key)
        return f"{kind}, or {VAL_SHARE.description}" if kind and key == "data.split.val" else kind
    if domain.fits(value):
        return None
    return domain.description + (hint(key.removeprefix("trainer."), value) if key.startswith("trainer.") else "")


def canonical(key: str, value: Any, sections: Iterable[str]) -> Any:
    """A value that fits, as it is stored: with `~` expanded in paths, for example."""
    domain = domain_of(key, sections)
    return value if domain is None or not domain.fits(value) else domain.canonical(value)


def check_all(config: DictConfig, origin: str, left_out: Iterable[str] = ()) -> None:
    """Raise LightsegError for a value of a composed configuration that does not fit, and store the canonical values.

    origin: the file of the values, for error texts; "" for files that were checked. left_out: keys that may be null.
    """
    sections, nullable = sections_of(config), set(left_out)

    def check(node: DictConfig, prefix: str) -> None:
        for name in list(node):
            key, value = f"{prefix}{name}", node[name]
            domain = domain_of(key, sections)
            if isinstance(value, DictConfig) and (domain is None or key in PARENTS):
                check(value, f"{key}.")
                continue
            if domain is None or (value is None and key in nullable):
                continue
            plain = OmegaConf.to_container(value) if isinstance(value, DictConfig | ListConfig) else value
            if (kind := expected(key, plain, None, sections)) is not None:
                place = f" ({origin})" if origin else ""
                instead = f"; give another on the command line, as {key}=<value>" if origin else ""
                raise LightsegError(f"{key}={shown(plain)}{place}: must be {kind}{instead}")
            if domain.canonical(plain) != plain:
                node[name] = domain.canonical(plain)

    check(config, "")


def _wrong_type(default: Any, value: Any, key: str) -> str | None:
    if isinstance(default, dict | DictConfig):
        example = f"{key}.{next(map(str, default), 'key')}=..."
        return None if isinstance(value, dict) else f"given key by key, as in {example}"
    if default is None or (value is None and not isinstance(default, bool | int)):
        return None
    if isinstance(default, bool):
        return None if isinstance(value, bool) else "true or false"
    if isinstance(default, int):
        return None if isinstance(value, int) and not isinstance(value, bool) else "a whole number"
    if isinstance(default, float):
        return None if isinstance(value, int | float) and not isinstance(value, bool) else "a number"
    if isinstance(default, str):
        return None if not isinstance(value, list | dict) else "a single word"
    return None if isinstance(value, list) else "a list, as in [1, 2]"
