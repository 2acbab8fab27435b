"""Race: the same settings trained with several methods and rules, in runs with the same number of threads."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence

from tsnn.config import Config, describe
from tsnn.jobs.queue import cores, enqueue
from tsnn.runs import Run, RunStore
from tsnn.runs.catalog import catalog
from tsnn.runs.comparison import BASELINES, find
from tsnn.runs.notes import annotate

#: Tags of the runs of a race begin with this word.
RACE = "race"
_METHOD, _RULES = "training.method", ("training.prune", "training.regrow")


def contenders() -> dict[str, dict[str, str]]:
    """Return the settings of everything that can race, by its name: each method, and SET with each registered rule."""
    method = describe(_METHOD)
    found = {method.display_name(choice): {_METHOD: choice} for choice in method.choices}
    for name in _RULES:
        rule = describe(name)
        for choice in rule.choices:
            found[f"SET, {rule.label.lower()} {rule.display_name(choice)}"] = {_METHOD: "set", name: choice}
    return found


def default_contenders() -> list[str]:
    """Return the names of the baselines among the :func:`contenders`."""
    return [describe(_METHOD).display_name(choice) for choice in BASELINES]


def variants(config: Config, names: Iterable[str]) -> list[Config]:
    """Return the configuration with the settings of each of these contenders; equal ones once."""
    known = contenders()
    return list(dict.fromkeys(config.replace(known[name]) for name in names))


def fair_threads(n: int) -> int:
    """Return the threads of each of ``n`` runs: equal parts of the cores; all, one run after another, if too few."""
    return cores() // n or cores()


def find_runs(configs: Iterable[Config], store: RunStore) -> list[Run | None]:
    """Return of each configuration the run that was or is trained with it; None if there is none."""
    lines, found = catalog(store).summaries(), []
    for config in configs:
        key = (config.data.name, config.training.method, config.run.seed, config.training.epochs)
        similar = (line.run for line in lines if (line.data, line.method, line.seed, line.planned) == key)
        found.append(find(config, (Run(store.root / name) for name in similar)))
    return found


def start_race(configs: Sequence[Config], store: RunStore, name: str = "") -> list[Run]:
    """Queue runs that race: each with the same number of threads, together if there are cores for all of them.

    They are ordinary runs with a common tag, which ends with ``name`` or the time.
    """
    threads, tag = fair_threads(len(configs)), f"{RACE} {name or time.strftime('%Y-%m-%d %H:%M:%S')}"
    runs = [enqueue(config.replace({"run.threads": threads}), store) for config in configs]
    for run in runs:
        annotate(run, tags=(tag,))
        catalog(store).refresh_run(run.id)
    return runs
