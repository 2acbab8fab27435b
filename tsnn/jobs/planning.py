"""Plans of sweeps: combinations of settings, from values and ranges given on a command line or in Python."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from tsnn.config import Config, describe, full_name, setting_names
from tsnn.config.schema import shortened
from tsnn.errors import ConfigError
from tsnn.runs.sweep_plan import MAX_TRIALS, Plan, Range, canonical

#: Divisor of the number of combinations, and factor of their epochs, from one round of successive halving to the next.
KEEP = 3
_DRAWS = 1000  # attempts to draw a combination that is new
#: Settings of a run's execution that change its results.
_EFFECTIVE = ("run.micro_batch",)


def sweepable() -> list[str]:
    """Return the full names of the settings that can be swept: those that change results, but for data set and seed."""
    return [n for n in setting_names() if n != "data.name" and (not n.startswith("run.") or n in _EFFECTIVE)]


def plan_sweep(
    config: Config, grid: Mapping[str, Any], *, seeds: int = 1, random: int = 0, optuna: int = 0, halving: bool = False,
    task: str = "auto",
) -> Plan:  # fmt: skip
    """Return the plan of a sweep.

    Parameters
    ----------
    config : Config
        The settings of all trials, but for those that are swept. Its seed is the first one.
    grid : mapping
        By name of a setting, its values: a list, or text such as ``0,0.1,0.3``. For ``random`` and ``optuna`` it may be
        a range: a :class:`Range`, or text such as ``0..0.5`` or ``0.001..0.1:log``.
    seeds : int
        Number of seeds that each combination is trained with.
    random : int
        Number of combinations that are drawn; 0 takes all of the grid.
    optuna : int
        Number of combinations that Optuna chooses, one after another.
    halving : bool
        Train all combinations for a few epochs, the best third of them three times as long, and so on
        (successive halving, arXiv 1502.07943).
    task : str
        Task of the data set, where the settings leave it open: "regression" is compared by R², others by accuracy.

    Raises
    ------
    ConfigError
        If a setting is unknown or cannot be swept, or its values are no values of it.
    """
    _check_counts(seeds=seeds, random=random, optuna=optuna, halving=halving)
    base = config if config.run.threads or config.parallel.workers else config.replace({"run.threads": 1})
    values, ranges = _swept(base, grid, needs_list=not (random or optuna))
    if halving and "training.epochs" in {*values, *ranges}:
        raise ConfigError(
            "Successive halving chooses training.epochs itself. Sweep other settings, or without halving."
        )
    kind = "halving" if halving else "optuna" if optuna else "random" if random else "grid"
    plan = Plan(
        name=f"{base.data.name}: {', '.join(name.partition('.')[2] for name in {**values, **ranges})}",
        kind=kind, base=base, values=values, ranges=ranges,
        seeds=tuple(base.run.seed + i for i in range(seeds)), trials=(), objective=_objective(base, task),
    )  # fmt: skip
    if optuna:
        _check_size(optuna * seeds)
        return dataclasses.replace(plan, trials=tuple(({}, seed) for _ in range(optuna) for seed in plan.seeds))
    _check_size((random or math.prod(map(len, values.values()))) * seeds)
    points = _drawn(plan, random) if random else _products(values)
    plan = dataclasses.replace(plan, trials=tuple((point, seed) for seed in plan.seeds for point in points))
    if halving and min(len(points), base.training.epochs) < KEEP:
        raise ConfigError(
            f"Successive halving needs at least {KEEP} combinations and {KEEP} epochs, got {len(points)} and "
            f"{base.training.epochs}. Give more, or sweep without it."
        )
    return dataclasses.replace(plan, first_epochs=_first_epochs(base, len(points)), keep=KEEP) if halving else plan


def extended(plan: Plan, grid: Mapping[str, Any] | None = None, *, seeds: int = 0, count: int = 0) -> Plan:
    """Return a plan with further trials; those that it has keep their numbers.

    Parameters
    ----------
    plan : Plan
        The plan. With successive halving the new trials begin with the first round, which keeps its epochs; then the
        best of all are chosen again.
    grid : mapping, optional
        Further values of its settings, as in :func:`plan_sweep`.
    seeds : int
        Number of seeds, if larger.
    count : int
        Number of combinations that are drawn or chosen, if larger.

    Raises
    ------
    ConfigError
        If it cannot have them.
    """
    more = tuple(plan.base.run.seed + i for i in range(seeds))
    all_seeds = (*plan.seeds, *(seed for seed in more if seed not in plan.seeds))
    wanted = dict(plan.values)
    for name, values in _swept(plan.base, grid, needs_list=True)[0].items() if grid else ():
        if name not in wanted:
            raise ConfigError(
                f"The sweep has no listed values of {name}; it has: {', '.join(wanted) or 'ranges only'}."
            )
        wanted[name] = (*wanted[name], *(v for v in values if v not in wanted[name]))
    n_points = len({tuple(point.items()) for point, _ in plan.trials})
    if plan.kind == "optuna":
        n_points = len(plan.trials) // max(1, len(plan.seeds))
    changed = (wanted != plan.values, all_seeds != plan.seeds, count > n_points)
    drawn = plan.kind != "optuna" and (bool(plan.ranges) or n_points < math.prod(map(len, plan.values.values())))
    drawn = drawn or plan.kind == "random"
    refused = (True, plan.kind == "optuna", False) if drawn or plan.kind == "optuna" else (False, False, True)
    if any(c and r for c, r in zip(changed, refused, strict=True)):
        what = ("values", "seeds", "combinations")[next(i for i, c in enumerate(changed) if c)]
        raise ConfigError(f"A sweep of kind {plan.kind!r} cannot get more {what}. Start a new one.")
    plan = dataclasses.replace(plan, values=wanted, seeds=all_seeds)
    if plan.kind == "optuna":
        more_points: list[Mapping[str, Any]] = [{}] * (count - n_points)
        new = [(point, seed) for point in more_points for seed in plan.seeds]
    else:
        points = _drawn(plan, max(count, n_points)) if drawn else _products(wanted)
        known = {(*point.items(), seed) for point, seed in plan.trials}
        new = [(p, seed) for seed in plan.seeds for p in points if (*p.items(), seed) not in known]
    _check_size(len(plan.trials) + len(new))
    return dataclasses.replace(plan, trials=(*plan.trials, *new))


def covers(plan: Plan, other: Plan) -> bool:
    """Return whether a plan contains all trials of another one."""
    same = ("kind", "base", "ranges", "objective", "first_epochs", "keep")
    if any(getattr(plan, name) != getattr(other, name) for name in same) or plan.values.keys() != other.values.keys():
        return False
    if plan.kind == "optuna":
        return (plan.values, plan.seeds) == (other.values, other.seeds) and len(plan.trials) >= len(other.trials)
    return {(*p.items(), seed) for p, seed in other.trials} <= {(*p.items(), seed) for p, seed in plan.trials}


def total_epochs(plan: Plan) -> int:
    """Return the epochs of all trials together."""
    if plan.kind != "halving":
        return sum(int(point.get("training.epochs", plan.base.training.epochs)) for point, _ in plan.trials)
    before = (0, *(epochs for epochs, _ in plan.rounds))
    return sum((epochs - b) * n for (epochs, n), b in zip(plan.rounds, before, strict=False)) * len(plan.seeds)


def _check_counts(**counts: int) -> None:
    for name, value in counts.items():
        if not isinstance(value, int) or value < (name == "seeds"):
            raise ConfigError(
                f"{name} must be a whole number of at least {int(name == 'seeds')}, got {shortened(value)}."
            )
    if counts["random"] and counts["optuna"]:
        raise ConfigError("Combinations are either drawn (random) or chosen by Optuna (optuna). Give one of them.")
    if counts["halving"] and counts["optuna"]:
        raise ConfigError("Successive halving needs all combinations at its start: use it with a grid or random.")


def _check_size(trials: int) -> None:
    if trials > MAX_TRIALS:
        raise ConfigError(
            f"A sweep has at most {MAX_TRIALS:,} trials; this one would have {trials:,}. Give fewer values or "
            "seeds, or draw some of the combinations: --random 100."
        )


def _objective(config: Config, task: str) -> str:
    task = task if config.data.task == "auto" else config.data.task
    part = "validation" if config.data.validation_fraction else "test"
    return f"{part} {'R²' if task == 'regression' else 'accuracy'}"


def _swept(
    base: Config, grid: Mapping[str, Any], *, needs_list: bool
) -> tuple[dict[str, tuple[Any, ...]], dict[str, Range]]:
    """Return the listed values and the ranges of the settings, by full name."""
    values: dict[str, tuple[Any, ...]] = {}
    ranges: dict[str, Range] = {}
    if not grid:
        raise ConfigError(
            "A sweep needs settings to vary. Try --grid zeta=0,0.1,0.3 or, in Python, {'zeta': [0, 0.1]}."
        )
    for name, given in grid.items():
        full = _sweepable_name(name)
        if full in values or full in ranges:
            raise ConfigError(f"{full} is given twice. Give all its values at once.")
        if isinstance(given, Range) or (isinstance(given, str) and ".." in given):
            ranges[full] = _range(base, full, given)
        else:
            values[full] = _values(base, full, given)
    if ranges and needs_list:
        name = next(iter(ranges))
        raise ConfigError(
            f"{name} has a range, from which a grid cannot be made. List its values, or draw combinations: --random 20."
        )
    return values, ranges


def _sweepable_name(name: str) -> str:
    full = full_name(name)
    if full == "run.seed":
        raise ConfigError("run.seed is not swept: --seeds 3 (in Python seeds=3) trains each combination with 3 seeds.")
    if full == "data.name":
        raise ConfigError("A sweep has one data set: data.name cannot be swept. Start a sweep for each.")
    if full not in sweepable():
        raise ConfigError(f"{full} changes no results, so it cannot be swept. Set it for all trials: --set {full}=...")
    return full


def _values(base: Config, name: str, given: Any) -> tuple[Any, ...]:
    given = given.tolist() if hasattr(given, "tolist") else given
    listed = split_values(given) if isinstance(given, str) else given
    if not isinstance(listed, Sequence) or not listed:
        raise ConfigError(f"{name} has no values to sweep, got {shortened(given)}. Give some: {name}=1,2 or [1, 2].")
    found = [canonical(base, name, value) for value in listed]
    for value in found:
        if found.count(value) > 1:
            raise ConfigError(f"{name} has the value {shortened(value)} twice. Give each value once.")
    return tuple(found)


def split_values(text: str) -> list[str]:
    """Return the values in a text, separated by commas outside of brackets."""
    parts, depth = [""], 0
    for character in text:
        depth += (character == "[") - (character == "]")
        if character == "," and depth <= 0:
            parts.append("")
        else:
            parts[-1] += character
    return [part.strip() for part in parts if part.strip()]


def _range(base: Config, name: str, given: Range | str) -> Range:
    about = describe(name)
    if isinstance(about.default, bool) or not isinstance(about.default, int | float):
        raise ConfigError(f"{name} is no number, so it has no range. List its values.")
    limits: tuple[Any, Any] = given[:2]  # type: ignore[assignment]
    log = given.log if isinstance(given, Range) else False
    if isinstance(given, str):
        text, _, scale = given.partition(":")
        if scale not in ("", "log"):
            raise ConfigError(
                f"The range {shortened(given)} of {name} ends with ':{scale}'. Write low..high or low..high:log."
            )
        low, _, high = text.partition("..")
        limits, log = (low.strip(), high.strip()), scale == "log"
    low, high = (canonical(base, name, limit) for limit in limits)
    if not low < high or (log and low <= 0):
        rule = "a lower bound above 0, and a larger upper one" if log else "a lower bound and a larger upper one"
        raise ConfigError(f"The range of {name} needs {rule}, got {format_range(Range(low, high, log))}.")
    return Range(low, high, log)


def format_range(limits: Range) -> str:
    """Return a range as text: ``0.001..0.1:log``."""
    return f"{limits.low:g}..{limits.high:g}{':log' if limits.log else ''}"


def _products(values: Mapping[str, Iterable[Any]]) -> list[Mapping[str, Any]]:
    return [dict(zip(values, point, strict=True)) for point in itertools.product(*values.values())]


def _drawn(plan: Plan, count: int) -> list[Mapping[str, Any]]:
    """Draw combinations, each once; a larger number begins with the same ones."""
    rng = np.random.default_rng(plan.base.run.seed)
    found: dict[tuple[Any, ...], Mapping[str, Any]] = {}
    while len(found) < count:
        for _ in range(_DRAWS):
            point = {name: values[rng.integers(len(values))] for name, values in plan.values.items()}
            point |= {name: _draw(plan.base, name, limits, rng) for name, limits in plan.ranges.items()}
            key = tuple(point.values())
            if key not in found:
                found[key] = point
                break
        else:
            raise ConfigError(f"There are only about {len(found)} combinations, not {count}. Draw fewer, or list more.")
    return list(found.values())


def _draw(base: Config, name: str, limits: Range, rng: np.random.Generator) -> Any:
    """Draw a value, with four digits so that it can be read and typed again."""
    if limits.log:
        value = math.exp(rng.uniform(math.log(limits.low), math.log(limits.high)))
    else:
        value = rng.uniform(limits.low, limits.high)
    whole = isinstance(describe(name).default, int)
    value = round(value) if whole else float(f"{value:.4g}")
    return canonical(base, name, min(max(value, limits.low), limits.high))


def _first_epochs(base: Config, points: int) -> int:
    """Return the epochs of the first round of successive halving: so many rounds that one combination is left."""
    epochs = base.training.epochs
    while points >= KEEP and epochs >= KEEP:
        points, epochs = points // KEEP, epochs // KEEP
    return epochs
