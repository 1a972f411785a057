"""Train one backbone on one task, evaluate it, and leave a record of the run: `lightseg train`, from a checkout.

python train.py task=seg backbone=mobilenetv3_large
python train.py --help
"""

import sys

from lightseg.commands.train import main

__all__ = ["main"]

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
