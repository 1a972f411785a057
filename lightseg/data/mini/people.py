"""People as 17 joints in three dimensions (COCO's), posed, clothed, and drawn limb by limb from far to near.

A person's own axes: right, up, forward; lengths in statures (a standing person is 1 high), the origin on the ground below the hips.
Proportions after Winter, Biomechanics and Motor Control of Human Movement, fig. 4.1; limbs are drawn a little thick for small pictures.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np

from lightseg.data.mini.camera import RGB, Camera, Light
from lightseg.data.mini.canvas import Canvas, capsule

JOINTS = (
    "nose", "left_eye", "right_eye", "left_ear", "right_ear", "left_shoulder", "right_shoulder", "left_elbow", "right_elbow",
    "left_wrist", "right_wrist", "left_hip", "right_hip", "left_knee", "right_knee", "left_ankle", "right_ankle",
)  # fmt: skip
NOSE, L_EYE, R_EYE, L_EAR, R_EAR, L_SHO, R_SHO, L_ELB, R_ELB, L_WRI, R_WRI, L_HIP, R_HIP, L_KNE, R_KNE, L_ANK, R_ANK = (
    range(17)
)
THIGH, SHIN, UPPER_ARM, FOREARM = 0.245, 0.246, 0.186, 0.165


@dataclass(frozen=True)
class Person:
    x: float
    z: float
    heading: float  # 0 walks away from the camera, pi towards it, pi / 2 to the right
    stature: float  # m
    pose: str  # walk, stand, or wave
    phase: float  # rad of the gait
    skin: RGB
    hair: RGB
    top: RGB
    legs: RGB
    skirt: bool
    bag: RGB | None

    def footprint(self) -> np.ndarray:
        return np.array([[-0.25, -0.2], [0.25, -0.2], [0.25, 0.2], [-0.25, 0.2]]) + (self.x, self.z)


@dataclass
class Body:
    """A drawn person: joints [17, 2] in canvas pixels, and which of them its own nearer limbs cover."""

    index: int
    joints: np.ndarray
    covered: np.ndarray
    limbs: list[tuple[tuple[int, ...], np.ndarray]] = field(default_factory=list)


def standing_joints(pose: str, phase: float) -> np.ndarray:
    """[17, 3] (right, up, forward) of somebody who walks, stands or waves."""
    joints = np.zeros((17, 3))
    swing = {"walk": 0.5, "stand": 0.06, "wave": 0.08}[pose]
    lowest = 1.0
    for sign, hip, knee, ankle, shoulder, elbow, wrist, offset in (
        (-1, L_HIP, L_KNE, L_ANK, L_SHO, L_ELB, L_WRI, 0.0),
        (1, R_HIP, R_KNE, R_ANK, R_SHO, R_ELB, R_WRI, np.pi),
    ):
        stride = np.sin(phase + offset) * swing
        bend = swing * (0.25 + 0.9 * max(0.0, np.cos(phase + offset)))  # the knee bends as the leg swings forward
        joints[hip] = (sign * 0.055, 0.0, 0.0)
        joints[knee] = joints[hip] + (sign * 0.004, -THIGH * np.cos(stride), THIGH * np.sin(stride))
        joints[ankle] = joints[knee] + (0, -SHIN * np.cos(stride - bend), SHIN * np.sin(stride - bend))
        lowest = min(lowest, joints[ankle, 1])
        joints[shoulder] = (sign * 0.115, 0.288, 0.01)
        arm = -np.sin(phase + offset) * swing * 0.9
        if pose == "wave" and sign == 1:
            joints[elbow] = joints[shoulder] + (UPPER_ARM * 0.85, UPPER_ARM * 0.3, 0.03)
            joints[wrist] = joints[elbow] + (FOREARM * 0.3 * np.sin(phase), FOREARM * 0.92, 0.03)
        else:
            joints[elbow] = joints[shoulder] + (sign * 0.025, -UPPER_ARM * np.cos(arm), UPPER_ARM * np.sin(arm))
            joints[wrist] = joints[elbow] + (0, -FOREARM * np.cos(arm + 0.35), FOREARM * np.sin(arm + 0.35))
    joints[:, 1] += 0.045 - lowest  # the lower ankle stands
    head_joints(joints, np.zeros(3))
    return joints


def head_joints(joints: np.ndarray, lean: np.ndarray) -> None:
    """Put nose, eyes and ears above the shoulders, the head's middle moved by `lean`."""
    middle = (joints[L_SHO] + joints[R_SHO]) / 2 + (0, 0.118, 0.01) + lean
    joints[NOSE] = middle + (0, -0.008, 0.068)
    for sign, eye, ear in ((-1, L_EYE, L_EAR), (1, R_EYE, R_EAR)):
        joints[eye] = middle + (sign * 0.024, 0.014, 0.056)
        joints[ear] = middle + (sign * 0.052, 0.0, 0.0)


