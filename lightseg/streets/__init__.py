"""The embedded data set: a procedural world of street scenes, drawn from a seed and written in Cityscapes' layout.

`render(seed, height, width)` gives one Scene with every label that the four tasks need; `write_cityscapes(root)`
makes a data set of them that the Cityscapes reader reads like the real one, `write_coco(root)` one with boxes and
keypoints in COCO's format, `write_persons(root)` one for pose, `write_imagefolder(root)` one of the things in them by
class. Numpy and OpenCV alone. `python -m lightseg.streets sheet.png` draws a contact sheet to look at.
"""

from lightseg.streets.class_writing import write_imagefolder
from lightseg.streets.coco_writing import write_coco, write_persons
from lightseg.streets.scene import Scene, SceneObject, render
from lightseg.streets.skeleton import JOINTS
from lightseg.streets.writing import CLASSES, write_cityscapes

__all__ = [
    "CLASSES", "JOINTS", "Scene", "SceneObject", "render", "write_cityscapes", "write_coco", "write_imagefolder",
    "write_persons",
]  # fmt: skip
