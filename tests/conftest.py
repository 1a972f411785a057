"""A few tiny images in the real formats, made once a session."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

# Its import resets logging, which closes the handlers there are; absl's (TensorBoard brings it) then closes the stream
# that it was made with, and that is pytest's own. Before any test there is none.
import submitit  # noqa: F401
import torch

from tests.nets import SHALLOW

torch.set_num_threads(1)  # images are tiny: a second thread only waits

TINY = {"height": 64, "width": 128, "train": 6, "val": 3}


@pytest.fixture(scope="session", autouse=True)
def costs_of_a_net_are_counted_once() -> Iterator[None]:
    """The runs of these tests are of a few nets, and counting on the meta device is half the time of a tiny run. What
    is counted the first time is real; of a net with the same layers it is taken from there."""
    from lightseg.model import Model
    from lightseg.profile import cost

    counts: dict[Any, Any] = {}

    def counted_once(count: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(module: torch.nn.Module, shape: Any, *dtype: torch.dtype) -> Any:
            if type(module) is not Model:
                return count(module, shape, *dtype)
            key = (count.__name__, repr(module), tuple(shape), dtype)
            if key not in counts:
                counts[key] = count(module, shape, *dtype)
            return counts[key]

        return wrapped

    with pytest.MonkeyPatch.context() as patched:
        for name in ("count_madds", "count_madds_and_memory"):
            patched.setattr(cost, name, counted_once(getattr(cost, name)))
        yield


@pytest.fixture(scope="session")
def mini_seg(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The procedural world in Cityscapes' layout: 6 + 3 images of 64x128."""
    from lightseg.streets import write_cityscapes

    root = tmp_path_factory.mktemp("mini") / "mini_seg"
    write_cityscapes(root, seed=0, **TINY)
    return root


def seg_words(root: Path, runs: Path, *more: str) -> list[str]:
    """The words of a tiny but real command line; more can be added, later ones replace earlier ones."""
    base: dict[str, Any] = {
        "backbone": SHALLOW,
        "data.root": root,
        "data.size": "[64,128]",
        "data.count": "{train: 6, val: 3}",
        "data.batch_size": 2,
        "data.eval_batch_size": 2,
        "data.workers": 0,
        "data.augment.crop_size": "[64,128]",
        "trainer.max_epochs": 1,
        "trainer.precision": "32-true",
        "schedule.warmup_steps": 0,
        "profile.runs": 1,
        "logger": "csv",
        "runs_dir": runs,
    }
    for word in more:
        key, _, value = word.partition("=")
        base[key] = value
    return [f"{key}={value}" for key, value in base.items()]


@pytest.fixture
def words(mini_seg: Path, tmp_path: Path) -> Callable[..., list[str]]:
    """`seg_words` of the tiny images, into this test's own folder."""
    return partial(seg_words, mini_seg, tmp_path / "runs")


def only_run(runs: Path) -> Path:
    """The one run folder below `runs`."""
    (found,) = runs.glob("*/*/*/*/")
    return found
