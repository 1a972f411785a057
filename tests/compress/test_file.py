"""Compressed files: lossless and small; damaged and manipulated files are an error of one line."""

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
    "indices", [[], [0], [254], [255], [256], [509, 510, 511], [0, 1, 700, 1999], range(2000), range(3, 2000, 3)]
)
def test_positions_of_every_distance(indices):
    values = np.zeros(2000, np.float32)
    values[list(indices)] = np.random.default_rng(0).integers(1, 200, len(indices)) / 7
    positions, codes, table = split(values)
    assert len(codes) == len(indices) and (np.diff(table) > 0).all()
    assert np.array_equal(join(positions, codes, table, 2000), values)


def test_too_many_values_and_streams_that_do_not_fit():
    assert split(np.arange(1, 258, dtype=np.float32)) is None
    assert split(np.arange(257, dtype=np.float32)) is not None  # zero needs no code
    positions, codes, table = split(np.array([0, 1, 0, 2], np.float32))
    for wrong in ((positions[:1], codes, table, 4), (positions, codes, table[:1], 4), (positions, codes, table, 3)):
        with pytest.raises(ValueError, match="do not fit"):
            join(*wrong)


def test_streams_have_nearly_the_length_of_their_entropy_and_a_checked_end():
    random = np.random.default_rng(0)
    codes = np.clip(random.normal(128, 30, 100_000), 0, 255).astype(np.uint8)
    frequencies = np.bincount(codes)[np.unique(codes)] / len(codes)
    entropy = -(frequencies * np.log2(frequencies)).sum() * len(codes) / 8
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
    for module in model.modules():  # as after training
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 2)
    return model.eval()


@pytest.mark.parametrize(("task", "sparsity"), [("seg", 0.5), ("cls", 0.0), ("det", 0.67)])
def test_a_file_restores_the_model_in_memory_exactly(tmp_path, task, sparsity):
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
        outputs, expected = map(torch.utils._pytree.tree_leaves, (again(IMAGES), model(IMAGES)))
    assert all(torch.equal(a, b) for a, b in zip(outputs, expected, strict=True))
    assert report["bytes"] == (tmp_path / "m.compressed").stat().st_size == sum(report["parts"].values())
    assert report["bytes_before"] == sum(v.numel() * v.element_size() for v in before.values())
    assert report["kept"] == pytest.approx(1 - sparsity, abs=0.01)


def test_tensors_of_any_kind_are_restored(tmp_path):
    state = {
        "scalar": torch.tensor(7), "empty": torch.zeros(0, 3), "zeros": torch.zeros(4, 1000),
        "flags": torch.ones(3) > 0, "bytes": torch.arange(5, dtype=torch.uint8), "half": torch.rand(9).half(),
        "strided": torch.rand(6, 4).T, "single": torch.full((1,), 2.5),
        "odd": torch.tensor([float("nan"), float("inf"), -0.0, 1e-45]),
    }  # fmt: skip
    sizes = write_compressed(tmp_path / "f", {"backbone": "none"}, state)
    read = read_compressed(tmp_path / "f")
    assert read.spec == {"backbone": "none"} and sum(sizes.values()) == (tmp_path / "f").stat().st_size < 1500
    restored = read.state(state)
    for name, tensor in state.items():
        assert restored[name].dtype == tensor.dtype and restored[name].shape == tensor.shape
        assert torch.equal(restored[name].nan_to_num(5), tensor.nan_to_num(5)), name


@pytest.mark.parametrize(("bits", "max_bytes"), [(8, 660_000), (6, 470_000)])
def test_squeezenet_is_no_larger_than_published(tmp_path, bits, max_bytes):
    """arXiv:1602.07360, table 2. Random weights are spread more evenly than trained weights."""
    torch.manual_seed(0)
    model = create_model("squeezenet1_0", "cls", 1000)
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            torch.nn.init.normal_(parameter)
    report = compress_model(model, tmp_path / "m", sparsity=0.67, bits=bits)
    assert report["weights"] == 1_244_448 and report["kept"] == pytest.approx(0.33, abs=1e-3)
    assert report["bytes"] <= max_bytes and report["bytes_before"] == 4_993_696


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> bytes:
    path = tmp_path_factory.mktemp("written") / "m.compressed"
    compress_model(small(), path, sparsity=0.5)
    return path.read_bytes()


def error_of(path, content: bytes) -> str:
    path.write_bytes(content)
    with pytest.raises(LightsegError) as error:
        load_model(path)
    assert "\n" not in str(error.value) and str(path) in str(error.value)
    return str(error.value)


def test_damaged_files(tmp_path, written, capsys):
    path = tmp_path / "m.compressed"
    for position in (20, 500, len(written) // 2, len(written) - 1):
        damaged = bytearray(written)
        damaged[position] ^= 1
        assert "is damaged" in error_of(path, bytes(damaged))
    for length in (8, 15, 21, len(written) - 1):
        assert "is damaged" in error_of(path, written[:length])
    assert "can be read safely" in error_of(path, b"")
    assert "can be read safely" in error_of(path, written[1:])
    path.write_bytes(written[:-1])
    assert main(["profile", str(path), "--runs", "0"]) == 2
    assert (
        capsys.readouterr().err
        == f"error: {path} is damaged: its checksum does not match its content; write it again\n"
    )


def changed(written: bytes, change) -> bytes:
    """The file with a changed header and the right checksum."""
    size, packed = LENGTHS.unpack(written[8:16])
    header = json.loads(unpack(written[16 : 16 + packed], size))
    change(header)
    plain = json.dumps(header).encode()
    body = MAGIC + LENGTHS.pack(len(plain), len(pack(plain))) + pack(plain) + written[16 + packed : -4]
    return body + struct.pack("<I", zlib.crc32(body))


def coded(header: dict) -> dict:
    return next(tensor for tensor in header["tensors"] if "values" in tensor)


@pytest.mark.parametrize(
    ("change", "message"),
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
def test_manipulated_headers(tmp_path, written, change, message):
    assert message in error_of(tmp_path / "m.compressed", changed(written, change))


def test_a_huge_header(tmp_path, written):
    (tmp_path / "same").write_bytes(changed(written, lambda header: None))
    assert load_model(tmp_path / "same").spec["task"] == "seg"
    bomb = pack(bytes(1 << 24))
    body = MAGIC + LENGTHS.pack(0xFFFFFFFF, len(bomb)) + bomb
    assert "a header of" in error_of(tmp_path / "m", body + struct.pack("<I", zlib.crc32(body)))
    assert not is_compressed(tmp_path) and not is_compressed(tmp_path / "none")


def test_writing_is_atomic(tmp_path, monkeypatch):
    state = {"weight": torch.rand(3)}
    write_compressed(tmp_path / "f", {}, state)
    before = (tmp_path / "f").read_bytes()

    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(LightsegError, match="No space left"):
        write_compressed(tmp_path / "f", {}, {"weight": torch.rand(4)})
    assert (tmp_path / "f").read_bytes() == before and [p.name for p in tmp_path.iterdir()] == ["f"]
