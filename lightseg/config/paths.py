"""Which YAML file a choice such as `data=rooms` means: the person's own in `./configs/<group>/`, then the shipped one.

A path may stand wherever a name may (`data=path/to/rooms.yaml`). Shipped files lie in `configs/`, beside the library in
a checkout and inside it in the wheel. Nothing here imports omegaconf: `--help` lists choices without it.
"""

import os
import re
import sys
from functools import cache
from pathlib import Path

from lightseg.catalog.tasks import TASKS
from lightseg.errors import LightsegError, nearest

_LIBRARY = Path(__file__).parents[1]
SHIPPED = next(path for path in (_LIBRARY / "configs", _LIBRARY.parent / "configs") if (path / "train.yaml").is_file())
OWN = Path("configs")  # of the working directory

GROUPS = ("task", "data", "trainer", "logger", "launcher", "search")  # keys whose value is a file of that folder
NAMED = (*GROUPS, "experiment")

# Hydra's marks: its projects have the same folders, and files of the same names, in their own configs/
_HYDRA = re.compile(r"^\s*_target_\s*:|^defaults\s*:|^# @package", re.MULTILINE)
_TOP_LEVEL_KEY = re.compile(r"""^["']?([A-Za-z_]\w*)[\w.]*["']?\s*:""", re.MULTILINE)

_own_files_read: set[Path] = set()
_foreign_files: set[tuple[str, Path]] = set()  # with the group for which the shipped file of that name was read
_remarks_printed: set[str] = set()


def find_file(group: str, name: str) -> Path:
    """The file that `group=name` means. Raises LightsegError, one line, where there is none."""
    if is_path(name):
        if not Path(name).is_file():
            raise LightsegError(f"{group}={name}: no such file ({Path(name).absolute()})")
        _own_files_read.add(Path(name).absolute())
        return Path(name)
    shipped, own = base_file(group, name), None
    if _own_folder() is not None and (OWN / group / f"{name}.yaml").is_file():
        own = OWN / group / f"{name}.yaml"
    if own is not None and shipped.is_file() and not is_lightseg_file(own, group):
        _foreign_files.add((group, own.absolute()))
        own = None
    if own is not None:
        _own_files_read.add(own.absolute())
        return own
    if shipped.is_file():
        return shipped
    places = [f"{shown(SHIPPED / group)}/"]
    if _own_folder() is not None:
        places.insert(0, f"{OWN / group}/")
    raise LightsegError(f"no {group} named '{name}': {nearest(name, choices(group))} ({' and '.join(places)})")


def base_file(group: str, name: str) -> Path:
    """The shipped file of a choice, or the one that a registered task brings along; it need not exist."""
    if group == "task" and name in TASKS and TASKS[name].config:
        return Path(TASKS[name].config)
    return SHIPPED / group / f"{name}.yaml"


def is_path(name: str) -> bool:
    """Whether the value of a group is a path rather than the name of a choice."""
    return name.endswith((".yaml", ".yml")) or "/" in name or os.sep in name


def choices(group: str) -> list[str]:
    """The names one may give for a group."""
    registered = set(TASKS) if group == "task" else set()
    return sorted({path.stem for path in (SHIPPED / group).glob("*.yaml")} | set(own_choices(group)) | registered)


def own_choices(group: str) -> list[str]:
    """Those of them that are files of the person's own."""
    if _own_folder() is None:
        return []
    return sorted(path.stem for path in (OWN / group).glob("*.yaml") if is_lightseg_file(path, group))


def shown(path: Path) -> str:
    """The path as it is printed: relative where it lies below the working directory."""
    path = Path(os.path.abspath(path))
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


def is_lightseg_file(path: Path, group: str) -> bool:
    """Whether a file of `./configs/<group>/` is one of lightseg's: it has a key of the group, and none of Hydra's."""
    text = _text(path)
    return not _HYDRA.search(text) and bool(_keys(text) & _group_keys(group))


def remark_on_foreign_files() -> None:
    """What was left out of `./configs` because it is another program's, a line each on stderr, or one line for all.

    To be called when all files have been looked up.
    """
    folder = _own_folder()
    if folder is None:
        return
    within = [path for path in _own_files_read if path.is_relative_to(folder.absolute())]
    if within or any(own_choices(group) for group in NAMED):
        for group, path in sorted(_foreign_files):
            if path.is_relative_to(folder.absolute()):
                _remark(f"{shown(path)} is ignored: no key in it is one of lightseg's for {group}")
    elif any(folder.rglob("*.y*ml")):
        _remark(f"{folder.absolute()} is ignored: no <group>/<name>.yaml in it has keys of lightseg")


def _own_folder() -> Path | None:
    """`./configs`, unless there is none or it is the shipped one."""
    return OWN if OWN.is_dir() and OWN.resolve() != SHIPPED.resolve() else None


def _group_keys(group: str) -> frozenset[str]:
    """Keys that tell a file of the group: every data file needs `format`, the others may hold any of their keys."""
    if group == "data":
        return frozenset({"format"})
    return _train_keys() if group == "experiment" else _shipped_keys(group)


@cache
def _shipped_keys(group: str) -> frozenset[str]:
    keys = frozenset().union(*(_keys(_text(path)) for path in (SHIPPED / group).glob("*.yaml")))
    return keys | _train_keys() if group == "task" else keys


@cache
def _train_keys() -> frozenset[str]:
    return frozenset(_keys(_text(SHIPPED / "train.yaml")))


def _keys(text: str) -> set[str]:
    """The top-level keys of a YAML file, of dotted ones the first part, without reading it as YAML."""
    return set(_TOP_LEVEL_KEY.findall(text))


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return ""


def _remark(line: str) -> None:
    """Once a process, and of several processes of a run by the first alone."""
    first = all(os.environ.get(key, "0") == "0" for key in ("RANK", "LOCAL_RANK", "SLURM_PROCID"))
    if first and line not in _remarks_printed:
        _remarks_printed.add(line)
        print(line, file=sys.stderr, flush=True)
