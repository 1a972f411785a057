"""Files: exact, small, and refused in one line where they are damaged or somebody's."""

import json
import struct
import zlib

import numpy as np
import pytest
import torch

from lightseg.checkpoint import load_model
from lightseg.cli import main
from lightseg.compress.api import compress_model
from lightseg.compressed_file import LENGTHS, MAGIC, is_compressed, read_compressed, write_compressed
from lightseg.entropy_coding import join, pack, split, unpack
from lightseg.errors import LightsegError
from lightseg.model import Model, create_model

IMAGES = torch.randint(0, 256, (2, 3, 64, 96), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    "places", [[], [0], [254], [255], [256], [509, 510, 511], [0, 1, 700, 1999], range(2000), range(3, 2000, 3)]
)
def test_positions_of_every_distance(places):
    values = np.zeros(2000, np.float32)
    values[list(places)] = np.random.default_rng(0).integers(1, 200, len(places)) / 7
    positions, codes, table = split(values)
    assert len(codes) == len(places) and (np.diff(table) > 0).all()
    assert np.array_equal(join(positions, codes, table, 2000), values)


def test_what_cannot_be_split_or_joined():
    assert split(np.arange(1, 258, dtype=np.float32)) is None
    assert split(np.arange(257, dtype=np.float32)) is not None  # zero needs no code
    positions, codes, table = split(np.array([0, 1, 0, 2], np.float32))
    for wrong in ((positions[:1], codes, table, 4), (positions, codes, table[:1], 4), (positions, codes, table, 3)):
        with pytest.raises(ValueError, match="do not fit"):
            join(*wrong)


def test_streams_are_near_their_entropy_and_end_where_they_should():
    random = np.random.default_rng(0)
    codes = np.clip(random.normal(128, 30, 100_000), 0, 255).astype(np.uint8)
    shares = np.bincount(codes) / len(codes)
    entropy = -(shares[shares > 0] * np.log2(shares[shares > 0])).sum() * len(codes) / 8
    packed = pack(codes.tobytes())
    assert entropy < len(packed) < 1.01 * entropy
    assert unpack(packed, len(codes)) == codes.tobytes()
    for size in (len(codes) - 1, len(codes) + 1):
        with pytest.raises(ValueError, match=f"than {size} bytes"):
            unpack(packed, size)
    with pytest.raises(ValueError, match="damaged"):
        unpack(b"\xff" + packed, len(codes))


def small(task: str = "seg", backbone: str = "mobilenetv3_small_050") -> Model:
    torch.manual_seed(0)
    model = create_model(backbone, task, 5, class_names=list("abcde"))
    for module in model.modules():  # what a trained net has there
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 2)
    return model.eval()


@pytest.mark.parametrize(("task", "sparsity"), [("seg", 0.5), ("cls", 0.0), ("det", 0.67)])
def test_a_file_gives_the_model_in_memory_exactly(tmp_path, task, sparsity):
    model = small(task)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    report = compress_model(model, tmp_path / "m.compressed", sparsity=sparsity, bits=6)
    again = load_model(tmp_path / "m.compressed")
    assert again.spec == model.spec and not again.training
    for (key, value), (name, read) in zip(model.state_dict().items(), again.state_dict().items(), strict=True):
        assert key == name and torch.equal(value, read) and value.dtype == read.dtype, key
    changed = {key for key, value in model.state_dict().items() if not torch.equal(value, before[key])}
    assert changed and all(before[key].ndim > 1 for key in changed)
    with torch.no_grad():
        for found, expected in zip(
            torch.utils._pytree.tree_leaves(again(IMAGES)), torch.utils._pytree.tree_leaves(model(IMAGES)), strict=True
        ):
            assert torch.equal(found, expected)
    assert report["bytes"] == (tmp_path / "m.compressed").stat().st_size == sum(report["parts"].values())
    assert report["bytes_before"] == sum(v.numel() * v.element_size() for v in before.values())
    assert report["kept"] == pytest.approx(1 - sparsity, abs=0.01)


def test_any_tensors_come_back(tmp_path):
    state = {
        "scalar": torch.tensor(7), "empty": torch.zeros(0, 3), "zeros": torch.zeros(4, 1000),
        "flags": torch.ones(3) > 0, "bytes": torch.arange(5, dtype=torch.uint8), "half": torch.rand(9).half(),
        "strided": torch.rand(6, 4).T, "one": torch.full((1,), 2.5),
        "odd": torch.tensor([float("nan"), float("inf"), -0.0, 1e-45]),
    }  # fmt: skip
    sizes = write_compressed(tmp_path / "f", {"backbone": "none"}, state)
    read = read_compressed(tmp_path / "f")
    assert read.spec == {"backbone": "none"} and sum(sizes.values()) == (tmp_path / "f").stat().st_size < 1500
    found = read.state(state)
    for name, tensor in state.items():
        assert found[name].dtype == tensor.dtype and found[name].shape == tensor.shape
        assert torch.equal(found[name].nan_to_num(5), tensor.nan_to_num(5)), name


