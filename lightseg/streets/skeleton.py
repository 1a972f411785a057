"""COCO's 17 joints of a person in three dimensions: standing, walking, waving, or on a bicycle.

Axes are the person's right, up and forward, in statures (a standing person is 1 high). The origin is on the ground
below the hips. Proportions after Winter, Biomechanics and Motor Control of Human Movement, fig. 4.1.
"""

# ruff: noqa: RUF005 - array + tuple is numpy's addition, not concatenation
from __future__ import annotations

import numpy as np

JOINTS = (
    "nose", "left_eye", "right_eye", "left_ear", "right_ear", "left_shoulder", "right_shoulder", "left_elbow",
    "right_elbow", "left_wrist", "right_wrist", "left_hip", "right_hip", "left_knee", "right_knee", "left_ankle",
    "right_ankle",
)  # fmt: skip
NOSE, L_EYE, R_EYE, L_EAR, R_EAR, L_SHO, R_SHO, L_ELB, R_ELB, L_WRI, R_WRI, L_HIP, R_HIP, L_KNE, R_KNE, L_ANK, R_ANK = (
    range(17)
)
THIGH, SHIN, UPPER_ARM, FOREARM, BACK = 0.245, 0.246, 0.186, 0.165, 0.288
SIDES = (  # sign of "right", then the joints; the second leg is half a stride behind the first
    (-1, L_HIP, L_KNE, L_ANK, L_SHO, L_ELB, L_WRI, 0.0),
    (1, R_HIP, R_KNE, R_ANK, R_SHO, R_ELB, R_WRI, np.pi),
)


def standing(pose: str, phase: float) -> np.ndarray:
    """Joints [17, 3] of a person who walks, stands or waves, `phase` radians into the stride."""
    joints = np.zeros((17, 3))
    swing = {"walk": 0.5, "stand": 0.06, "wave": 0.08}[pose]
    for sign, hip, knee, ankle, shoulder, elbow, wrist, offset in SIDES:
        stride = np.sin(phase + offset) * swing
        bend = swing * (0.25 + 0.9 * max(0.0, np.cos(phase + offset)))  # the knee bends as the leg swings forward
        joints[hip] = (sign * 0.055, 0.0, 0.0)
        joints[knee] = joints[hip] + (sign * 0.004, -THIGH * np.cos(stride), THIGH * np.sin(stride))
        joints[ankle] = joints[knee] + (0, -SHIN * np.cos(stride - bend), SHIN * np.sin(stride - bend))
        joints[shoulder] = (sign * 0.115, BACK, 0.01)
        arm = -np.sin(phase + offset) * swing * 0.9
        if pose == "wave" and sign == 1:
            joints[elbow] = joints[shoulder] + (UPPER_ARM * 0.85, UPPER_ARM * 0.3, 0.03)
            joints[wrist] = joints[elbow] + (FOREARM * 0.3 * np.sin(phase), FOREARM * 0.92, 0.03)
        else:
            joints[elbow] = joints[shoulder] + (sign * 0.025, -UPPER_ARM * np.cos(arm), UPPER_ARM * np.sin(arm))
            joints[wrist] = joints[elbow] + (0, -FOREARM * np.cos(arm + 0.35), FOREARM * np.sin(arm + 0.35))
    joints[:, 1] += 0.045 - min(joints[L_ANK, 1], joints[R_ANK, 1])  # the lower foot stands on the ground
    _add_head(joints, (0, 0, 0))
    return joints


def riding(
    hips: tuple[float, float], bars: tuple[float, float], crank: tuple[float, float], angle: float
) -> np.ndarray:
    """Joints [17, 3] of a cyclist.

    hips, bars, crank: (up, forward) in statures. angle: of the cranks, which are 0.1 statures long, in rad.
    """
    joints = np.zeros((17, 3))
    seat = np.array([0, *hips])
    lean = 0.5  # rad
    for sign, hip, knee, ankle, shoulder, elbow, wrist, offset in SIDES:
        joints[hip] = seat + (sign * 0.055, 0, 0)
        joints[shoulder] = seat + (sign * 0.115, BACK * np.cos(lean), BACK * np.sin(lean))
        pedal = (crank[0] + 0.1 * np.cos(angle + offset) + 0.045, crank[1] + 0.1 * np.sin(angle + offset))
        joints[ankle] = (sign * 0.06, *pedal)
        joints[knee] = _bend(joints[hip], joints[ankle], THIGH, SHIN, np.array([sign * 0.1, 0.2, 1.0]))
        joints[wrist] = (sign * 0.13, bars[0] + 0.017, bars[1])
        joints[elbow] = _bend(joints[shoulder], joints[wrist], UPPER_ARM, FOREARM, np.array([sign * 0.8, -1.0, -0.2]))
    _add_head(joints, (0, -0.01, 0.035))
    return joints


def _add_head(joints: np.ndarray, lean: tuple[float, float, float]) -> None:
    middle = (joints[L_SHO] + joints[R_SHO]) / 2 + (0, 0.118, 0.01) + lean
    joints[NOSE] = middle + (0, -0.008, 0.068)
    for sign, eye, ear in ((-1, L_EYE, L_EAR), (1, R_EYE, R_EAR)):
        joints[eye] = middle + (sign * 0.024, 0.014, 0.056)
        joints[ear] = middle + (sign * 0.052, 0.0, 0.0)


def _bend(start: np.ndarray, end: np.ndarray, upper: float, lower: float, towards: np.ndarray) -> np.ndarray:
    """The middle joint [3] of a limb of lengths `upper` and `lower`, bent to the side `towards`.

    The limb is straight if start and end are too far apart.
    """
    line = end - start
    length = float(np.linalg.norm(line))
    along = min(max((upper**2 - lower**2 + length**2) / (2 * length), -upper), upper)
    side = towards - line * (towards @ line) / length**2
    return start + line / length * along + side / np.linalg.norm(side) * np.sqrt(max(upper**2 - along**2, 0.0))


def to_world(points: np.ndarray, x: float, z: float, heading: float, scale: float) -> np.ndarray:
    """Points [N, 3] (right, up, forward) -> world points [N, 3] in m, of a person `scale` m tall at (x, z).

    heading: rad, 0 looks away from the camera.
    """
    cos, sin = np.cos(heading), np.sin(heading)
    right, up, forward = (points * scale).T
    return np.stack([x + right * cos + forward * sin, up, z - right * sin + forward * cos], axis=1)
