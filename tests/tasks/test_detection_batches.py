"""What detection does to a batch before the model sees it, and how it shows a prediction."""

import random

import pytest
import torch
import wandb

from lightseg.data.transforms.detection import to_original
from lightseg.input_contract import InputContract
from tasks.detection import DetectionTask


def task_of(multi_scale: list[float] | None = None, keep_aspect: bool = False) -> DetectionTask:
    """As much of a task as batches and images need: 3 classes, and of the model its contract."""
    task = object.__new__(DetectionTask)
    torch.nn.Module.__init__(task)
    task.model = torch.nn.Identity()
    task.model.contract = InputContract()
    task.multi_scale, task.keep_aspect = multi_scale, keep_aspect
    task.class_names, task.palette = ["red hat", "unicorn", "kite"], [[255, 0, 0], [0, 255, 0], [0, 0, 255]]
    return task


def squares(height: int = 96, width: int = 160, batch: int = 3) -> dict:
    """White boxes on black, and one image without."""
    draw = random.Random(0)
    images = torch.zeros(batch, 3, height, width, dtype=torch.uint8).contiguous(memory_format=torch.channels_last)
    boxes = [torch.zeros(0, 4)]
    for index in range(1, batch):
        x, y = draw.randrange(width - 40), draw.randrange(height - 40)
        images[index, :, y : y + 32, x : x + 24] = 255
        boxes.append(torch.tensor([[x, y, x + 24.0, y + 32.0]]))
    labels = [torch.zeros(len(one), dtype=torch.int64) for one in boxes]
    return {"images": images, "boxes": boxes, "labels": labels, "names": [str(i) for i in range(batch)]}


def test_boxes_stay_on_their_objects_at_every_size():
    task, batch = task_of([0.5, 1.6]), squares()
    original = [box.clone() for box in batch["boxes"]]
    seen = set()
    for seed in range(12):
        torch.manual_seed(seed)
        scaled = task.prepare_batch(batch)
        images = scaled["images"]
        height, width = images.shape[-2:]
        seen.add((height, width))
        assert images.dtype == torch.uint8 and images.is_contiguous(memory_format=torch.channels_last)
        assert scaled["boxes"][0].shape == (0, 4) and scaled["labels"] is batch["labels"]
        for image, (box,) in zip(images[1:], scaled["boxes"][1:], strict=True):
            rows, columns = (image[0] > 127).nonzero(as_tuple=True)
            white = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
            assert (box - torch.stack(white).float()).abs().max() <= 1.0, (height, width)
    assert len(seen) > 4
    assert all(torch.equal(now, before) for now, before in zip(batch["boxes"], original, strict=True))


def test_a_steps_size_depends_on_its_seed_alone():
    task, batch = task_of([0.5, 1.6]), squares()
    shapes = []
    for seed in (3, 3):
        torch.manual_seed(seed)
        torch.rand(1 + len(shapes))  # whatever else drew from the generator
        random.seed(len(shapes))
        state = random.getstate()
        shapes.append(task.prepare_batch(batch)["images"].shape)
        assert random.getstate() == state
    assert shapes[0] == shapes[1] != batch["images"].shape
    assert task_of(None).prepare_batch(batch) is batch


# -- what loggers show -------------------------------------------------------------------------------------------------


def sample_and_prediction() -> tuple[dict, dict]:
    """An image of 200x100 pixels in an input of 64x96, fitted in: one object, found surely, unsurely and hardly."""
    image = torch.randint(0, 256, (3, 64, 96), dtype=torch.uint8)
    sample = {"images": image, "boxes": torch.tensor([[40.0, 8, 56, 40]]), "labels": torch.tensor([2]),
              "sizes": (200, 100), "name": "somebody"}  # fmt: skip
    in_input = torch.tensor([[41.0, 9, 55, 41], [36.0, 6, 50, 30], [34.0, 2, 60, 60]])
    boxes = to_original(in_input, (200, 100), (64, 96), True)
    return sample, {"boxes": boxes, "labels": torch.tensor([2, 0, 1]), "scores": torch.tensor([0.9, 0.2, 0.01])}


def test_what_wandb_lays_over_an_image():
    sample, prediction = sample_and_prediction()
    shown = task_of(keep_aspect=True).annotations(sample, prediction)
    image = sample["images"].permute(1, 2, 0).numpy()
    assert set(wandb.Image(image, **shown)._boxes) == {"truth", "prediction"}  # which checks every box
    truth, found = shown["boxes"]["truth"]["box_data"], shown["boxes"]["prediction"]["box_data"]
    assert truth == [{"position": {"minX": 40.0, "minY": 8.0, "maxX": 56.0, "maxY": 40.0}, "domain": "pixel",
                      "class_id": 2}]  # fmt: skip
    assert [(box["class_id"], box["scores"]["score"]) for box in found] == [
        (2, pytest.approx(0.9)),
        (0, pytest.approx(0.2)),
    ]
    place = found[0]["position"]
    assert [place[key] for key in ("minX", "minY", "maxX", "maxY")] == pytest.approx([41, 9, 55, 41], abs=0.01)


def test_images_show_truth_beside_prediction():
    sample, prediction = sample_and_prediction()
    sample["images"] = torch.zeros(3, 64, 96, dtype=torch.uint8)
    truth, found = task_of(keep_aspect=True).draw(sample, prediction)
    assert truth.shape == found.shape == (320, 480, 3)
    for image, box in ((truth, (40, 8, 56, 40)), (found, (41, 9, 55, 41))):
        rows, columns = (image == (0, 0, 255)).all(2).nonzero()
        assert (columns.min(), columns.max() + 1) == pytest.approx((box[0] * 5, box[2] * 5), abs=60)  # and its tag
        assert rows.max() + 1 == pytest.approx(box[3] * 5, abs=2)
    assert not (found == (255, 0, 0)).all(2).any()  # not sure enough to be drawn
