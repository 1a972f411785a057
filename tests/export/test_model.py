"""ExportedModel: a file in the place of a model's own layers."""

import numpy as np
import pytest
import torch

import train
from lightseg.errors import LightsegError
from lightseg.export.exported_model import use_exported
from lightseg.export.metadata import Metadata
from lightseg.input_contract import InputContract
from lightseg.model import create_model
from lightseg.profile import count_madds, measure_latency


class File:
    """Left of each image is class 0 where it is dark. One image of 64x96 at a time."""

    metadata = Metadata("seg", InputContract(class_names=("a", "b")), (64, 96), (64, 96), 1, {"logits": ""})

    def run(self, images: np.ndarray) -> dict[str, np.ndarray]:
        assert images.shape == (1, 3, 64, 96) and images.dtype == np.uint8
        dark = (images[:, :1] < 100).astype(np.float32)
        return {"logits": np.concatenate([dark, 1 - dark], 1)}


class Ids(File):
    def run(self, images: np.ndarray) -> dict[str, np.ndarray]:
        return {"class_ids": super().run(images)["logits"].argmax(1).astype(np.uint8)}


class Boxes(File):
    def run(self, images: np.ndarray) -> dict[str, np.ndarray]:
        batched = np.full((len(images), 7, 4), images.max(), np.float32)
        return {"class_logits": batched[..., :3], "box_deltas": batched, "default_boxes": batched[0]}


@pytest.fixture
def images():
    images = torch.zeros(3, 3, 64, 96, dtype=torch.uint8)
    images[..., 48:] = 200
    return images


@pytest.mark.parametrize("file", [File(), Ids()])
def test_the_heads_decoding_reads_the_files_answers(images, file):
    model = use_exported(create_model("mobilenetv3_small_050", "seg", 2).eval(), file)
    ids = model.head.decode(model(images), (64, 96))
    assert torch.equal(ids.long(), (images[:, 0] > 100).long())


def test_default_boxes_have_no_batch(images):
    model = use_exported(create_model("mobilenetv3_small_050", "det", 2).eval(), Boxes())
    outputs = model(images)
    assert [outputs[key].shape for key in ("class_logits", "box_deltas")] == [(3, 7, 3), (3, 7, 4)]
    assert outputs["default_boxes"].shape == (7, 4)


def test_cost_is_the_nets_and_latency_the_files():
    model = create_model("mobilenetv3_small_050", "seg", 2).eval()
    madds = count_madds(model, (1, 3, 64, 96), torch.uint8)
    file = Ids()
    use_exported(model, file)
    calls: list[int] = []
    file.run = lambda images: calls.append(1) or Ids.run(file, images)  # type: ignore[method-assign, func-returns-value]
    assert count_madds(model, (1, 3, 64, 96), torch.uint8) == madds and not calls
    assert measure_latency(model, (1, 3, 64, 96), runs=3, dtype=torch.uint8)["latency_ms"] > 0 and len(calls) == 4


def test_images_of_another_size_are_refused(images):
    model = use_exported(create_model("mobilenetv3_small_050", "seg", 2).eval(), File())
    with pytest.raises(LightsegError, match="takes images of 64x96, not of 64x64: export at that size"):
        model(images[..., :64])


@pytest.mark.parametrize(
    ("name", "said"),
    [("net.onnx", "net.onnx cannot be run by ONNX Runtime"), ("net.pt2", "net.pt2 is no exported file that can be")],
)
def test_a_file_that_is_none_of_ours_is_one_line(words, tmp_path, capsys, name, said):
    path = tmp_path / name
    path.write_bytes(b"no net")
    assert train.main(words("mode=test", f"ckpt={path}")) == 2
    line = capsys.readouterr().err
    assert said in line and line.startswith("error: ") and line.count("\n") == 1
