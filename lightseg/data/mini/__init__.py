"""The embedded data set: a procedural world of street scenes, drawn from a seed and written in Cityscapes' layout.

`render(seed, height, width)` gives one Scene with every label that the four tasks need; `write_cityscapes(root)`
makes a data set of them that the Cityscapes reader reads like the real one, `write_coco(root)` one with boxes and
keypoints in COCO's format, `write_persons(root)` one for pose, `write_imagefolder(root)` one of the things in them by
class. Numpy and OpenCV alone. `python -m lightseg.data.mini sheet.png` draws a contact sheet to look at.
"""

from lightseg.data.mini.class_writing import write_imagefolder
from lightseg.data.mini.coco_writing import write_coco, write_persons
from lightseg.data.mini.scene import Scene, SceneObject, render
from lightseg.data.mini.skeleton import JOINTS
from lightseg.data.mini.writing import CLASSES, write_cityscapes

__all__ = [
    "CLASSES", "JOINTS", "Scene", "SceneObject", "render", "write_cityscapes", "write_coco", "write_imagefolder",
    "write_persons",
]  # fmt: skip
