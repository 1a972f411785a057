"""TaskInfo: what a task is, without torch."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from lightseg.errors import LightsegError, nearest


@dataclass(frozen=True)
class HeadInfo:
    """A head of a task.

    Attributes:
        path: of its class.
        variants: the values of `head.variant`.
        pretrained: types of `pretrained=` values whose weights include the head, so that the model needs no training:
            bool for official weights, str for a weight file.
        pretrained_hint: such an override, for error messages.
        output_stride: the default; None: the task's.
        single_size: whether it is built for images of one size, its option `image_size`.
        full_weights: module with `read(pretrained)` and `load(model, state)` for weight files with backbone and head.
    """

    path: str
    variants: tuple[str, ...] = ()
    pretrained: tuple[type, ...] = ()
    pretrained_hint: str = ""
    full_weights: str = ""
    output_stride: int | None = None
    single_size: bool = False


@dataclass(frozen=True)
class FormatInfo:
    """A data format of a task.

    Attributes:
        path: of the function (`data` options, split, transform) -> data set.
        example: a data file with every key: a name in configs/data/ of this package, or a path.
        prepare: path of a function that generates the data from the `data` options; "": the data is not generated.
    """

    path: str
    example: str
    prepare: str = ""


@dataclass(frozen=True)
class MetricInfo:
    """Unit and direction of a metric.

    Attributes:
        unit: "%" for a fraction from 0 to 1, which tables show in per cent; otherwise shown as it is, "" for none.
        lower_is_better: whether the lowest value is the best.
    """

    unit: str = "%"
    lower_is_better: bool = False


LOSS = MetricInfo(unit="", lower_is_better=True)


@dataclass(frozen=True)
class TaskInfo:
    """A task.

    Attributes:
        name: as in `task=seg`.
        title: for tables and pages.
        monitor: the metric that selects the best checkpoint, a fraction from 0 to 1 of which higher is better.
        spec: path of the `TaskSpec`.
        module: path of the LightningModule.
        loss: path of the loss.
        heads: by name; the first is the default.
        formats: by name, as in `data.format`.
        config: path of its YAML file; "": the shipped configs/task/<name>.yaml.
        metrics: by name, those that are not fractions from 0 to 1 of which higher is better.
        output_stride: the default.
        num_classes, image_size: of the benchmark data set of the task, for `lightseg profile`. Height and width in
            pixels; None: the size at which the backbone's accuracy was published.
        input: default preprocessing of evaluation: fields of `InputContract`, PUBLISHED for the value of the backbone's
            published weights.
        square_input: whether configurations have a single side as the size of the input.
        flip, scales: whether evaluation can average over mirrored images, over scales.
        extra_target: albumentations' name of the target that `data.augment.extra` transforms with the image: "mask",
            "bboxes" or "keypoints"; "": none.
        tiles: whether large images can be trained on and predicted in tiles.
        schedules: keys of the `schedule` group that only some tasks have.
        searches: the supported searches.
        scoring: path of the function (data set, path, `data` options) -> `lightseg.scoring.scored.Scored` that scores
            predictions of other programs; "": they cannot be scored.
        search_head: the head for a super-network; "": any.
    """

    name: str
    title: str
    monitor: str
    spec: str
    module: str
    loss: str
    heads: Mapping[str, HeadInfo]
    formats: Mapping[str, FormatInfo]
    config: str = ""
    metrics: Mapping[str, MetricInfo] = field(default_factory=dict)
    output_stride: int = 32
    num_classes: int = 1000
    image_size: tuple[int, int] | None = None
    input: Mapping[str, Any] = field(default_factory=dict)
    square_input: bool = False
    flip: bool = True
    scales: bool = False
    extra_target: str = ""
    tiles: bool = False
    schedules: tuple[str, ...] = ()
    searches: tuple[str, ...] = ("dmasking",)
    search_head: str = ""
    scoring: str = ""

    @property
    def default_head(self) -> str:
        return next(iter(self.heads))

    def head(self, name: str) -> HeadInfo:
        """Raises LightsegError for an unknown head."""
        if name not in self.heads:
            raise LightsegError(f"head.name={name} (task={self.name}): {nearest(name, self.heads)}")
        return self.heads[name]

    def metric(self, key: str) -> MetricInfo:
        """The info of a metric in the records, as in `val/rmse`. Metrics with names that end in "loss" are losses."""
        name = key.rpartition("/")[2]
        return self.metrics.get(name, LOSS if name.lower().endswith("loss") else MetricInfo())
