"""The LightningDataModule: from the `data` group of the configuration to batches of uint8 images."""

from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader, Dataset

from lightseg.data.cityscapes import Cityscapes
from lightseg.data.folder import SegmentationFolder
from lightseg.data.sampling import EpochSampler
from lightseg.data.segmentation import collate
from lightseg.data.transforms import eval_transform, train_transform
from lightseg.data.verify import verify
from lightseg.errors import DataError, LightsegError, one_line


class DataModule(pl.LightningDataModule):
    """Train and evaluation sets of one `data` choice.

    Attributes:
        skipped: files left out because of `data.on_error=skip`, as (path, reason).
    """

    def __init__(self, options: dict[str, Any], seed: int) -> None:
        super().__init__()
        self.options, self.seed = options, seed
        self.skipped: list[tuple[str, str]] = []
        self.evaluation_split = "val"
        self._sets: dict[str, Any] = {}

    def prepare_data(self) -> None:
        """Draw the mini world where it is not there yet (one process does)."""
        if self.options["format"] == "mini_seg":
            from lightseg.data.mini import write_cityscapes

            height, width = self.options["size"]
            write_cityscapes(
                Path(self.options["root"]),
                seed=self.options["world_seed"],
                height=height,
                width=width,
                **self.options["count"],
            )

    def dataset(self, split: str) -> Any:
        """`train` or `val`, read once."""
        if split not in self._sets:
            dataset = self._build(split)
            self.skipped += [(str(path), str(reason)) for path, reason in verify(dataset, self.options["on_error"])]
            if len(dataset) == 0:
                raise DataError(f"no readable image is left in split {split} of {self.options['root']}")
            if self.options["cache"]:
                dataset.keep_decoded()
            self._sets[split] = dataset
        return self._sets[split]

    def describe(self) -> str:
        counts = ", ".join(f"{len(dataset)} {split}" for split, dataset in sorted(self._sets.items()))
        left_out = f"; {len(self.skipped)} unreadable left out, the first: {self.skipped[0][1]}" if self.skipped else ""
        return f"data={self.options['name']}: {counts} images{left_out}"

    def evaluation_size(self) -> tuple[int, int]:
        """Height and width of the first evaluation image: the size at which cost is quoted."""
        _, height, width = self.dataset(self.evaluation_split)[0]["image"].shape
        return height, width

    def fingerprint(self) -> dict[str, str]:
        """A short hash of names and file sizes a split."""
        return {split: dataset.fingerprint() for split, dataset in sorted(self._sets.items())}

    def _build(self, split: str) -> Any:
        options, augment = self.options, self.options["augment"]
        transform = train_transform(**augment) if split == "train" else eval_transform()
        where = options["split"][split]
        if options["format"] in ("cityscapes", "mini_seg"):
            return Cityscapes(options["root"], where, coarse=options.get("coarse", False), transform=transform)
        if options["format"] == "folder":
            if not options["classes"]:
                raise LightsegError("data.classes is not set: give the class names, as in data.classes=[road, car]")
            return SegmentationFolder(
                options["root"],
                images=where["images"],
                labels=where["masks"],
                classes=options["classes"],
                ignore=options["ignore"],
                palette=options["palette"],
                colors=options.get("colors"),
                image_end=options.get("image_end", ""),
                label_end=options.get("mask_end", ""),
                transform=transform,
            )
        raise LightsegError(f"data.format={options['format']}: choose from cityscapes, folder, mini_seg")

    def train_dataloader(self) -> DataLoader:
        size = self.options["batch_size"]
        dataset = self.dataset("train")
        if len(dataset) < size:
            raise LightsegError(f"data.batch_size={size} is more than the {len(dataset)} training images there are")
        # the last, smaller batch is left out: batch norm on one or two images hurts
        return self._loader(dataset, size, shuffle=True, drop_last=True)

    def val_dataloader(self) -> DataLoader:
        return self._loader(self.dataset("val"), self.options["eval_batch_size"], shuffle=False, drop_last=False)

    test_dataloader = val_dataloader

    def _loader(self, dataset: Dataset, batch_size: int, *, shuffle: bool, drop_last: bool) -> DataLoader:
        trainer = self.trainer
        rank, world_size = (trainer.global_rank, trainer.world_size) if trainer else (0, 1)
        sampler = EpochSampler(
            len(dataset),  # type: ignore[arg-type]
            seed=self.seed,
            shuffle=shuffle,
            rank=rank,
            world_size=world_size,
        )
        workers = self.options["workers"]
        return DataLoader(
            dataset,
            batch_size=batch_size,
            sampler=sampler,
            drop_last=drop_last,
            num_workers=workers,
            persistent_workers=workers > 0,
            pin_memory=torch.cuda.is_available(),
            collate_fn=to_batch,
            worker_init_fn=_one_thread,
        )


def to_batch(samples: list[dict[str, Any]]) -> dict[str, Any]:
    """Samples -> `images` uint8 [B, C, H, W], `names`, and where there are labels `masks` uint8 [B, H, W]."""
    try:
        batch = collate(samples)
    except DataError as error:
        raise DataError(f"{one_line(error)}; for evaluation that is data.eval_batch_size=1") from error
    masks = {"masks": batch["mask"]} if "mask" in batch else {}
    return {"images": batch["image"], "names": batch["name"], **masks}


def _one_thread(worker: int) -> None:
    """Each worker is one of several: no thread pools inside, no cores taken from the training step."""
    import cv2

    torch.set_num_threads(1)
    cv2.setNumThreads(0)
