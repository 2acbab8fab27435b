"""Run directories: written by one process, readable at any time, also after a crash.

``store`` describes the files; ``run`` reads and ``checks`` checks them, ``writer`` and ``checkpoints`` write them.
``control`` holds the commands for a live run, ``catalog`` lists all runs, ``comparison`` puts runs next to each other.
``sweeps`` reads directories of runs that differ in a few settings (``sweep_plan``), ``ranking`` compares these.
"""

from tsnn.records import ENDED, INTERRUPTED, LIVE, OVER, RunState
from tsnn.runs.store import RUN_ID, Run, RunStore, default_root
from tsnn.runs.sweeps import Sweep, open_sweep

__all__ = [
    "ENDED",
    "INTERRUPTED",
    "LIVE",
    "OVER",
    "RUN_ID",
    "Run",
    "RunState",
    "RunStore",
    "Sweep",
    "default_root",
    "open_sweep",
]
