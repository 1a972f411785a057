"""`python -m lightseg train ...`: the console program, for torchrun and for where scripts are not on the PATH."""

import sys

from lightseg.cli import main

if __name__ == "__main__":
    sys.exit(main())
