"""A split of the `data` options as a data set: what its format reads, divided and with classes merged as they say."""

from typing import Any

from lightseg.catalog.tasks import formats, resolve
from lightseg.data.datasets.splitting import keep_share, share_of
from lightseg.data.transforms.phase_transform import Transform
from lightseg.errors import LightsegError, nearest

SINGLE_CLASS = "object"  # the name of the class of `data.single_class=true`


def open_split(options: dict[str, Any], split: str, transform: Transform | None) -> Any:
    """The data set of a split, `train` or `val`, its files not yet checked.

    Raises LightsegError for an unknown format, DataError for files that the format cannot read.
    """
    tasks, form = formats(), options["format"]
    if form not in tasks:
        raise LightsegError(f"data.format={form}: {nearest(form, tasks)}")
    read = resolve(tasks[form].formats[form].path)
    if share_of(options) is None:
        dataset = read(options, split, transform)
    else:
        entry = options["split"]["train"]
        dataset = read({**options, "split": {**options["split"], "train": entry, "val": entry}}, split, transform)
        keep_share(dataset, options, split)
    if options.get("single_class"):
        dataset.merge_classes({SINGLE_CLASS: list(dataset.class_names)})
    elif options.get("merge_classes"):
        dataset.merge_classes(options["merge_classes"])
    return dataset
