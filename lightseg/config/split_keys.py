"""The keys of `data.split`, a part of the table of `domains`."""

from lightseg.config.domain import either, number, optional, path

VAL_SHARE = number("(0, 1)")  # of the training images, for evaluation
SPLIT_FOLDERS = {
    "data.split.train": path("a folder"),
    "data.split.val": either(path("a folder"), VAL_SHARE),
}
SPLIT_ANNOTATIONS = {
    f"data.split.{split}.{key}": path(kind)
    for split in ("train", "val")
    for key, kind in (("images", "a folder"), ("annotations", "the path of a file"))
}
FOLDERS = {  # of data format `folder`: images and masks
    f"data.split.{split}.{key}": path("a folder") for split in ("train", "val") for key in ("images", "masks")
} | {f"data.split.{split}.list": optional(path("the path of a file")) for split in ("train", "val")}
PANOPTIC = {f"data.split.{split}.masks": optional(path("a folder")) for split in ("train", "val")}
