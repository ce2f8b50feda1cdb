"""``python -m gd_torch`` is the command ``gd-torch``."""

import sys

from gd_torch.cli import main

if __name__ == "__main__":
    sys.exit(main())