def to_world(points: np.ndarray, x: float, z: float, heading: float, stature: float) -> np.ndarray:
    """(right, up, forward) in statures -> world metres."""
    cos, sin = np.cos(heading), np.sin(heading)
    right, up, forward = (points * stature).T
    return np.stack([x + right * cos + forward * sin, up, z - right * sin + forward * cos], axis=1)


def draw_person(canvas: Canvas, camera: Camera, light: Light, person: Person) -> Body:
    joints = to_world(standing_joints(person.pose, person.phase), person.x, person.z, person.heading, person.stature)
    return draw_body(canvas, camera, light, person, joints, canvas.add_object("person"))


def draw_body(canvas: Canvas, camera: Camera, light: Light, person: Person, joints: np.ndarray, index: int) -> Body:
    """Draw world `joints` [17, 3] in `person`'s clothes."""
    pixels = camera.project(joints)
    metre = camera.scale(person.z) * person.stature
    body = Body(index, pixels, np.zeros(17, bool))
    forward = np.array([np.sin(person.heading), 0, np.cos(person.heading)])
    head = joints[[L_EAR, R_EAR]].mean(axis=0)
    neck = joints[[L_SHO, R_SHO]].mean(axis=0) * 0.9 + head * 0.1
    sides = ((L_SHO, L_ELB, L_WRI, L_HIP, L_KNE, L_ANK), (R_SHO, R_ELB, R_WRI, R_HIP, R_KNE, R_ANK))

    def limb(ids: tuple[int, ...], outline: np.ndarray, rgb: RGB, depth: float, convex: bool = True) -> tuple:
        return depth, ids, outline, rgb, convex

    jobs = []
    dark_legs = tuple(c * 0.8 for c in person.legs)
    for side, (shoulder, elbow, wrist, hip, knee, ankle) in enumerate(sides):
        lower = person.skin if person.skirt else person.legs
        shade = person.legs if side else dark_legs
        arm_depth = float(joints[[shoulder, elbow, wrist], 2].mean())
        leg_depth = float(joints[[hip, knee, ankle], 2].mean())
        toe = camera.project(joints[ankle] + forward * 0.11 * person.stature - (0, 0.02 * person.stature, 0))
        jobs.append(
            limb(
                (ankle,),
                capsule(pixels[ankle] + (0, 0.01 * metre), toe, 0.033 * metre, 0.022 * metre),
                (38, 34, 34),
                leg_depth,
            )
        )
        jobs.append(
            limb(
                (knee, ankle),
                capsule(pixels[knee], pixels[ankle], 0.043 * metre, 0.03 * metre),
                lower if person.skirt else shade,
                leg_depth - 0.001,
            )
        )
        jobs.append(
            limb(
                (hip, knee), capsule(pixels[hip], pixels[knee], 0.062 * metre, 0.044 * metre), shade, leg_depth - 0.002
            )
        )
        sleeve = tuple(c * (0.9 if side else 0.8) for c in person.top)
        jobs.append(
            limb(
                (shoulder, elbow),
                capsule(pixels[shoulder], pixels[elbow], 0.042 * metre, 0.032 * metre),
                sleeve,
                arm_depth,
            )
        )
        jobs.append(
            limb(
                (elbow, wrist),
                capsule(pixels[elbow], pixels[wrist], 0.031 * metre, 0.023 * metre),
                sleeve,
                arm_depth - 0.001,
            )
        )
        hand = pixels[wrist] + (pixels[wrist] - pixels[elbow]) * 0.18
        jobs.append(
            limb((wrist,), capsule(pixels[wrist], hand, 0.024 * metre, 0.02 * metre), person.skin, arm_depth - 0.002)
        )
    trunk_depth = float(joints[[L_SHO, R_SHO, L_HIP, R_HIP], 2].mean())
    corners = [
        capsule(pixels[i], pixels[i], r * metre, r * metre)
        for i, r in ((L_SHO, 0.042), (R_SHO, 0.042), (L_HIP, 0.06), (R_HIP, 0.06))
    ]
    trunk = cv2.convexHull(np.concatenate(corners).astype(np.float32)).reshape(-1, 2).astype(np.float64)
    jobs.append(limb((L_SHO, R_SHO, L_HIP, R_HIP), trunk, person.top, trunk_depth - 0.004))
    if person.skirt:
        hem = np.concatenate(
            [
                capsule(pixels[i], pixels[i], r * metre, r * metre)
                for i, r in ((L_HIP, 0.06), (R_HIP, 0.06), (L_KNE, 0.07), (R_KNE, 0.07))
            ]
        )
        jobs.append(
            limb(
                (L_HIP, R_HIP, L_KNE, R_KNE),
                cv2.convexHull(hem.astype(np.float32)).reshape(-1, 2).astype(np.float64),
                person.legs,
                trunk_depth - 0.003,
            )
        )
    if person.bag is not None:  # on the back
        back = camera.project(
            joints[[L_SHO, R_SHO, L_HIP, R_HIP]].mean(axis=0) + (0, 0.05, 0) - forward * 0.09 * person.stature
        )
        pack = capsule(back - (0, 0.08 * metre), back + (0, 0.07 * metre), 0.09 * metre, 0.1 * metre)
        jobs.append(limb((), pack, person.bag, trunk_depth - 0.12 * float(forward[2])))
    _add_head(jobs, camera, joints, head, neck, forward, person, metre)

    jobs.sort(key=lambda job: -job[0])
    for _, ids, outline, rgb, convex in jobs:
        canvas.polygon(outline, light.colour(rgb, None, person.z), index, convex)
        body.limbs.append((ids, outline))
    _find_covered(body)
    return body


