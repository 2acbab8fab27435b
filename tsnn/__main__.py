"""Entry point of ``python -m tsnn``, the same as the command ``tsnn``."""

import sys

from tsnn.cli import main

if __name__ == "__main__":
    sys.exit(main())
