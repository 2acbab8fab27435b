"""Sweeps: found again by their plans, and started in the background."""

from __future__ import annotations

from tsnn.jobs.planning import covers
from tsnn.jobs.queue import advance, start_queue_thread
from tsnn.jobs.trials import queue_sweep
from tsnn.runs import RunStore
from tsnn.runs.sweep_plan import Plan
from tsnn.runs.sweeps import Sweep, sweeps


def find_sweep(store: RunStore, plan: Plan) -> Sweep | None:
    """Return the newest sweep of a folder with all trials of a plan; None if there is none."""
    return next((s for s in sweeps(store) if covers(s.plan, plan) and not s.problem), None)


def start_sweep(found: Sweep) -> None:
    """Queue the trials that are missing or were interrupted; this process starts them as cores become free."""
    store = RunStore(found.path.parent)
    queue_sweep(found)
    start_queue_thread(store)
    advance(store)
