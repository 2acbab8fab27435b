"""``python -m tsnn`` is the command ``tsnn``."""

import sys

from tsnn.cli import main

if __name__ == "__main__":
    sys.exit(main())
