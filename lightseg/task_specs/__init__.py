"""The `TaskSpec` of each task: its functions for training, export and inference."""

from functools import cache

from lightseg.catalog.tasks import TaskInfo, get_task, resolve
from lightseg.task_specs.base import Preprocessing, Results, TaskExport, TaskSpec

__all__ = ["Preprocessing", "Results", "TaskExport", "TaskSpec", "task_spec"]


def task_spec(task: str | TaskInfo) -> TaskSpec:
    """The `TaskSpec` of a task. Raises LightsegError for an unknown name."""
    return _build(task if isinstance(task, TaskInfo) else get_task(task))


@cache
def _cached(path: str) -> type[TaskSpec]:
    return resolve(path)


def _build(info: TaskInfo) -> TaskSpec:
    return _cached(info.spec)(info)
