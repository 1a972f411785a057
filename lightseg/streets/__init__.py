"""The embedded data set: procedural street scenes, rendered from a seed and written in the layouts of public data sets.

`render(seed, height, width)` gives one Scene with the labels of all four tasks. Four writers make data sets of scenes:

- `write_cityscapes(root)`: semantic segmentation, in the layout of Cityscapes
- `write_coco(root)`: detection, boxes and keypoints in COCO's format
- `write_persons(root)`: pose, in COCO's format with larger images and more people
- `write_imagefolder(root)`: classification, crops of the objects as an ImageFolder

It needs NumPy and OpenCV alone. `python -m lightseg.streets sheet.png` renders a contact sheet.
"""

from lightseg.streets.cityscapes_writer import CLASSES, write_cityscapes
from lightseg.streets.coco_writer import write_coco, write_persons
from lightseg.streets.imagefolder_writer import write_imagefolder
from lightseg.streets.scene import Scene, SceneObject, render
from lightseg.streets.skeleton import JOINTS

__all__ = [
    "CLASSES", "JOINTS", "Scene", "SceneObject", "render", "write_cityscapes", "write_coco", "write_imagefolder",
    "write_persons",
]  # fmt: skip
