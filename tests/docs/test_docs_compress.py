"""Every command and example of docs/compress.md, in the order of the page, on tiny images."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

import train
from lightseg.cli import main, parser

ROOT = Path(__file__).parents[2]
PAGES = [path for path in (ROOT / "docs" / "compress.md", ROOT / "docs" / "deep_compression.md") if path.is_file()]
TEXT = PAGES[0].read_text(encoding="utf-8")
COMMANDS = re.findall(r"^    ((?:python train\.py|lightseg) .+)$", TEXT, re.MULTILINE)
SHORTER = ["data.count={train: 16, val: 8}", "data.size=48", "data.augment.size=48", "data.eval.size=48"]
SHORTER += ["data.workers=0", "data.batch_size=8", "schedule.warmup_steps=0"]
SHORTER += ["trainer.max_epochs=1", "profile.runs=1", "logger=csv"]


def test_the_words_are_known():
    for page in PAGES:
        found = re.findall(r"^    lightseg (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
        assert found
        for command in found:
            words = shlex.split(command)
            assert parser(words[0]).parse_args(words).command == words[0]


def test_the_page_shows_every_option():
    for word in ("--bits", "--sparsity", "--scope", "--output", "--json", "prune.sparsity", "mode=test", "predict"):
        assert word in " ".join(COMMANDS)


@pytest.mark.slow
def test_the_page_from_its_first_command_to_its_last(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    noise = np.random.default_rng(0).integers(0, 256, (2, 60, 80, 3), dtype=np.uint8)
    for index, image in enumerate(noise):
        cv2.imwrite(f"photos/{index}.jpg", image)
    names = iter(("DENSE", "PRUNED"))
    for command in COMMANDS:
        program, *words = shlex.split(command)
        if program == "python":
            testing = "mode=test" in words
            assert train.main([*words[1:], *([] if testing else SHORTER)]) == 0, command
            if not testing:
                (record,) = (tmp_path / "runs").rglob("record.json")
                record.parent.rename(tmp_path / next(names))
        else:
            assert main(words) == 0, f"{command}: {capfd.readouterr().err}"
    said = capfd.readouterr().out
    for part in ("33.0 % not zero, 8 bits", "33.0 % not zero, 6 bits", "val/top1", "2 predicted", "MAdds M"):
        assert part in said
    assert '"kept": 0.5' in said
    (example,) = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", example], env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "0.33 True\n"), done.stderr
