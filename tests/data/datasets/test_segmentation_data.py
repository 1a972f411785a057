"""The base class of segmentation data sets: checks, batches, the cache, and samples that depend on their seed alone."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from lightseg.data.collate import collate
from lightseg.data.datasets.cityscapes import Cityscapes
from lightseg.data.datasets.folder import SegmentationFolder
from lightseg.data.io.integrity import verify
from lightseg.data.io.sampling import EpochSampler
from lightseg.data.transforms.segmentation import train_transform
from lightseg.errors import DataError, LightsegError


def make(folder: Path, transform=None) -> SegmentationFolder:
    classes = ["sky", "road", "car"]
    return SegmentationFolder(
        folder, images="images", labels="masks", classes=classes, ignore=[11], transform=transform
    )


def damage(folder: Path, save_image) -> None:
    """Four broken samples of six: a truncated image, an unknown id, a label of another size, a missing label."""
    cut = folder / "images" / "a.jpg"
    cut.write_bytes(cut.read_bytes()[:-300])
    save_image(folder / "masks" / "b.png", np.full((24, 32), 57, np.uint8))
    save_image(folder / "masks" / "c.png", np.zeros((24, 33), np.uint8))
    (folder / "masks" / "d.png").unlink()


def test_skip_removes_and_reports_broken_samples(folder: Path, save_image) -> None:
    damage(folder, save_image)
    dataset = make(folder)
    before = dataset.fingerprint()
    bad = verify(dataset, "skip")
    assert dataset.names == ["e", "more/f"] and dataset.fingerprint() != before
    assert [path.name for path, _ in bad] == ["a.jpg", "b.jpg", "c.jpg", "d.jpg"]
    for reason, expected in zip(
        [reason for _, reason in bad],
        ["a.jpg: the image is truncated", "b.png: label id 57", "c.png: the label is 33x24", "d.png does not exist"],
        strict=True,
    ):
        assert expected in reason
    assert len([dataset[index] for index in range(len(dataset))]) == 2
    assert verify(dataset, "skip") == []


@pytest.mark.parametrize(
    ("name", "message"),
    [("c", r"c\.png: the label is 33x24 .* its image .*c\.jpg is 32x24"), ("d", r"d\.jpg: .*d\.png")],
)
def test_raise_checks_pairs_and_headers_without_decoding(folder: Path, save_image, name: str, message: str) -> None:
    damage(folder, save_image)
    dataset = make(folder)
    dataset.keep_only([pair.name in (name, "e") for pair in dataset.pairs])
    with pytest.raises(DataError, match=message):
        verify(dataset)
    with pytest.raises(DataError, match=message):
        dataset[0]


def test_a_data_set_without_a_usable_sample_is_an_error(folder: Path, save_image) -> None:
    damage(folder, save_image)
    dataset = make(folder)
    dataset.keep_only([True, True, False, False, False, False])
    with pytest.raises(DataError, match="all 2 images"):
        verify(dataset, "skip")
    with pytest.raises(LightsegError, match="raise or skip"):
        verify(dataset, "ignore")


def test_the_fingerprint_sees_names_and_sizes(folder: Path) -> None:
    first = make(folder).fingerprint()
    assert len(first) == 12 and first == make(folder).fingerprint()
    (folder / "images" / "a.jpg").rename(folder / "images" / "z.jpg")
    (folder / "masks" / "a.png").rename(folder / "masks" / "z.png")
    assert make(folder).fingerprint() != first


def test_a_batch_is_channels_last_and_complete(folder: Path) -> None:
    dataset = make(folder)
    samples = [dataset[index] for index in range(4)]
    batch = collate(samples)
    assert batch["image"].shape == (4, 3, 24, 32) and batch["mask"].shape == (4, 24, 32)
    assert batch["image"].is_contiguous(memory_format=torch.channels_last)
    assert batch["name"] == ["a", "b", "c", "d"] and batch["index"].tolist() == [0, 1, 2, 3]
    for index, sample in enumerate(samples):
        assert torch.equal(batch["image"][index], sample["image"]) and torch.equal(batch["mask"][index], sample["mask"])


def test_a_batch_of_different_sizes_is_refused(folder: Path, save_image) -> None:
    save_image(folder / "images" / "b.jpg", np.zeros((30, 40, 3), np.uint8))
    save_image(folder / "masks" / "b.png", np.zeros((30, 40), np.uint8))
    dataset = make(folder)
    with pytest.raises(DataError, match="a is 32x24, b is 40x30"):
        collate([dataset[0], dataset[1]])


def read_all(dataset, workers: int, epoch: int, seed: int = 3) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    sampler = EpochSampler(len(dataset), seed=seed, shuffle=True)
    sampler.set_epoch(epoch)
    loader = DataLoader(dataset, batch_size=2, sampler=sampler, num_workers=workers, collate_fn=collate)
    return {
        name: (image, mask)
        for batch in loader
        for name, image, mask in zip(batch["name"], batch["image"], batch["mask"], strict=True)
    }


def test_a_sample_depends_on_seed_epoch_and_index_alone(folder: Path) -> None:
    dataset = make(folder, train_transform((16, 24)))
    np.random.seed(0)
    torch.manual_seed(0)
    state, torch_state = np.random.get_state()[1].copy(), torch.get_rng_state()
    first = {name: dataset[index, 5]["image"] for index, name in enumerate(dataset.names)}
    assert (np.random.get_state()[1] == state).all() and torch.equal(torch.get_rng_state(), torch_state)
    for index in (3, 0, 5):  # in any order
        assert torch.equal(dataset[index, 5]["image"], first[dataset.names[index]])
    assert not torch.equal(dataset[0, 6]["image"], first["a"])

    alone = read_all(dataset, workers=0, epoch=1)
    shared = read_all(dataset, workers=2, epoch=1)
    assert alone.keys() == shared.keys() == set(dataset.names)
    for name, (image, mask) in alone.items():
        assert torch.equal(image, shared[name][0]) and torch.equal(mask, shared[name][1])
    later = read_all(dataset, workers=0, epoch=2)
    assert not all(torch.equal(image, later[name][0]) for name, (image, _) in alone.items())


def test_decoded_images_are_kept_and_shared_between_workers(folder: Path) -> None:
    plain, kept = make(folder, train_transform((16, 24))), make(folder, train_transform((16, 24)))
    kept.keep_decoded()
    expected = read_all(plain, workers=0, epoch=0)
    filled = read_all(kept, workers=2, epoch=0)  # the workers read the files, and this process shares their cache
    for path in folder.glob("images/**/*.jpg"):
        path.unlink()
    from_memory = read_all(kept, workers=0, epoch=0)
    for name, (image, mask) in expected.items():
        for other in (filled, from_memory):
            assert torch.equal(image, other[name][0]) and torch.equal(mask, other[name][1])


def test_changing_a_sample_does_not_change_the_cache(folder: Path) -> None:
    dataset = make(folder)
    dataset.keep_decoded()
    original = dataset[0]["image"].clone()
    for _ in range(2):
        sample = dataset[0]
        assert torch.equal(sample["image"], original)
        sample["image"].zero_()
    copy = pickle.loads(pickle.dumps(dataset))  # as for spawned workers
    assert torch.equal(copy[0]["image"], original)


def test_a_cache_that_does_not_fit_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = make(folder)
    monkeypatch.setattr("lightseg.data.io.cache.psutil.virtual_memory", lambda: type("memory", (), {"available": 9000}))
    with pytest.raises(LightsegError, match=r"keeping 6 decoded images .*data\.cache=false"):
        dataset.keep_decoded()


def test_images_without_labels_are_kept_too(cityscapes: Path) -> None:
    dataset = Cityscapes(cityscapes, "test")
    dataset.keep_decoded()
    first = dataset[1]
    assert torch.equal(first["image"], dataset[1]["image"]) and "mask" not in dataset[1]
    assert collate([first])["image"].shape == (1, 3, 24, 32)
