"""Boxes in the XML files of Pascal VOC, and masks in its SegmentationClass.

    root/JPEGImages/2007_000027.jpg      root/Annotations/2007_000027.xml       (Pascal VOC)
    root/ImageSets/Main/train.txt        root/ImageSets/Segmentation/train.txt  names of a split's images, one a line
    root/train/0001.jpg                  root/train/0001.xml                    (Roboflow, LabelImg: both in a folder)

Pixels are counted from 1, and the corners of a box are pixels in it, as in the VOC development kit. `data.first_pixel`
is 0 for files whose numbers are the edges of boxes, counted from 0. Objects that are `difficult` are evaluated as COCO
evaluates crowds: they are neither missed nor wrong, and are not trained on.

Source: Everingham et al., The PASCAL Visual Object Classes Challenge 2012 (VOC2012) development kit.
"""

import math
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element

from lightseg.data.datasets.folder import IMAGE_ENDINGS, SegmentationFolder
from lightseg.data.datasets.folder import from_options as folder_from_options
from lightseg.data.datasets.label_files import read_lines, read_xml
from lightseg.data.datasets.labeled import (
    LabeledImage,
    LabeledObject,
    Labels,
    dataset_of,
    fill_sizes,
    find_image,
    split_entry,
)
from lightseg.data.io.walk import files_below
from lightseg.data.transforms.phase_transform import Transform
from lightseg.errors import DataError
from lightseg.text import shorten


def from_options(options: dict[str, Any], split: str, transform: Transform | None) -> Any:
    """The data set of the `data` options."""
    if options["format"].endswith("_seg"):
        return _masks(options, split, transform)
    return dataset_of(read_labels, options, split, transform)


def _masks(options: dict[str, Any], split: str, transform: Transform | None) -> SegmentationFolder:
    lists = {
        name: {"images": "JPEGImages", "masks": "SegmentationClass", "list": f"ImageSets/Segmentation/{entry}.txt"}
        for name, entry in options["split"].items()
        if name in ("train", "val")
    }
    return folder_from_options({**options, "split": lists}, split, transform)


def read_labels(options: dict[str, Any], split: str) -> Labels:
    """A split's labels. `data.split.<split>` is a list in ImageSets/Main, or a folder of images and XML files."""
    root, entry = Path(options["root"]), str(split_entry(options, split))
    list_file = root / "ImageSets" / "Main" / f"{entry}.txt"
    if list_file.is_file():
        names = [line.split()[0] for _, line in read_lines(list_file)]
        files = [root / "Annotations" / f"{name}.xml" for name in names]
        labels = Labels(list_file, others=[list_file])
    elif (root / entry).is_dir():
        files = [root / entry / name for name in files_below(root / entry) if name.lower().endswith(".xml")]
        labels = Labels(root / entry)
    else:
        lists = sorted(path.stem for path in list_file.parent.glob("*.txt") if "_" not in path.stem)
        folders = sorted(path.name for path in root.iterdir() if path.is_dir())
        raise DataError(
            f"{root}: neither a list ImageSets/Main/{entry}.txt nor a folder {entry} for split {split}: set "
            f"data.split.{split} to one of {shorten(lists or folders)}, or data.split.val=0.2"
        )
    labels.images = [_read_image(file, root, labels, options.get("first_pixel", 1)) for file in files]
    sizeless = [image for image in labels.images if not all(image.size)]
    for image in sizeless:
        labels.left_out.add("have no size in their XML file: that of the image is taken", str(image.file), of="images")
    fill_sizes(sizeless, oriented=options.get("boxes_on", "shown") == "shown")
    return labels


def _read_image(file: Path, root: Path, labels: Labels, first_pixel: int) -> LabeledImage:
    *_, content = read_xml(file, "annotation")
    named = (content.findtext("filename") or "").strip().replace("\\", "/").rpartition("/")[2]
    folders = dict.fromkeys([root / "JPEGImages", file.parent, file.parent.parent / "images", root / "images"])
    names = [named, *(f"{file.stem}{ending}" for ending in IMAGE_ENDINGS)] if named else [file.stem + ".jpg"]
    path = find_image([folder / name for folder in folders for name in names], file, named or names[0])
    size = int(_number(content, "size/height") or 0), int(_number(content, "size/width") or 0)
    image = LabeledImage(path, size, [], file)
    for number, element in enumerate(content.iterfind("object"), start=1):
        where = f"{file} object {number}"
        corners = [_number(element, f"bndbox/{key}") for key in ("xmin", "ymin", "xmax", "ymax")]
        label = (element.findtext("name") or "").strip()
        if not label or None in corners:
            labels.left_out.add("have no name, or no bndbox of four numbers", where)
            continue
        left, top, right, bottom = (float(corner or 0) for corner in corners)
        difficult = _number(element, "difficult") == 1
        if difficult:
            labels.left_out.add("are difficult: not trained on, and neither hit nor missed", where, of="objects")
        box = [
            left - first_pixel,
            top - first_pixel,
            right,
            bottom,
        ]  # pixel n, counted from 1, ends at n
        image.objects.append(LabeledObject(label, where, box, crowd=difficult))
    return image


def _number(element: Element, path: str) -> float | None:
    """None for a missing element, and for one that is no finite number."""
    try:
        value = float(element.findtext(path) or "")
    except ValueError:
        return None
    return value if math.isfinite(value) else None
