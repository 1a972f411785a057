"""One clear line for what cannot be used; nothing of a stranger's file is run."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image

import lightseg
from lightseg.checkpoint import load_model
from lightseg.cli import main
from lightseg.errors import LightsegError
from lightseg.inference.api import predict
from lightseg.legacy import contract_of_run, read_run_config

from .conftest import save_checkpoint


@pytest.fixture
def image(tmp_path, pixels) -> Path:
    Image.fromarray(pixels).save(tmp_path / "a.png")
    return tmp_path / "a.png"


class Evil:
    """Unpickled, it makes a file."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self):
        return (os.system, (f"touch {self.mark}",))


def test_a_pickle_that_runs_code_is_refused_and_not_run(tmp_path, image, capsys):
    mark = tmp_path / "was_run"
    torch.save({"hyper_parameters": {"model": Evil(mark)}, "state_dict": {}}, tmp_path / "evil.ckpt")
    assert main(["predict", str(tmp_path / "evil.ckpt"), str(image), "--output", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert "can be read safely" in error and error.count("\n") == 1
    assert not mark.exists() and not (tmp_path / "out").exists()
    torch.load(tmp_path / "evil.ckpt", weights_only=False)  # it would have
    assert mark.exists()


@pytest.mark.parametrize(
    "text",
    [
        "data: !!python/object/apply:os.system ['touch {mark}']",
        "data: !!python/object/new:subprocess.Popen [['touch', '{mark}']]",
        "data: !!python/name:os.system",
        "data: [",
        "just words",
        "data: {{eval: 5}}",
    ],
)
def test_a_yaml_that_names_code_or_is_damaged_is_refused(tmp_path, image, capsys, text):
    mark = tmp_path / "was_run"
    checkpoint = save_checkpoint(tmp_path / "run", "det", old_config={})
    (tmp_path / "run" / "config.yaml").write_text(text.format(mark=mark))
    assert main(["predict", str(checkpoint), str(image), "--output", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert "config.yaml" in error and error.count("\n") == 1
    assert not mark.exists() and not (tmp_path / "out").exists()


def test_a_spec_cannot_ask_for_files_downloads_or_what_is_not_known(tmp_path, checkpoints):
    content = torch.load(checkpoints["seg"], weights_only=True)
    spec = content["hyper_parameters"]["model"]

    def refused(**changes: object) -> str:
        content["hyper_parameters"]["model"] = {k: v for k, v in {**spec, **changes}.items() if v != "left out"}
        torch.save(content, tmp_path / "odd.ckpt")
        with pytest.raises(LightsegError) as error:
            load_model(tmp_path / "odd.ckpt")
        assert "\n" not in str(error.value) and "odd.ckpt" in str(error.value)
        return str(error.value)

    assert "another version of lightseg: its model has 'pretrained'" in refused(pretrained=str(tmp_path / "x.pth"))
    assert "another version of lightseg: its model has 'quantum'" in refused(quantum=1)
    assert "another version of lightseg: its model has no 'num_classes'" in refused(num_classes="left out")
    assert "names the file" in refused(backbone=str(tmp_path / "arch.yaml"))
    assert "head lraspp cannot be built with num_classes=many" in refused(num_classes="many")
    assert "no task named 'xyz': choose from" in refused(task="xyz")
    assert "does not fit the model" in refused(num_classes=4)
    for broken in ({"hyper_parameters": [1], "state_dict": {}}, {"hyper_parameters": {"model": spec}, "state_dict": 3}):
        torch.save(broken, tmp_path / "odd.ckpt")
        with pytest.raises(LightsegError, match="names no model"):
            load_model(tmp_path / "odd.ckpt")


def test_output_folders(tmp_path, image, checkpoints, capsys):
    used = tmp_path / "used"
    used.mkdir()
    (used / "mine.txt").write_text("keep")
    words = ["predict", str(checkpoints["cls"]), str(image), "--output", str(used)]
    assert main(words) == 2
    assert capsys.readouterr().err == f"error: {used} is not empty: give another folder with --output, or --overwrite\n"
    assert main([*words, "--overwrite"]) == 0
    assert (used / "mine.txt").read_text() == "keep" and (used / "results.csv").is_file()
    assert main(["predict", str(checkpoints["cls"]), str(image), "--output", str(image)]) == 2
    assert "is a file" in capsys.readouterr().err
    assert main(["predict", str(checkpoints["cls"]), str(image), "--output", "/proc/nothing/here"]) == 2
    assert capsys.readouterr().err.startswith("error: cannot write /proc/nothing")


def test_sources_and_sizes(tmp_path, image, checkpoints):
    (tmp_path / "empty").mkdir()
    (tmp_path / "words").mkdir()
    (tmp_path / "words" / "a.txt").write_text("words")
    cases = [
        ({"source": tmp_path / "none.jpg"}, "no such file, folder or camera"),
        ({"source": tmp_path / "empty"}, "no image or video there"),
        ({"source": str(tmp_path / "*.jpg")}, "no image or video there"),
        ({"source": tmp_path / "words"}, "1 files, but no image or video among them"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"max_frames": 0}, "max_frames is 0"),
        ({"size": [48, 96]}, "a classifier takes a square"),
        ({"size": [0]}, r"size is \[0\]"),
        ({"size": [1, 2, 3]}, "give height and width"),
        ({"device": "warp"}, "device=warp"),
    ]
    for changes, said in cases:
        with pytest.raises(LightsegError, match=said):
            predict(checkpoints["cls"], **{"source": image, "output": tmp_path / "out", **changes})
        assert not (tmp_path / "out").exists()


def test_exit_codes_and_the_last_line(tmp_path, checkpoints, pixels, capsys):
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "empty.jpg").touch()
    words = ["predict", str(checkpoints["cls"]), str(folder), "--output", str(tmp_path / "out")]
    assert main(words) == 2
    left_out, error = capsys.readouterr().err.splitlines()
    assert left_out == "left out: empty.jpg: the file is empty"
    assert error == "error: none of 1 could be predicted; the first: empty.jpg: the file is empty"
    Image.fromarray(pixels).save(folder / "fine.png")
    assert main([*words, "--overwrite"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("1 predicted, 1 left out in ") and out.endswith(f": {tmp_path / 'out'}\n")


def test_what_the_run_says_is_read_only_where_runs_keep_it(tmp_path):
    (tmp_path / "config.yaml").write_text("somebody: else")
    (tmp_path / "models").mkdir()
    assert read_run_config(tmp_path / "models" / "best.ckpt") == {}
    spec = {"task": "det", "backbone": "mobilenetv3_small"}
    assert contract_of_run(spec, {}) == {"size": (320, 320), "keep_aspect": False}
    assert contract_of_run({**spec, "task": "seg"}, {"data": {}}) == {}
    grown = {"data": {"eval": {"size": None}, "augment": {"size": 96}}, "schedule": {"image_size": [128, 300]}}
    assert contract_of_run({**spec, "task": "cls"}, grown)["size"] == 300


def test_help_needs_no_torch():
    code = (
        "import sys\nfrom lightseg.cli import main\ntry: main(['predict', '--help'])\n"
        "except SystemExit: print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "--overwrite" in done.stdout and done.stdout.splitlines()[-1] == "False"


def test_what_is_read_is_never_written(tmp_path, pixels, checkpoints):
    out = tmp_path / "out"
    (out / "overlays").mkdir(parents=True)
    Image.fromarray(pixels).save(out / "overlays" / "a.png")
    before = (out / "overlays" / "a.png").read_bytes()
    with pytest.raises(LightsegError, match=r"a\.png is read, and results are written there"):
        predict(checkpoints["seg"], out / "overlays" / "a.png", output=out, overwrite=True)
    (out / "results.json").write_text("[]")
    Image.fromarray(pixels).save(out / "b.png")
    with pytest.raises(LightsegError, match=r"results\.json is read"):
        predict(checkpoints["pose"], out / "b.png", output=out, overwrite=True, persons=out / "results.json")
    assert (out / "overlays" / "a.png").read_bytes() == before
    assert predict(checkpoints["seg"], out / "b.png", output=out, overwrite=True).done == 1
    prediction = lightseg.load(checkpoints["seg"])(out / "b.png")
    with pytest.raises(LightsegError, match="is the image itself"):
        prediction.save(out / "b.png")


@pytest.mark.parametrize("names", [("x.jpg", "x.jpg.jpg"), ("x.bmp", "x.png", "x.bmp.png"), ("X.png", "x.bmp")])
def test_each_image_has_an_overlay_of_its_own(tmp_path, pixels, checkpoints, names):
    (tmp_path / "in").mkdir()
    for name in names:
        Image.fromarray(pixels).save(tmp_path / "in" / name)
    assert predict(checkpoints["seg"], tmp_path / "in", output=tmp_path / "out").done == len(names)
    for folder in ("overlays", "masks"):
        assert len(list((tmp_path / "out" / folder).iterdir())) == len(names)


@pytest.mark.slow
def test_sigterm_finishes_the_results(tmp_path, checkpoints, make_video):
    import json
    import signal
    import time

    film, out = make_video(tmp_path / "film.mp4", frames=3000), tmp_path / "out"
    words = ["predict", str(checkpoints["cls"]), str(film), "--output", str(out), "--batch-size", "1"]
    process = subprocess.Popen([sys.executable, "-m", "lightseg", *words])
    while not list((out / "overlays").glob(".*film.mp4")):
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 130
    assert 0 < len(json.loads((out / "results.json").read_text())) < 3000
    assert (out / "overlays" / "film.mp4").is_file() and not list(out.rglob(".*"))
