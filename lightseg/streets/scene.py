"""A scene: the plan rendered from far to near, with the labels of all four tasks."""

# ruff: noqa: RUF005 - array + tuple is numpy's addition, not concatenation
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from lightseg.streets import backdrop, layout
from lightseg.streets.bicycles import draw_bicycle
from lightseg.streets.buildings import draw_house
from lightseg.streets.camera import NEAR, Camera
from lightseg.streets.canvas import FIRST_OBJECT, LABEL_IDS, SUPERSAMPLING, Canvas, noise
from lightseg.streets.furniture import draw_fixture
from lightseg.streets.ground import cast_shadow, draw_ground
from lightseg.streets.people import Body, draw_person
from lightseg.streets.plants import draw_tree
from lightseg.streets.vehicles import draw_vehicle


@dataclass(frozen=True)
class SceneObject:
    """An object that is at least partly visible. People and riders have COCO's 17 keypoints."""

    name: str  # Cityscapes' class name
    label_id: int  # Cityscapes' labelId
    instance: int  # its value in Scene.instances
    box_xyxy: tuple[int, int, int, int]  # of the visible pixels; x1, y1 exclusive
    keypoints_xy: np.ndarray | None = None  # float32 [17, 2] px, pixel centers at integers; may be outside the image
    visible: np.ndarray | None = None  # int64 [17]: 0 outside the image, 1 covered, 2 visible


@dataclass(frozen=True)
class Scene:
    image: np.ndarray  # uint8 RGB [H, W, 3]
    label_ids: np.ndarray  # uint8 [H, W], Cityscapes' labelIds
    instances: np.ndarray  # uint8 [H, W]: SceneObject.instance, 0 where there is no object
    objects: list[SceneObject]

    def mask(self, thing: SceneObject) -> np.ndarray:
        """The visible pixels of an object, bool [H, W]."""
        return self.instances == thing.instance


# Standard deviation of the brightness of each surface.
_ROUGHNESS = {
    "vegetation": 0.09, "building": 0.03, "car": 0.015, "truck": 0.025, "bus": 0.015, "person": 0.04, "rider": 0.04,
    "bicycle": 0.03, "pole": 0.03, "traffic sign": 0.02, "static": 0.04,
}  # fmt: skip


def render(seed: int, height: int, width: int, extra_people: int = 0) -> Scene:
    """Render the street scene of a seed.

    A seed gives the same street at every size. The aspect ratio should be near 1 : 2.

    Args:
        height, width: of the image in pixels, at least 32.
        extra_people: number of people on top of the usual ones, as far as there is room.

    Raises:
        ValueError: an image smaller than 32 x 32.
    """
    if height < 32 or width < 32:
        raise ValueError(f"a scene needs at least 32 x 32 pixels, got {height} x {width}")
    canvas = Canvas(height, width)
    sides = (height * SUPERSAMPLING, width * SUPERSAMPLING)
    plan = layout.sample_plan(np.random.default_rng([seed, 0]), *sides, extra_people)
    rng = np.random.default_rng([seed, 1])  # for noise, which depends on the size
    bodies = _draw(canvas, plan, rng)

    indices = canvas.indices()
    image = canvas.image()
    table = np.zeros(256, np.float32)
    labels = canvas.labels()
    for name, amount in _ROUGHNESS.items():
        table[labels == LABEL_IDS[name]] = amount
    grain = rng.standard_normal((height, width), dtype=np.float32) + noise(rng, height, width, width / 70)
    rough = np.clip(image * (1 + table[indices] * grain)[..., None], 0, 255).astype(np.uint8)
    image = backdrop.develop(rough, rng, plan.brightness, plan.contrast, plan.tint, plan.vignette, plan.grain)
    return Scene(image, labels[indices], *_objects(canvas, indices, bodies))


def _draw(canvas: Canvas, plan: layout.Plan, rng: np.random.Generator) -> list[Body]:
    camera, light = plan.camera, plan.light
    backdrop.draw_sky(canvas, camera, light, plan.zenith, plan.cloud, rng)
    backdrop.draw_far_end(canvas, camera, light, plan.walls, plan.leaves, np.random.default_rng(plan.far_end))
    draw_ground(canvas, camera, light, plan.street, _shadows(plan), rng)
    bodies: list[Body] = []
    jobs: list[tuple[np.ndarray, Callable[[], Body | None]]] = []
    for house in plan.houses:
        jobs.append((house.footprint(), lambda house=house: draw_house(canvas, camera, light, house)))  # type: ignore[misc]
    for tree in plan.trees:
        jobs.append((tree.footprint(), lambda tree=tree: draw_tree(canvas, camera, light, tree)))  # type: ignore[misc]
    for fixture in plan.fixtures:
        jobs.append((fixture.footprint(), lambda fixture=fixture: draw_fixture(canvas, camera, light, fixture)))  # type: ignore[misc]
    for vehicle in plan.vehicles:
        jobs.append((vehicle.footprint(), lambda vehicle=vehicle: draw_vehicle(canvas, camera, light, vehicle)))  # type: ignore[misc]
    for person in plan.people:
        jobs.append((person.footprint(), lambda person=person: draw_person(canvas, camera, light, person)))  # type: ignore[misc]
    for bicycle in plan.bicycles:
        jobs.append((bicycle.footprint(), lambda bicycle=bicycle: draw_bicycle(canvas, camera, light, bicycle)))  # type: ignore[misc]
    for i in far_to_near(camera, [footprint for footprint, _ in jobs]):
        body = jobs[i][1]()
        if body is not None:
            bodies.append(body)
    if plan.hood:
        _draw_hood(canvas, plan.hood[0], light.color(plan.hood[1], (0, 1, 0)))
    return bodies


