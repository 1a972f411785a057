"""The YAML file of a choice such as `data=rooms`: the user's in `./configs/<group>/`, otherwise the shipped one.

A path is accepted wherever a name is (`data=path/to/rooms.yaml`). Shipped files lie in `configs/`, beside the library
in a checkout and inside it in the wheel. This module does not import omegaconf, so that `--help` needs no omegaconf.
"""

import os
import re
import sys
from functools import cache
from pathlib import Path

from lightseg.catalog.tasks import TASKS
from lightseg.config.renamed_keys import old_keys
from lightseg.errors import LightsegError, nearest

_LIBRARY = Path(__file__).parents[1]
SHIPPED = next(path for path in (_LIBRARY / "configs", _LIBRARY.parent / "configs") if (path / "train.yaml").is_file())
USER_CONFIGS = Path("configs")  # in the working directory

GROUPS = ("task", "data", "trainer", "logger", "launcher", "search")  # keys whose value names a file of that folder
NAMED = (*GROUPS, "experiment")

# Signs of Hydra, whose projects also have folders and files of these names in `./configs`
_HYDRA = re.compile(r"^\s*_target_\s*:|^defaults\s*:|^# @package", re.MULTILINE)
_TOP_LEVEL_KEY = re.compile(r"""^["']?([A-Za-z_]\w*)[\w.]*["']?\s*:""", re.MULTILINE)

_user_files_read: set[Path] = set()
_foreign_files: set[tuple[str, Path]] = set()  # (group, file): the shipped file of that name was read instead
_remarks_printed: set[str] = set()


def find_file(group: str, name: str) -> Path:
    """The file that `group=name` means. Raises LightsegError where there is none."""
    if is_path(name):
        if not Path(name).is_file():
            raise LightsegError(f"{group}={name}: no such file ({Path(name).absolute()})")
        _user_files_read.add(Path(name).absolute())
        return Path(name)
    shipped, user_file = base_file(group, name), None
    if _user_folder() is not None and (USER_CONFIGS / group / f"{name}.yaml").is_file():
        user_file = USER_CONFIGS / group / f"{name}.yaml"
    if user_file is not None and shipped.is_file() and not is_lightseg_file(user_file, group):
        _foreign_files.add((group, user_file.absolute()))
        user_file = None
    if user_file is not None:
        _user_files_read.add(user_file.absolute())
        return user_file
    if shipped.is_file():
        return shipped
    folders = [f"{shown(SHIPPED / group)}/"]
    if _user_folder() is not None:
        folders.insert(0, f"{USER_CONFIGS / group}/")
    raise LightsegError(f"no {group} named '{name}': {nearest(name, choices(group))} ({' and '.join(folders)})")


def base_file(group: str, name: str) -> Path:
    """The shipped file of a choice, or the file of a registered task. It need not exist."""
    if group == "task" and name in TASKS and TASKS[name].config:
        return Path(TASKS[name].config)
    return SHIPPED / group / f"{name}.yaml"


def is_path(name: str) -> bool:
    """Whether the value of a group is a path rather than the name of a choice."""
    return name.endswith((".yaml", ".yml")) or "/" in name or os.sep in name


def choices(group: str) -> list[str]:
    """The names that a group accepts."""
    registered = set(TASKS) if group == "task" else set()
    return sorted({path.stem for path in (SHIPPED / group).glob("*.yaml")} | set(user_choices(group)) | registered)


def user_choices(group: str) -> list[str]:
    """The names among them that are the user's files."""
    if _user_folder() is None:
        return []
    return sorted(path.stem for path in (USER_CONFIGS / group).glob("*.yaml") if is_lightseg_file(path, group))


def shown(path: Path) -> str:
    """The path for messages: relative where it lies below the working directory."""
    path = Path(os.path.abspath(path))
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


def is_lightseg_file(path: Path, group: str) -> bool:
    """Whether a file of `./configs/<group>/` is for lightseg: it has a key of the group and no sign of Hydra."""
    text = _text(path)
    return not _HYDRA.search(text) and bool(_keys(text) & _group_keys(group))


def remark_on_foreign_files() -> None:
    """Print which files of `./configs` were ignored because they belong to another program, to stderr.

    Call it after all files have been looked up.
    """
    folder = _user_folder()
    if folder is None:
        return
    within = [path for path in _user_files_read if path.is_relative_to(folder.absolute())]
    if within or any(user_choices(group) for group in NAMED):
        for group, path in sorted(_foreign_files):
            if path.is_relative_to(folder.absolute()):
                remark(f"{shown(path)} is ignored: no key in it is one of lightseg's for {group}")
    elif any(folder.rglob("*.y*ml")):
        remark(f"{folder.absolute()} is ignored: no <group>/<name>.yaml in it has keys of lightseg")


def _user_folder() -> Path | None:
    """`./configs`, unless there is none or it is the shipped one."""
    return USER_CONFIGS if USER_CONFIGS.is_dir() and USER_CONFIGS.resolve() != SHIPPED.resolve() else None


def _group_keys(group: str) -> frozenset[str]:
    """The keys by which a file of the group is recognized. Every data file needs `format`."""
    if group == "data":
        return frozenset({"format"})
    return _train_keys() if group == "experiment" else _shipped_keys(group)


@cache
def _shipped_keys(group: str) -> frozenset[str]:
    keys = frozenset().union(*(_keys(_text(path)) for path in (SHIPPED / group).glob("*.yaml")))
    keys |= old_keys(group)
    return keys | _train_keys() if group == "task" else keys


@cache
def _train_keys() -> frozenset[str]:
    return frozenset(_keys(_text(SHIPPED / "train.yaml"))) | old_keys("")


def _keys(text: str) -> set[str]:
    """The top-level keys of a YAML file (of dotted keys the first part), without parsing it as YAML."""
    return set(_TOP_LEVEL_KEY.findall(text))


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return ""


def remark(line: str) -> None:
    """Print a line once per process, and only in the first process of a run."""
    first = all(os.environ.get(key, "0") == "0" for key in ("RANK", "LOCAL_RANK", "SLURM_PROCID"))
    if first and line not in _remarks_printed:
        _remarks_printed.add(line)
        print(line, file=sys.stderr, flush=True)