def _add_head(
    jobs: list,
    camera: Camera,
    joints: np.ndarray,
    head: np.ndarray,
    neck: np.ndarray,
    forward: np.ndarray,
    person: Person,
    metre: float,
) -> None:
    middle, neck_px = camera.project(head), camera.project(neck)
    depth = float(head[2])
    face = camera.project(head + forward * 0.025 * person.stature - (0, 0.012, 0))
    crown = camera.project(head - forward * 0.014 * person.stature + (0, 0.025, 0))
    away = float(forward[2])  # 1: we see the back of the head
    jobs.append((depth + 0.01, (), capsule(neck_px, middle, 0.035 * metre, 0.03 * metre), person.skin, True))
    front_ids, back_ids = (NOSE, L_EYE, R_EYE), (L_EAR, R_EAR)
    skin = capsule(face - (0, 0.012 * metre), face + (0, 0.026 * metre), 0.05 * metre, 0.038 * metre)
    hair = capsule(crown - (0, 0.012 * metre), crown + (0, 0.008 * metre), 0.061 * metre, 0.056 * metre)
    nearer, farther = (-0.03, -0.02) if away < 0.25 else (-0.02, -0.03)
    jobs.append((depth + farther if away >= 0.25 else depth + nearer, (*front_ids, *back_ids), skin, person.skin, True))
    jobs.append((depth - 0.04 if away >= 0.25 else depth - 0.01, back_ids, hair, person.hair, True))


def _find_covered(body: Body) -> None:
    """A joint is covered where a limb that it is not part of was drawn over it, after the last one that it is part of."""
    for joint in range(17):
        own = max((i for i, (ids, _) in enumerate(body.limbs) if joint in ids), default=-1)
        at = (float(body.joints[joint, 0]), float(body.joints[joint, 1]))
        for _, outline in body.limbs[own + 1 :]:
            if cv2.pointPolygonTest(outline.astype(np.float32), at, False) >= 0:
                body.covered[joint] = True
                break
