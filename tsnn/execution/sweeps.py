"""Sweeps from Python: planned, created or found, and trained in the background."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tsnn.config import Config
from tsnn.datasets import guess_task
from tsnn.extras import require
from tsnn.jobs.planning import plan_sweep
from tsnn.jobs.sweeps import find_sweep, start_sweep
from tsnn.runs import RunStore
from tsnn.runs.sweeps import Sweep, create_sweep


def sweep(
    config: Config, grid: Mapping[str, Any], *, seeds: int = 1, random: int = 0, optuna: int = 0, halving: bool = False,
    store: RunStore | None = None, start: bool = True,
) -> Sweep:  # fmt: skip
    """Create a sweep, or find the one with these trials, and train those that are missing in the background.

    Its trials are started by this process as cores become free, also after the call; if it ends, by a dashboard, or by
    the same call again.

    Parameters
    ----------
    config : Config
        The settings of all trials, but for those that are swept. Each trial has one thread, unless ``run.threads`` is
        set.
    grid : mapping
        By name of a setting, its values, such as ``{"zeta": [0, 0.1, 0.3]}``; for ``random`` and ``optuna`` also a
        range: ``{"zeta": "0..0.5", "learning_rate": "0.001..0.1:log"}``.
    seeds : int
        Number of seeds that each combination is trained with.
    random : int
        Number of combinations that are drawn; 0 takes all of the grid.
    optuna : int
        Number of combinations that Optuna chooses, one after another.
    halving : bool
        Train all combinations for a few epochs, the best third of them three times as long, and so on.
    store : RunStore, optional
        Folder of runs; default is the environment variable TSNN_RUNS, else ``./runs``.
    start : bool
        Whether to start it.

    Returns
    -------
    sweep : Sweep
        Returned at once: ``sweep.wait()``, ``sweep.table()``, ``sweep.results()``.

    Raises
    ------
    ConfigError
        If a setting is unknown or cannot be swept, or its values are no values of it.

    Examples
    --------
    >>> found = sweep(config, {"zeta": [0, 0.1, 0.3], "epsilon": [5, 20]}, seeds=3)  # doctest: +SKIP
    """
    store = store or RunStore()
    plan = plan_sweep(config, grid, seeds=seeds, random=random, optuna=optuna, halving=halving,
                      task=guess_task(config.data))  # fmt: skip
    if optuna:
        require("optuna", "tsnn.sweep(optuna=...)")
    found = find_sweep(store, plan) or create_sweep(store, plan)
    if start:
        start_sweep(found)
    return found