def far_to_near(camera: Camera, footprints: list[np.ndarray]) -> list[int]:
    """The order (indices) of drawing in which nearer objects come later. footprints: [4, 2] (x, z) in m each.

    Of two objects separated by a plane across the view, the farther comes first. Of two objects beside each other, the
    one farther from the middle of the view comes first.
    """
    corners = np.stack(footprints)  # [N, 4, 2]
    z = np.maximum(corners[..., 1], NEAR)
    x = corners[..., 0] - camera.x + camera.drift(z)
    x0, x1, z0, z1 = x.min(axis=1), x.max(axis=1), z.min(axis=1), z.max(axis=1)
    aside = np.maximum(0, np.maximum(x0, -x1))  # distance of the extent from the view's middle
    middle_x, middle_z = (x0 + x1) / 2, (z0 + z1) / 2
    behind = z0[None, :] >= z1[:, None]  # [i, j]: j must be drawn before i
    before = behind.T
    beside = ~behind & ~before & (middle_x[:, None] * middle_x[None, :] > 0)
    overlap = (x0[:, None] < x1[None, :]) & (x1[:, None] > x0[None, :])
    behind |= beside & ~overlap & (aside[None, :] > aside[:, None])
    behind |= beside & overlap & (middle_z[None, :] > middle_z[:, None])
    np.fill_diagonal(behind, False)
    left = np.ones(len(footprints), bool)
    order: list[int] = []
    for _ in footprints:
        free = left & ~(behind & left[None, :]).any(axis=1)
        candidates = np.flatnonzero(free if free.any() else left)
        chosen = int(candidates[np.argmax(middle_z[candidates])])
        order.append(chosen)
        left[chosen] = False
    return order


def _shadows(plan: layout.Plan) -> list[tuple[np.ndarray, float]]:
    """Cast shadows, and contact shadows below vehicles, people and bicycles: (outline [N, 2], darkness) each."""
    light, shadows = plan.light, []
    for house in plan.houses:
        shadows.append((cast_shadow(light, house.footprint(), house.height), light.shadow))
    for tree in plan.trees:
        shift = np.asarray(light.shadow_reach(tree.trunk + tree.crown[1]))
        shadows.append((tree.crown_disc() + shift, light.shadow * 0.85))
        if tree.trunk:
            shadows.append(
                (
                    cast_shadow(light, tree.footprint() * 0.5 + np.array([tree.x, tree.z]) * 0.5, tree.trunk),
                    light.shadow,
                )
            )
    for vehicle in plan.vehicles:
        shadows.append((cast_shadow(light, vehicle.footprint(), vehicle.size[2]), light.shadow))
        shadows.append((vehicle.footprint(), 0.6))
    for fixture in plan.fixtures:
        shadows.append((cast_shadow(light, fixture.footprint(), fixture.height), light.shadow * 0.8))
    for person in plan.people:
        shadows.append((cast_shadow(light, person.footprint(), person.stature), light.shadow * 0.9))
        shadows.append((person.footprint(), 0.35))
    for bicycle in plan.bicycles:
        shadows.append((cast_shadow(light, bicycle.footprint(), 1.6 if bicycle.rider else 0.8), light.shadow * 0.8))
        shadows.append((bicycle.footprint(), 0.3))
    return shadows


def _draw_hood(canvas: Canvas, fraction: float, rgb: tuple[int, int, int]) -> None:
    """The ego vehicle along the lower edge, over `fraction` of the height."""
    height, width = canvas.pixels.shape[:2]
    x = np.linspace(-1.05, 1.05, 24)
    rim = np.stack([(x + 1) / 2 * width, height - height * fraction * (1 - 0.75 * np.abs(x) ** 3)], axis=1)
    for drop, shade in ((0.0, 0.7), (0.012, 1.0), (0.035, 0.85)):
        top = rim + (0, height * drop)
        outline = np.concatenate([top, [[width * 1.1, height * 1.1], [-width * 0.1, height * 1.1]]])
        canvas.polygon(
            outline,
            (int(rgb[0] * shade), int(rgb[1] * shade), int(rgb[2] * shade)),
            LABEL_IDS["ego vehicle"],
            convex=False,
        )


def _objects(canvas: Canvas, indices: np.ndarray, bodies: list[Body]) -> tuple[np.ndarray, list[SceneObject]]:
    """The instance map uint8 [H, W] and its objects. Fully covered objects are left out."""
    height, width = indices.shape
    instances = np.where(indices >= FIRST_OBJECT, indices - (FIRST_OBJECT - 1), 0).astype(np.uint8)
    by_index = {body.index: body for body in bodies}
    objects = []
    for i, name in enumerate(canvas.names):
        x0, y0, box_width, box_height = cv2.boundingRect((instances == i + 1).view(np.uint8))
        if not box_width:
            continue
        box = (x0, y0, x0 + box_width, y0 + box_height)
        thing = SceneObject(name, LABEL_IDS[name], i + 1, box)
        body = by_index.get(FIRST_OBJECT + i)
        if body is not None:
            joints = ((body.joints + 0.5) / SUPERSAMPLING - 0.5).astype(np.float32)
            x, y = np.rint(joints[:, 0]).astype(int), np.rint(joints[:, 1]).astype(int)
            inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
            seen = inside & ~body.covered
            seen[inside] &= instances[y[inside], x[inside]] == i + 1
            visible = inside.astype(np.int64) + seen
            thing = SceneObject(name, LABEL_IDS[name], i + 1, box, joints, visible)
        objects.append(thing)
    return instances, objects
