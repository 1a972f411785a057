"""Overrides as Hydra's and argparse's users type them: the error has the right spelling."""

import pytest

from lightseg.config.compose import compose
from lightseg.config.overrides import split_overrides
from lightseg.config.sweep import read_sweep
from lightseg.errors import LightsegError


@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        (["+seed=1"], "'+seed=1': keys have no + here: write seed=1"),
        (["++optimizer.lr=0.1"], "'++optimizer.lr=0.1': keys have no + here: write optimizer.lr=0.1"),
        (["~experiment"], "'~experiment': a key is not removed but set: write experiment=null"),
        (["--lr", "0.1"], "'--lr 0.1' is not of the form key=value: write optimizer.lr=0.1"),
        (["--lr=0.1"], "'--lr=0.1' is not of the form key=value: write optimizer.lr=0.1"),
        (["--optimizer.lr", "-1"], "'--optimizer.lr -1' is not of the form key=value: write optimizer.lr=-1"),
        (["--batch-size", "8"], "'--batch-size 8' is not of the form key=value: write data.batch_size=8"),
        (["-j", "4"], "'-j 4' is not of the form key=value: write data.workers=4"),
        (["--freeze-bn"], "'--freeze-bn' is not of the form key=value: write freeze_bn=true"),
        (["--epochs", "5", "task=cls"], "'--epochs 5' is not of the form key=value: write trainer.max_epochs=5"),
        (["--precision"], "'--precision' is not of the form key=value: write trainer.precision=<value>"),
        (["--zzzzzz"], "'--zzzzzz' is not of the form key=value: no key 'zzzzzz': nothing comes near it"),
        (
            ["-m", "seed=0,1"],
            "'-m' is not needed: leave it out; values with commas are several runs, as in seed=0,1,2",
        ),
        (["lr", "=", "0.1"], "'lr = 0.1' has spaces: write optimizer.lr=0.1"),
        (["optimizer.lr", "=0.1"], "'optimizer.lr =0.1' has spaces: write optimizer.lr=0.1"),
        (["optimizer.lr=", "0.1"], "'optimizer.lr= 0.1' has spaces: write optimizer.lr=0.1"),
        (["lr=0.1"], "no key 'lr' (the command line): did you mean optimizer.lr?"),
        (["epochs=3"], "no key 'epochs' (the command line): did you mean trainer.max_epochs?"),
        (["max_epochs=3"], "no key 'max_epochs' (the command line): did you mean trainer.max_epochs?"),
        (["batch-size=3"], "no key 'batch-size' (the command line): did you mean data.batch_size?"),
        (["freeze-bn=true"], "no key 'freeze-bn' (the command line): did you mean freeze_bn?"),
        (["size=3"], "no key 'size' (the command line): did you mean data.size?"),
    ],
)
def test_the_right_spelling_is_the_answer(overrides, line):
    for read in (read_sweep, compose):
        with pytest.raises(LightsegError) as error:
            read(overrides)
        assert str(error.value) == line


def test_values_with_signs_are_values():
    values = split_overrides(["search.reward_exponent=-0.07", "runs_dir=-x", "logger.project=+a", "data.root=~b"])
    assert list(values.values()) == [-0.07, "-x", "+a", "~b"]
