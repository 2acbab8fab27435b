"""Execution of the rules that a run records: only here, and only in the processes that train it."""

from __future__ import annotations

import linecache
import sys
import traceback
import types

from tsnn.errors import RunError
from tsnn.registry import recorded_registries
from tsnn.runs import Run
from tsnn.runs.rules import check_rules, checked_source, recorded_rules


def load_rules(run: Run) -> None:
    """Execute the source of a run's rules, which registers them in this process.

    Raises
    ------
    RunError
        If a rule is missing, has changed since the run was started, or cannot be executed.
    """
    check_rules(run.path, run.meta())
    for recorded in recorded_rules(run.path):
        file, source = str(run.path / recorded.file), checked_source(run.path, recorded)
        registry, name = recorded_registries()[recorded.kind], recorded.rule.name
        linecache.checkcache(file)
        module = types.ModuleType(f"tsnn_rules.{recorded.kind}_{name}")
        sys.modules[module.__name__] = module
        try:
            exec(compile(source, file, "exec"), vars(module))
        except Exception as error:
            last = traceback.extract_tb(error.__traceback__)[-1]
            raise RunError(
                f"The {registry.kind} {name!r} cannot be loaded, line {last.lineno} of {last.filename}: "
                f"{type(error).__name__}: {error}. If a package is missing, install it."
            ) from error
        if name not in registry:
            raise RunError(
                f"{recorded.file} of run {run.id} defines no {registry.kind} {name!r}. Restore it from a copy."
            )
