"""lightseg: any lightweight backbone, any of four vision tasks, one comparable record.

The parts are imported by name (`lightseg.backbones`, `lightseg.model`, ...), so that using one costs only that one.
`lightseg.train(task="seg", backbone="mobilenetv3_large")` is the trainer, and `lightseg.load("best.ckpt")` a model that
predicts, and `lightseg.inspect_data(data="camvid")` looks at a data set (docs/python.md).
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lightseg.commands.data import inspect_data as inspect_data
    from lightseg.commands.train import train as train
    from lightseg.inference.predictor import load as load

__version__ = "0.2.0"


def __getattr__(name: str) -> Any:
    if name == "train":  # imported when it is asked for
        from lightseg.commands.train import train

        return train
    if name == "inspect_data":
        from lightseg.commands.data import inspect_data

        return inspect_data
    if name == "load":
        from lightseg.inference.predictor import load

        return load
    raise AttributeError(f"module 'lightseg' has no attribute '{name}'")


def __dir__() -> list[str]:
    return [*globals(), "inspect_data", "load", "train"]
