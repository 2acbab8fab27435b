"""Campaign of bad input: settings, files, run directories, commands, addresses. ``python -m tests.fuzz --help``."""

import sys

from tests.support.dashboard import ROOT

sys.path.insert(0, str(ROOT / "app"))  # the modules of the page
