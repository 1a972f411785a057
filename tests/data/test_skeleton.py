"""Skeletons of COCO categories: left/right pairs and sigmas by name, one line for contradictions."""

import numpy as np
import pytest
from pycocotools import cocoeval

from lightseg.data.skeleton import DEFAULT_SIGMA, default_sigmas, mirrored_pairs, read_skeleton
from lightseg.errors import LightsegError
from lightseg.streets import JOINTS
from lightseg.streets.coco_writer import SKELETON

COCO = {"id": 1, "name": "person", "keypoints": list(JOINTS), "skeleton": SKELETON}
HAND = {"name": "robot", "keypoints": ["tip", "left_hand", "right_hand", "base"], "skeleton": [[1, 4], [2, 4], [3, 4]]}


def test_cocos_skeleton():
    skeleton = read_skeleton(COCO)
    assert skeleton.names == JOINTS and len(skeleton.edges) == 19 and skeleton.edges[0] == (15, 13)
    assert skeleton.pairs == ((1, 2), (3, 4), (5, 6), (7, 8), (9, 10), (11, 12), (13, 14), (15, 16))
    assert skeleton.swap == [0, 2, 1, 4, 3, 6, 5, 8, 7, 10, 9, 12, 11, 14, 13, 16, 15]
    assert skeleton.lower == [False] * 11 + [True] * 6
    official = cocoeval.Params(iouType="keypoints").kpt_oks_sigmas
    np.testing.assert_allclose(skeleton.sigmas, official, atol=1e-12)
    assert default_sigmas(skeleton) == []


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("left_eye", "right_eye"), ("eye_left", "eye_right"), ("l_hip", "r_hip"), ("LShoulder", "RShoulder"),
        ("leftEar", "rightEar"), ("Left Knee", "Right Knee"), ("L_F_Paw", "R_F_Paw"), ("left-hip", "right-hip"),
        ("upper_left_arm", "upper_right_arm"), ("leftankle", "rightankle"), ("LEFT_HIP", "RIGHT_HIP"),
    ],
)  # fmt: skip
def test_pairs_by_name(left, right):
    names = [right, "bright", "leg", "nose", left, "left_only"]
    assert mirrored_pairs(names) == ((4, 0),)
    assert read_skeleton({"keypoints": names}).swap == [4, 1, 2, 3, 0, 5]


def test_options_override_the_file():
    plain = read_skeleton(HAND)
    assert plain.edges == ((0, 3), (1, 3), (2, 3)) and plain.pairs == ((1, 2),)
    assert plain.sigmas == (DEFAULT_SIGMA,) * 4 and default_sigmas(plain) == HAND["keypoints"]
    assert read_skeleton(HAND, {"edges": None, "pairs": None, "sigmas": None}) == plain
    changed = read_skeleton(HAND, {"edges": [["tip", "base"]], "pairs": [], "sigmas": {"tip": 0.2}})
    assert changed.edges == ((0, 3),) and changed.pairs == () and changed.swap == [0, 1, 2, 3]
    assert changed.sigmas == (0.2, *[DEFAULT_SIGMA] * 3)
    numbered = read_skeleton(HAND, {"pairs": [[1, 4], [2, 3]], "sigmas": [1, 2, 3, 4]})
    assert numbered.swap == [3, 2, 1, 0] and numbered.sigmas == (1.0, 2.0, 3.0, 4.0)
    assert read_skeleton({"keypoints": ["a"]}).edges == ()


@pytest.mark.parametrize(
    ("category", "options", "message"),
    [
        ({**HAND, "skeleton": [[1, 5]]}, {}, r"edge \[1, 5\] names an unknown point, 5: there are 4 points"),
        ({**HAND, "skeleton": [[0, 4]]}, {}, r"edge \[0, 4\] names an unknown point, 4: .* counted from 0"),
        ({**HAND, "skeleton": [[2, 2]]}, {}, "joins 'left_hand' with itself"),
        ({**HAND, "skeleton": [[1, 2, 3]]}, {}, "is not a list of two points"),
        (HAND, {"pairs": [["left_hand", "right_hnd"]]}, "unknown point, 'right_hnd': did you mean right_hand"),
        (HAND, {"pairs": [["tip", "tip"]]}, "pair .* joins 'tip' with itself"),
        (HAND, {"pairs": [["tip", "base"], ["base", "left_hand"]]}, "'base' is in more than one left/right pair"),
        (HAND, {"pairs": "tip"}, "give a list of"),
        (HAND, {"sigmas": [0.1, 0.1]}, "skeleton.sigmas has 2 numbers, but there are 4 keypoints"),
        (HAND, {"sigmas": [0.1, 0.1, 0, 0.1]}, "the sigma of 'right_hand' is 0: it must be greater than 0"),
        (HAND, {"sigmas": {"thumb": 1}}, "names an unknown point, 'thumb'"),
        (HAND, {"sigmas": 0.1}, "give one number a keypoint"),
        (HAND, {"pears": []}, "there is no such option; did you mean pairs"),
        ({"name": "car"}, {}, "the category 'car' names no keypoints"),
        ({"name": "car", "keypoints": ["a", "b", "a"]}, {}, "two keypoints of the same name: a"),
    ],
)
def test_contradictions_are_one_line(category, options, message):
    with pytest.raises(LightsegError, match=message) as raised:
        read_skeleton(category, options)
    assert "\n" not in str(raised.value)


def test_differences():
    coco = read_skeleton(COCO)
    assert coco.difference(coco) == "" and coco.difference(read_skeleton(COCO, {"sigmas": [1] * 17})) == ""
    assert coco.difference(read_skeleton(HAND)) == "keypoints: number 1 is nose / tip"
    assert coco.difference(read_skeleton({"keypoints": list(JOINTS[:5])})) == "keypoints: 17 / 5"
    assert coco.difference(read_skeleton(COCO, {"pairs": []})) == "left/right pairs"