@pytest.mark.parametrize(("bits", "most"), [(8, 660_000), (6, 470_000)])
def test_squeezenet_takes_no_more_than_was_published(tmp_path, bits, most):
    """arXiv:1602.07360, table 2, of random weights, spread more evenly than trained ones; biases are none of 256."""
    torch.manual_seed(0)
    model = create_model("squeezenet1_0", "cls", 1000)
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            torch.nn.init.normal_(parameter)
    report = compress_model(model, tmp_path / "m", sparsity=0.67, bits=bits)
    assert report["weights"] == 1_244_448 and report["kept"] == pytest.approx(0.33, abs=1e-3)
    assert report["bytes"] <= most and report["bytes_before"] == 4_993_696


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> bytes:
    path = tmp_path_factory.mktemp("written") / "m.compressed"
    compress_model(small(), path, sparsity=0.5)
    return path.read_bytes()


def refused(path, content: bytes) -> str:
    path.write_bytes(content)
    with pytest.raises(LightsegError) as error:
        load_model(path)
    assert "\n" not in str(error.value) and str(path) in str(error.value)
    return str(error.value)


def test_damaged_files(tmp_path, written, capsys):
    path = tmp_path / "m.compressed"
    for place in (20, 500, len(written) // 2, len(written) - 1):
        damaged = bytearray(written)
        damaged[place] ^= 1
        assert "is damaged" in refused(path, bytes(damaged))
    for length in (8, 15, 21, len(written) - 1):
        assert "is damaged" in refused(path, written[:length])
    assert "can be read safely" in refused(path, b"")
    assert "can be read safely" in refused(path, written[1:])
    path.write_bytes(written[:-1])
    assert main(["profile", str(path), "--runs", "0"]) == 2
    assert (
        capsys.readouterr().err
        == f"error: {path} is damaged: its checksum does not match its content; write it again\n"
    )


def changed(written: bytes, change) -> bytes:
    """With another header, and a checksum that is right."""
    size, packed = LENGTHS.unpack(written[8:16])
    header = json.loads(unpack(written[16 : 16 + packed], size))
    change(header)
    plain = json.dumps(header).encode()
    body = MAGIC + LENGTHS.pack(len(plain), len(pack(plain))) + pack(plain) + written[16 + packed : -4]
    return body + struct.pack("<I", zlib.crc32(body))


def coded(header: dict) -> dict:
    return next(tensor for tensor in header["tensors"] if "values" in tensor)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda h: h.pop("model"), "another version"),
        (lambda h: h["model"].update(trust_remote_code=True), "another version"),
        (lambda h: h["model"].update(backbone="mobilenetv3_large"), "does not fit the model"),
        (lambda h: h["model"].update(backbone="/tmp/some/arch.yaml"), "contains no architecture"),
        (lambda h: h["model"].update(head={"name": 7}), "cannot be built"),
        (lambda h: h["tensors"].pop(), "does not fit the model"),
        (lambda h: h["tensors"][0].update(shape=[1 << 40, 1 << 20]), "does not fit the model"),
        (lambda h: h["tensors"][0].update(shape=[-1]), "or another program"),
        (lambda h: h["tensors"][0].update(dtype="object"), "or another program"),
        (lambda h: h["tensors"][0].update(parts=["all"]), "or another program"),
        (lambda h: h["tensors"][-1]["parts"].append(0), "is damaged"),
        (lambda h: h["tensors"][-1]["parts"].pop(), "is damaged"),
        (lambda h: coded(h).update(values=1 << 40), "more values than its shape"),
        (lambda h: coded(h).update(table=1 << 40), "more values than its shape"),
        (lambda h: coded(h).update(values="many"), "is damaged"),
        (lambda h: coded(h).update(positions=coded(h)["positions"] - 1), "is damaged"),
        (lambda h: coded(h).pop("table"), "is damaged"),
    ],
)
def test_headers_that_somebody_wrote(tmp_path, written, change, said):
    assert said in refused(tmp_path / "m.compressed", changed(written, change))


def test_a_header_without_end(tmp_path, written):
    (tmp_path / "same").write_bytes(changed(written, lambda header: None))
    assert load_model(tmp_path / "same").spec["task"] == "seg"
    bomb = pack(bytes(1 << 24))
    body = MAGIC + LENGTHS.pack(0xFFFFFFFF, len(bomb)) + bomb
    assert "a header of" in refused(tmp_path / "m", body + struct.pack("<I", zlib.crc32(body)))
    assert not is_compressed(tmp_path) and not is_compressed(tmp_path / "none")


def test_it_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    state = {"weight": torch.rand(3)}
    write_compressed(tmp_path / "f", {}, state)
    before = (tmp_path / "f").read_bytes()

    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(LightsegError, match="No space left"):
        write_compressed(tmp_path / "f", {}, {"weight": torch.rand(4)})
    assert (tmp_path / "f").read_bytes() == before and [p.name for p in tmp_path.iterdir()] == ["f"]
