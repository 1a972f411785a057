"""The rendered scenes: labels agree with the image, classes are frequent and not trivial to predict."""

import numpy as np
import pytest

from lightseg.streets import CLASSES, JOINTS, Scene, render
from lightseg.streets.camera import Camera
from lightseg.streets.canvas import LABEL_IDS
from lightseg.streets.scene import far_to_near
from lightseg.streets.skeleton import standing

HEIGHT, WIDTH = 128, 256
EVALUATED = {LABEL_IDS[name] for name in CLASSES}


@pytest.fixture(scope="module")
def scenes() -> list[Scene]:
    return [render(seed, HEIGHT, WIDTH) for seed in range(1000, 1024)]


def test_rendering_is_deterministic(scenes):
    again, other = render(1000, HEIGHT, WIDTH), scenes[1]
    assert np.array_equal(again.image, scenes[0].image)
    assert np.array_equal(again.label_ids, scenes[0].label_ids)
    assert [thing.box_xyxy for thing in again.objects] == [thing.box_xyxy for thing in scenes[0].objects]
    assert (scenes[0].image != other.image).mean() > 0.5


def test_shapes_types_and_label_ids(scenes):
    for scene in scenes:
        assert scene.image.shape == (HEIGHT, WIDTH, 3) and scene.image.dtype == np.uint8
        assert scene.label_ids.shape == scene.instances.shape == (HEIGHT, WIDTH)
        assert scene.label_ids.dtype == scene.instances.dtype == np.uint8
        assert set(np.unique(scene.label_ids)) <= set(LABEL_IDS.values())


def test_every_class_is_in_most_scenes(scenes):
    fractions = np.stack([np.bincount(scene.label_ids.ravel(), minlength=34) / (HEIGHT * WIDTH) for scene in scenes])
    for name in CLASSES:
        column = fractions[:, LABEL_IDS[name]]
        assert (column > 0.002).mean() >= 0.65, f"{name} is in {(column > 0.002).mean():.0%} of the scenes"
        assert column.mean() > 0.01, f"{name} covers {column.mean():.2%}"
    void = [i for i in range(34) if i not in EVALUATED]
    assert 0 < fractions[:, void].sum(axis=1).mean() < 0.1


def test_a_constant_prediction_scores_next_to_nothing(scenes):
    labels = np.stack([scene.label_ids for scene in scenes])
    labels = labels[np.isin(labels, list(EVALUATED))]
    counts = np.bincount(labels, minlength=34)
    for name in CLASSES:
        # The predicted class has an IoU above 0, all others have an IoU of 0.
        assert counts[LABEL_IDS[name]] / counts.sum() / len(CLASSES) < 0.1


def test_color_alone_does_not_predict_the_class(scenes):
    def coarse(scene: Scene) -> np.ndarray:
        r, g, b = (scene.image[..., i].astype(int) >> 4 for i in range(3))
        return r * 256 + g * 16 + b

    table = np.zeros((4096, 34))
    for scene in scenes[:16]:
        np.add.at(table, (coarse(scene), scene.label_ids), 1)
    confusion = np.zeros((34, 34))
    for scene in scenes[16:]:
        np.add.at(confusion, (scene.label_ids, table.argmax(axis=1)[coarse(scene)]), 1)
    hit = np.diag(confusion)
    iou = hit / np.maximum(confusion.sum(axis=0) + confusion.sum(axis=1) - hit, 1)
    assert np.mean([iou[i] for i in EVALUATED]) < 0.35


def test_objects_instances_and_labels_agree(scenes):
    for scene in scenes:
        claimed = np.zeros((HEIGHT, WIDTH), bool)
        for thing in scene.objects:
            mask = scene.mask(thing)
            rows, columns = np.nonzero(mask)
            box = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
            assert thing.box_xyxy == box
            assert thing.label_id == LABEL_IDS[thing.name]
            assert (scene.label_ids[mask] == thing.label_id).all()
            claimed |= mask
        for name in ("person", "rider", "car", "truck", "bus", "bicycle", "traffic light", "traffic sign"):
            assert claimed[scene.label_ids == LABEL_IDS[name]].all(), f"a {name} that is no object"


