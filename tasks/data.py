"""The LightningDataModule: from the `data` group of the configuration to batches of uint8 images."""

from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader

from lightseg.catalog.tasks import formats, resolve
from lightseg.data.datasets.opening import open_split
from lightseg.data.io.integrity import copy_notes, verify
from lightseg.data.io.pixels import PixelFormat
from lightseg.data.io.sampling import EpochSampler, PhaseBatches
from lightseg.data.io.value_range import dark_note
from lightseg.data.statistics.base import LabelStatistics
from lightseg.data.tiles import Tiling
from lightseg.data.transforms.phase_transform import PhaseTransform
from lightseg.errors import DataError, LightsegError, nearest
from lightseg.task_specs import task_spec

from .run.progressive import Progressive
from .run.signals import ignore_in_worker

COLOR_KEYS = ("color", "photometric")  # of data.augment, which change colors


class DataModule(pl.LightningDataModule):
    """The training and evaluation sets of a `data` choice.

    Attributes:
        notes: lines on the splits together.
        pixels: the channels and values of the images. Set it before a data set is opened.
        skipped: files left out because of `data.on_error=skip`, as (path, reason).
        statistics: the counts of the labels of the splits that were counted.
        part: indices of the training samples that the weights are trained on. None: all.
    """

    def __init__(self, options: dict[str, Any], seed: int, progressive: Progressive) -> None:
        super().__init__()
        self.options, self.seed, self.progressive = options, seed, progressive
        tasks = formats()
        if options["format"] not in tasks:
            raise LightsegError(f"data.format={options['format']}: {nearest(options['format'], tasks)}")
        self.format = tasks[options["format"]].formats[options["format"]]
        self.spec = task_spec(tasks[options["format"]])
        self.skipped: list[tuple[str, str]] = []
        self.evaluation_split = "val"
        self.part: list[int] | None = None
        self.class_order: list[str] = []
        self.notes: list[str] = []
        self.statistics: dict[str, LabelStatistics | None] = {}
        self.pixels = PixelFormat()
        self._sets: dict[str, Any] = {}

    def prepare_data(self) -> None:
        """Generate the mini data if it does not exist yet (in one process)."""
        if self.format.prepare:
            resolve(self.format.prepare)(self.options)

    def dataset(self, split: str) -> Any:
        """The data set of a split, `train` or `val`, cached."""
        if split not in self._sets:
            dataset = self._build(split)
            if self.class_order:
                dataset.reorder_classes(self.class_order)
            self.skipped += [(str(path), str(reason)) for path, reason in verify(dataset, self.options["on_error"])]
            if len(dataset) == 0:
                raise DataError(f"no readable image is left in split {split} of {self.options['root']}")
            if self.options["cache"]:
                dataset.keep_decoded()
            self._sets[split] = dataset
        return self._sets[split]

    @property
    def loaded(self) -> list[str]:
        """The splits that were read."""
        return sorted(self._sets)

    def use_class_order(self, names: list[str]) -> None:
        """Number the classes of every split in the order of `names`, a permutation of them."""
        self.class_order = names
        for dataset in self._sets.values():
            dataset.reorder_classes(names)

    def check(self) -> None:
        """Raise DataError unless both splits have labels and the same classes, and some labels can be evaluated."""
        self._check_labels("train")
        self._check_labels(self.evaluation_split)
        self.spec.check_splits(self.dataset("train"), self.dataset(self.evaluation_split))
        for split in ("train", self.evaluation_split):
            self.label_statistics(split)
        self.check_evaluation()
        train, evaluated = (self.dataset(split).paths for split in ("train", self.evaluation_split))
        self.notes = copy_notes(train, evaluated, self.evaluation_split)

    def label_statistics(self, split: str) -> LabelStatistics | None:
        """The counts of the labels of a split, cached; None for data whose labels are not counted.

        Raises DataError where they make a training or an evaluation meaningless.
        """
        if split not in self.statistics:
            counted = self.spec.label_statistics(self.dataset(split), self.options)
            if counted is not None:
                counted.check(training=split == "train")
            self.statistics[split] = counted
        return self.statistics[split]

    def check_evaluation(self) -> None:
        """Raise DataError unless the evaluation split has labels that count, and a batch of it can be built."""
        self._check_labels(self.evaluation_split)
        dataset, size = self.dataset(self.evaluation_split), self.options["eval_batch_size"]
        dataset.check_evaluable()
        dataset.check_batches(size)
        self.spec.collate([dataset[index] for index in range(min(size, len(dataset)))])

    def _check_labels(self, split: str) -> None:
        if not self.dataset(split).has_labels:
            raise DataError(f"the {split} split has no labels: use it with mode=test evaluation.predictions=true")

    @property
    def unit(self) -> str:
        """The name of the evaluation's samples: "images", or that of the data set."""
        return getattr(self.dataset(self.evaluation_split), "unit", "images")

    def describe(self) -> str:
        counts = ", ".join(f"{len(dataset)} {split}" for split, dataset in sorted(self._sets.items()))
        left_out = f"; {len(self.skipped)} unreadable left out, the first: {self.skipped[0][1]}" if self.skipped else ""
        lines, warned = [], set()
        for split, dataset in sorted(self._sets.items()):
            counted = self.statistics.get(split)
            lines += [] if counted is None else [f"{split}: {counted.line()}"]
            lines += [f"{split}: {line}" for line in dataset.report + dataset.notes]
            warnings = [line for line in counted.warnings if line not in warned] if counted else []
            lines += [f"{split}: warning: {line}" for line in warnings]
            warned |= set(warnings)
        notes = "".join(f"\n  {line}" for line in lines + self.notes + self._pixel_notes())
        return f"data={self.options['name']}: {counts} {self.unit}{left_out}{notes}"

    def _pixel_notes(self) -> list[str]:
        notes = []
        if self.pixels.is_rgb:
            dark = {split: dark_note(dataset.paths) for split, dataset in sorted(self._sets.items())}
            notes += [f"{split}: {note}" for split, note in dark.items() if note]
        augment = self.options.get("augment") or {}
        for key in COLOR_KEYS:
            if "train" in self._sets and augment.get(key) and self.pixels.channels != 3:
                notes.append(
                    f"data.augment.{key}={augment[key]} is left out: it is for 3 channels, not {self.pixels.channels}"
                )
        return notes

    def evaluation_size(self) -> tuple[int, int]:
        """Height and width of the first evaluation image, or of a tile: the size for the cost."""
        if self.tiling is not None:
            height, width = (self.options.get("eval") or {}).get("size") or self.tiling.size
            return height, width
        _, height, width = self.dataset(self.evaluation_split)[0]["image"].shape
        return height, width

    def fingerprint(self) -> dict[str, str]:
        """A short hash of names and file sizes for each split."""
        return {split: dataset.fingerprint() for split, dataset in sorted(self._sets.items())}

    def _build(self, split: str) -> Any:
        options = {**self.options, "pixels": self.pixels}
        transform: Any = self.spec.eval_transform(options)
        if split == "train":
            # the key of a sample has the number of the phase, so that workers use the sizes and strengths of the phase
            at = self.progressive.at
            transform = PhaseTransform(lambda phase: self.spec.train_transform(options, at(phase)))
            for phase in range(self.progressive.phases):  # errors of later phases appear before training
                transform.at(phase)
        return self.open(split, transform)

    def open(self, split: str, transform: Any) -> Any:
        """The data set of a split, its files not yet checked."""
        dataset = open_split(self.options, split, transform)
        if hasattr(dataset, "pixels"):
            dataset.pixels = self.pixels
        elif not self.pixels.is_rgb:
            raise LightsegError(
                f"data.format={self.options['format']} has no data.channels or data.range: leave them out"
            )
        return dataset

    def fit_batch_size(self, processes: int) -> int | None:
        """Lower `batch_size` to the training samples of a process. An even number, for mixup; 2 where there is but a
        single sample, which is then repeated, because batch norm needs more than a value.

        Returns:
            The batch size before, or None if it was not lowered.
        """
        before, samples = self.options["batch_size"], -(-self.training_samples() // processes)
        if self.progressive.grows_batches or before <= max(samples, 2):
            return None
        self.options["batch_size"] = max(2, samples - samples % 2)
        return before

    @property
    def tiling(self) -> Tiling | None:
        """The tiles of large images. None: images are not tiled."""
        return Tiling.of(self.options.get("tile"))

    def training_samples(self) -> int:
        """The samples of an epoch: tiles, where images are tiled, as many as cover an image."""
        part = self._of_tiles(None)
        return len(self.dataset("train")) if part is None else len(part)

    def _of_tiles(self, part: list[int] | None) -> list[int] | None:
        """The indices of the training samples, each as often as its image has tiles."""
        if self.tiling is None:
            return part
        dataset = self.dataset("train")
        indices = range(len(dataset)) if part is None else part
        return [index for index in indices for _ in range(self.tiling.count(dataset.size_of(index)))]

    def train_dataloader(self) -> DataLoader:
        return self.training_loader(self.part)

    def training_loader(self, part: list[int] | None) -> DataLoader:
        """Shuffled batches of the training samples, or of part of them."""
        size, dataset, part = self.options["batch_size"], self.dataset("train"), self._of_tiles(part)
        samples = len(dataset) if part is None else len(part)
        largest = max(self.progressive.batch_size(phase, size) for phase in range(self.progressive.phases))
        if max(samples, 2) < largest:
            of = "" if part is None else f" (a part of the {len(dataset)})"
            raise LightsegError(
                f"data.batch_size={largest} is more than the {samples} training {self.unit} there are{of}"
            )
        sampler = self._sampler(samples, shuffle=True, part=part, minimum=min(size, 2))
        if self.trainer is not None:
            sampler.set_epoch(self.trainer.current_epoch)  # with `images_per_step` the number of batches depends on it
        batches = PhaseBatches(sampler, lambda phase: self.progressive.batch_size(phase, size))
        return self._loader(dataset, batch_sampler=batches)

    def val_dataloader(self) -> DataLoader:
        dataset = self.dataset("val")
        sampler = self._sampler(len(dataset), shuffle=False)
        return self._loader(dataset, sampler=sampler, batch_size=self.options["eval_batch_size"])

    test_dataloader = val_dataloader

    def _sampler(self, size: int, *, shuffle: bool, part: list[int] | None = None, minimum: int = 1) -> EpochSampler:
        trainer = self.trainer
        rank, world_size = (trainer.global_rank, trainer.world_size) if trainer else (0, 1)
        return EpochSampler(
            size,
            seed=self.seed,
            shuffle=shuffle,
            rank=rank,
            world_size=world_size,
            phase_of=self.progressive.phase if shuffle else None,
            part=part,
            minimum=minimum,
            weights=self._weights(part) if shuffle else None,
        )

    def _weights(self, part: list[int] | None) -> np.ndarray | None:
        """The weights of the training samples of `data.sampler=balanced`, or of part of them."""
        if self.options.get("sampler") != "balanced":
            return None
        weights = self.spec.balanced_weights(self.dataset("train"))
        return weights if part is None else weights[part]

    def _loader(self, dataset: Any, **options: Any) -> DataLoader:
        workers = self.options["workers"]
        return DataLoader(
            dataset,
            num_workers=workers,
            persistent_workers=workers > 0,
            pin_memory=torch.cuda.is_available(),
            collate_fn=self.spec.collate,
            worker_init_fn=_one_thread,
            **options,
        )


def _one_thread(worker: int) -> None:
    """Workers use a single thread, so that they take no cores from the training step."""
    import cv2

    ignore_in_worker()
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
