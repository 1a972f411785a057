"""Both splits of a `data` choice, read and counted: all headers, all images at a small size, labels; some are drawn."""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from lightseg.catalog.tasks import TaskInfo, resolve
from lightseg.data.datasets.opening import open_split
from lightseg.data.io.near_duplicates import read_small
from lightseg.data.io.value_range import channels_of, format_of
from lightseg.errors import DataError, one_line
from lightseg.inference.progress import PredictionProgress
from lightseg.inspection.findings import Finding, Looked, find_all
from lightseg.inspection.report import DataReport, Sample, SplitReport
from lightseg.task_specs import task_spec
from lightseg.task_specs.base import TaskSpec

MASK_BUDGET = 400_000_000  # pixels of masks that are decoded in a split
SAMPLES = 12  # training samples that are drawn
WIDTH, EXAMPLE_WIDTH = 320, 220  # pixels of a drawn sample, and of one of a finding
_CHUNK = 16  # samples per task of a thread

Options = dict[str, Any]  # the `data` group of the configuration


def inspect(info: TaskInfo, options: Options, *, seed: int = 0, progress: bool = False) -> DataReport:
    """Look at the splits `train` and `val` of a `data` group.

    Broken files are findings; training would refuse them.

    Args:
        seed: of the augmentation of the drawn samples.
        progress: show a bar where stderr is a terminal.

    Raises:
        LightsegError: a split that cannot be opened.
    """
    spec, form = task_spec(info), info.formats[options["format"]]
    if form.prepare:
        resolve(form.prepare)(options)
    datasets = {split: open_split(options, split, None) for split in ("train", "val")}
    pixels = format_of(datasets["train"].paths, *channels_of(options), options.get("range"), str(options["root"]))
    for dataset in datasets.values():
        dataset.pixels = pixels
    with PredictionProgress(progress) as bar:
        bar.begin("images", sum(map(len, datasets.values())))
        looked = {split: _look(dataset, bar) for split, dataset in datasets.items()}
    for one in looked.values():
        if len(one.dataset):
            one.statistics = spec.label_statistics(one.dataset, options, MASK_BUDGET)
    train = looked["train"].dataset
    findings, samples = find_all(looked, spec.check_splits), []
    try:
        samples = list(_samples(spec, train, options, seed))
    except DataError as error:
        findings.insert(0, Finding("error", "train", one_line(error)))
    return DataReport(
        options["name"],
        info.name,
        info.title,
        train.unit,
        {split: _split_report(one) for split, one in looked.items()},
        findings,
        samples,
        _network_size(options),
        Path(options["root"]),
        train.palette,
        _drawn(spec, looked, findings),
    )


def _look(dataset: Any, bar: PredictionProgress) -> Looked:
    """Check every sample and read every image small. Broken samples are left out of the data set."""
    paths = dataset.paths
    first = {str(path): index for index, path in reversed(list(enumerate(paths)))}  # persons share images

    def look(start: int) -> list[tuple[int, str | None, Any]]:
        results: list[tuple[int, str | None, Any]] = []
        for index in range(start, min(start + _CHUNK, len(paths))):
            try:
                dataset.check(index)
                is_first = first[str(paths[index])] == index
                results.append((index, None, read_small(paths[index], dataset.pixels) if is_first else None))
            except DataError as error:
                results.append((index, one_line(error), None))
        return results

    reasons: dict[int, str] = {}
    small: dict[str, np.ndarray] = {}
    sizes: dict[str, tuple[int, int]] = {}
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        for chunk in pool.map(look, range(0, len(paths), _CHUNK)):
            for index, reason, result in chunk:
                bar.advance()
                if reason is not None:
                    reasons[index] = reason
                elif result is not None:
                    small[str(paths[index])], sizes[str(paths[index])] = result
    if reasons:
        dataset.keep_only([index not in reasons for index in range(len(paths))])
    return Looked(dataset, [(paths[index], reason) for index, reason in reasons.items()], small, sizes)


def _samples(spec: TaskSpec, dataset: Any, options: Options, seed: int) -> Iterator[Sample]:
    """Samples evenly over the training split, before and after augmentation."""
    transform = spec.train_transform({**options, "pixels": dataset.pixels}, {})
    count = min(SAMPLES, len(dataset))
    for index in np.linspace(0, len(dataset) - 1, count).round().astype(int).tolist():
        drawn = []
        for step in (None, transform):
            dataset.transform = step
            drawn.append(draw(spec, dataset, (index, seed + index), WIDTH))
        dataset.transform = None
        (before, text), (after, _) = drawn
        yield Sample(dataset.names[index], text, before, after)


def _drawn(spec: TaskSpec, looked: dict[str, Looked], findings: list[Finding]) -> dict[tuple[str, int], np.ndarray]:
    """The samples that findings show, with their labels."""
    images = {}
    for finding in findings:
        for example in finding.examples:
            if example.index is not None and finding.split:
                with suppress(DataError):
                    key = (finding.split, example.index)
                    images[key] = draw(spec, looked[finding.split].dataset, (example.index, 0), EXAMPLE_WIDTH)[0]
    return images


def draw(spec: TaskSpec, dataset: Any, key: tuple[int, int], width: int) -> tuple[np.ndarray, str]:
    """A sample with its labels, and the labels in words."""
    sample = {name: value.numpy() if hasattr(value, "numpy") else value for name, value in dataset[key].items()}
    image = dataset.pixels.shown(np.ascontiguousarray(sample["image"].transpose(1, 2, 0)))
    return spec.draw_labels(image, sample, dataset, width), spec.label_text(sample, dataset)


def _split_report(one: Looked) -> SplitReport:
    sizes = np.array(list(one.sizes.values()), np.int64).reshape(-1, 2)
    return SplitReport(len(one.dataset), len(one.sizes), one.unreadable, sizes, one.statistics)


def _network_size(options: Options) -> tuple[int, int] | None:
    augment = options.get("augment") or {}
    size = augment.get("size", augment.get("crop_size"))
    if size is None:
        return None
    height, width = (size, size) if isinstance(size, int) else size
    return int(height), int(width)
