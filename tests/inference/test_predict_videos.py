"""Videos and cameras: every frame once, in order, at constant memory; what cannot be decoded is said."""

import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from lightseg.errors import LightsegError
from lightseg.inference.api import predict


def frames_of(path: Path) -> tuple[list[np.ndarray], float]:
    capture = cv2.VideoCapture(str(path))
    frames = []
    while (frame := capture.read())[0]:
        frames.append(frame[1])
    return frames, capture.get(cv2.CAP_PROP_FPS)


def test_a_video_becomes_a_video_and_a_mask_a_frame(checkpoints, make_video, tmp_path):
    path = make_video(tmp_path / "walk.mp4")
    summary = predict(checkpoints["seg"], path, output=tmp_path / "out")
    assert summary.done == 60 and not summary.failed
    entries = json.loads((tmp_path / "out" / "results.json").read_text())
    assert [entry["frame"] for entry in entries] == list(range(60))
    assert entries[7] == {
        "file_name": "walk.mp4", "frame": 7, "mask": "masks/walk.mp4/000007.png", "height": 64, "width": 64
    }  # fmt: skip
    assert len(list((tmp_path / "out" / "masks" / "walk.mp4").iterdir())) == 60
    drawn, fps = frames_of(tmp_path / "out" / "overlays" / "walk.mp4")
    assert len(drawn) == 60 and drawn[0].shape == (64, 64, 3) and fps == pytest.approx(20)
    assert not list((tmp_path / "out").rglob(".*"))  # nothing unfinished is left


def test_boxes_of_frames_name_their_frame(checkpoints, make_video, tmp_path):
    path = make_video(tmp_path / "walk.avi", frames=5)
    summary = predict(checkpoints["det"], path, output=tmp_path / "out", max_frames=3, score=0.6)
    assert summary.done == 3
    images = json.loads((tmp_path / "out" / "images.json").read_text())["images"]
    assert [(image["id"], image["frame"], image["width"]) for image in images] == [(1, 0, 64), (2, 1, 64), (3, 2, 64)]
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert {result["image_id"] for result in results} == {1, 2, 3}
    assert len(frames_of(tmp_path / "out" / "overlays" / "walk.avi.mp4")[0]) == 3


def test_videos_and_images_of_one_folder(checkpoints, make_video, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    make_video(folder / "one.mp4", frames=4)
    make_video(folder / "two.mp4", frames=4)
    (folder / "broken.mp4").write_bytes((folder / "two.mp4").read_bytes()[:700])
    cv2.imwrite(str(folder / "one.png"), np.zeros((64, 64, 3), np.uint8))
    summary = predict(checkpoints["cls"], folder, output=tmp_path / "out")
    assert summary.done == 9 and [name for name, _ in summary.failed] == ["broken.mp4"]
    names = [entry["file_name"] for entry in json.loads((tmp_path / "out" / "results.json").read_text())]
    assert names == ["one.png", *["one.mp4"] * 4, *["two.mp4"] * 4]
    assert sorted(p.name for p in (tmp_path / "out" / "overlays").iterdir()) == ["one.mp4", "one.png", "two.mp4"]


def test_a_video_that_ends_early_is_said(checkpoints, make_video, tmp_path):
    path = make_video(tmp_path / "walk.avi", frames=60, size=128)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    summary = predict(checkpoints["cls"], path, output=tmp_path / "out")
    assert 10 < summary.done < 60
    assert summary.failed == [("walk.avi", f"ends after {summary.done} of the 60 frames that its header declares")]


def test_no_camera_and_no_video_are_one_line(checkpoints, tmp_path, capfd):
    with pytest.raises(LightsegError, match="camera 63 gives no images"):
        predict(checkpoints["cls"], 63, output=tmp_path / "out")
    with pytest.raises(LightsegError, match="camera 63 gives no images"):
        predict(checkpoints["cls"], "63", output=tmp_path / "out")
    (tmp_path / "noise.mp4").write_bytes(bytes(range(256)) * 20)
    with pytest.raises(LightsegError, match=r"noise\.mp4: the video cannot be decoded"):
        predict(checkpoints["cls"], tmp_path / "noise.mp4", output=tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert capfd.readouterr().err == ""  # nor do OpenCV and FFmpeg say more


def test_a_camera_is_answered_until_it_is_stopped(checkpoints, make_video, tmp_path, monkeypatch):
    """A file in the camera's place, and Ctrl-C: what came before it is kept."""
    path, real = make_video(tmp_path / "walk.mp4", frames=30), cv2.VideoCapture

    class Camera:
        def __init__(self, source: object) -> None:
            assert source == 0
            self.capture, self.given = real(str(path)), 0

        def read(self):
            self.given += 1
            if self.given > 20:
                raise KeyboardInterrupt
            return self.capture.read()

        def __getattr__(self, name):
            return getattr(self.capture, name)

    monkeypatch.setattr(cv2, "VideoCapture", Camera)
    summary = predict(checkpoints["cls"], 0, output=tmp_path / "out", batch_size=4)
    assert summary.interrupted and summary.done == 20  # whole batches
    monkeypatch.undo()
    assert len(json.loads((tmp_path / "out" / "results.json").read_text())) == 20
    assert len(frames_of(tmp_path / "out" / "overlays" / "camera_0.mp4")[0]) == 20


MEASURE = """
import sys, psutil, torch
from lightseg.inference import api
from lightseg.task_specs.detection import BoxResults
torch.set_num_threads(1)
seen, add = [], BoxResults.add
def counted(self, frame, prediction):
    add(self, frame, prediction)
    if frame.index in (200, 999):
        seen.append(psutil.Process().memory_info().rss)
BoxResults.add = counted
summary = api.predict(sys.argv[1], sys.argv[2], output=sys.argv[3], score=0.9)
print(summary.done, (seen[1] - seen[0]) / 2**20)
"""


@pytest.mark.slow
def test_a_thousand_frames_take_no_more_memory_than_two_hundred(checkpoints, make_video, tmp_path):
    path = make_video(tmp_path / "long.mp4", frames=1000, size=192)
    words = [sys.executable, "-c", MEASURE, checkpoints["det"], path, tmp_path / "out"]
    done = subprocess.run(words, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2])
    frames, grown = done.stdout.split()
    assert int(frames) == 1000
    # the 800 frames are 88 MB, and their 100,000 boxes as Python objects some 60 MB; the allocator may wander by a few
    assert float(grown) < 16
