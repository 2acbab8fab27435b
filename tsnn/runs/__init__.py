"""Run directories: written by one process, read by anyone, also after a crash (``store`` describes the files).

``control`` holds the commands for a live run, ``catalog`` the list of all runs, ``comparison`` runs side by side.
"""

from tsnn.records import ENDED, LIVE, RunState
from tsnn.runs.store import RUN_ID, Run, RunStore, default_root

__all__ = ["ENDED", "LIVE", "RUN_ID", "Run", "RunState", "RunStore", "default_root"]