def test_keypoints(scenes):
    people = [(scene, thing) for scene in scenes for thing in scene.objects if thing.name in ("person", "rider")]
    assert len(people) > 60
    counts = np.zeros(3, int)
    for scene, person in people:
        assert person.keypoints_xy.shape == (17, 2) and person.keypoints_xy.dtype == np.float32
        x, y = np.rint(person.keypoints_xy).astype(int).T
        inside = (x >= 0) & (x < WIDTH) & (y >= 0) & (y < HEIGHT)
        assert np.array_equal(person.visible > 0, inside)
        seen = person.visible == 2
        assert (scene.label_ids[y[seen], x[seen]] == person.label_id).all()
        assert (scene.instances[y[seen], x[seen]] == person.instance).all()
        elsewhere = inside & (scene.instances[np.clip(y, 0, HEIGHT - 1), np.clip(x, 0, WIDTH - 1)] != person.instance)
        assert (person.visible[elsewhere] == 1).all()
        counts += np.bincount(person.visible, minlength=3)
    assert (counts > 20).all(), f"outside, covered and seen joints should all occur: {counts}"
    assert all(thing.keypoints_xy is None for scene in scenes for thing in scene.objects if thing.name == "car")


def test_left_and_right_are_those_of_the_person(scenes):
    """A person whose nose is visible faces the camera: the right shoulder is at the left of the image."""
    left, right = JOINTS.index("left_shoulder"), JOINTS.index("right_shoulder")
    facing = [
        thing.keypoints_xy[left, 0] - thing.keypoints_xy[right, 0]
        for scene in scenes
        for thing in scene.objects
        if thing.name == "person" and thing.visible[:3].tolist() == [2, 2, 2]
    ]
    facing = [width for width in facing if abs(width) > 3]  # the others are seen from the side
    assert len(facing) >= 5
    assert min(facing) > 0


def test_a_seed_shows_the_same_street_at_another_size(scenes):
    large = render(1000, HEIGHT * 2, WIDTH * 2)
    same = large.label_ids[::2, ::2] == scenes[0].label_ids
    assert same.mean() > 0.93
    small = {thing.instance: thing for thing in scenes[0].objects}
    for thing in large.objects:
        if thing.keypoints_xy is not None and thing.instance in small:
            expected = (thing.keypoints_xy + 0.5) / 2 - 0.5
            assert np.allclose(expected, small[thing.instance].keypoints_xy, atol=1e-3)


def test_nearer_objects_are_drawn_later():
    camera = Camera(width=512, height=256, focal=500, horizon=110, eye=1.5, x=0, yaw=0, bend=0, roll=0)

    def footprint(x0: float, x1: float, z0: float, z1: float) -> np.ndarray:
        return np.array([[x0, z0], [x1, z0], [x1, z1], [x0, z1]])

    near_car, far_car = footprint(-1, 1, 5, 9), footprint(-1, 1, 20, 24)
    bus, behind_bus, before_bus = footprint(2, 4.5, 8, 20), footprint(6, 6.4, 12, 12.4), footprint(1, 1.4, 12, 12.4)
    order = far_to_near(camera, [near_car, far_car, bus, behind_bus, before_bus])
    assert order.index(1) < order.index(0)
    assert order.index(3) < order.index(2) < order.index(4)


def test_a_standing_person_is_one_stature_high():
    joints = standing("stand", 0.0)
    ears, ankles = joints[3:5, 1].mean(), joints[15:17, 1]
    assert ankles.min() == pytest.approx(0.045)
    assert 0.9 < ears < 0.96  # the head's middle; its top is 0.06 above


@pytest.mark.parametrize("size", [(16, 64), (64, 31)])
def test_a_too_small_image_is_refused(size):
    with pytest.raises(ValueError, match="32 x 32"):
        render(0, *size)


@pytest.mark.parametrize("size", [(33, 67), (97, 161), (160, 160)])
def test_odd_sizes(size):
    scene = render(5, *size)
    assert scene.image.shape[:2] == scene.label_ids.shape == size
