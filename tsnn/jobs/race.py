"""Race: the same settings trained with several methods and rules, in runs with the same number of threads."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence

from tsnn.config import Config, describe
from tsnn.jobs.queue import cores, enqueue
from tsnn.runs import Run, RunStore
from tsnn.runs.comparison import BASELINES
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


def start_race(configs: Sequence[Config], store: RunStore) -> list[Run]:
    """Queue runs that race: each with the same number of threads, together if there are cores for all of them.

    They are ordinary runs with a common tag.
    """
    threads, tag = fair_threads(len(configs)), f"{RACE} {time.strftime('%Y-%m-%d %H:%M:%S')}"
    runs = [enqueue(config.replace({"run.threads": threads}), store) for config in configs]
    for run in runs:
        annotate(run, tags=(tag,))
    return runs
