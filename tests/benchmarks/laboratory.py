"""Training of the reproduction's sweeps, one run after another, and their results; finished runs are kept."""

import sys
from dataclasses import dataclass
from statistics import fmean, stdev

from tsnn.config import Config
from tsnn.errors import TsnnError
from tsnn.execution.engine import execute
from tsnn.jobs.launch import watch
from tsnn.jobs.planning import extended, plan_sweep
from tsnn.jobs.sweeps import find_sweep
from tsnn.jobs.trials import pending, queue_sweep
from tsnn.records import RunState
from tsnn.runs.ranking import ranking
from tsnn.runs.store import place_of
from tsnn.runs.sweep_plan import write_plan
from tsnn.runs.sweeps import QUEUED, create_sweep

RATE = "training.learning_rate"
#: Of the training part, where a learning rate is chosen.
VALIDATION = 1 / 6
#: One thread, and little that is written beside the records.
PLAIN = {"run.threads": 1, "run.snapshots": 2, "run.checkpoint_minutes": 0}


@dataclass(frozen=True)
class Row:
    """A method: settings of its runs, and the learning rates among which it may choose."""

    name: str
    config: Config
    rates: tuple[float, ...]
    seeds: int
    search_epochs: int

    def at(self, rate):
        """Settings of the runs that are reported."""
        return self.config.replace({**PLAIN, RATE: rate})


@dataclass(frozen=True)
class Result:
    """Results of the runs of a method, by the last epoch."""

    scores: tuple[float, ...]
    connections: float
    rate: float
    epochs: int
    runs: tuple
    n_rates: int

    @property
    def mean(self):
        """Mean test accuracy in per cent."""
        return fmean(self.scores)

    @property
    def text(self):
        """Mean and standard deviation of the test accuracy in per cent, linked to the sweep; of one seed to the run."""
        run = self.runs[0]
        if len(self.scores) == 1:
            return f"[{self.mean:.1f}](?run={place_of(run)[1]})"
        return f"[{self.mean:.1f} ± {stdev(self.scores):.1f}](?tab=sweep&sweep={run.path.parent.name})"

    @property
    def rate_text(self):
        """Learning rate, and whether it was chosen."""
        return f"{self.rate:g}" if self.n_rates > 1 else f"{self.rate:g} (given)"


class Laboratory:
    """Sweeps of a folder.

    Parameters
    ----------
    store : RunStore
        Where the sweeps are.
    training : bool
        Train what is missing; otherwise only sweeps that exist are read.

    Attributes
    ----------
    found, missing : int
        Results and curves that tables found so far, and those that were not run.
    figures : dict of str to dict
        Figures of the tables that were made, by file: arguments of :func:`tests.benchmarks.figure.write_figure`.
    """

    def __init__(self, store, *, training):
        self.store, self.training = store, training
        self.found, self.missing = 0, 0
        self.figures = {}

    def sweep(self, config, grid, seeds=1):
        """Return the sweep with these trials, trained if it is to be; None if it does not exist."""
        plan = plan_sweep(config, grid, seeds=1)
        found = find_sweep(self.store, plan)
        if not self.training:
            return found
        found = found or create_sweep(self.store, plan)
        if (wanted := extended(found.plan, seeds=seeds)) != found.plan:
            write_plan(found.path, wanted)
        queue_sweep(found)  # those that were interrupted too
        (found.path / QUEUED).unlink()  # not by other processes
        for work in [*pending(found)]:
            self._train(work)
        return found

    def _train(self, work):
        run = work.claim()
        if run is None:
            return
        (run.path / "queued.json").unlink(missing_ok=True)
        config = work.config()
        print(
            f"{run.path}: seed {config.run.seed}, rate {config.training.learning_rate:g}", file=sys.stderr, flush=True
        )
        try:
            for _ in watch(run) if config.parallel.workers else execute(run):
                pass
        except TsnnError as error:  # it diverged: a result, too
            print(f"{run.path}: {error}", file=sys.stderr, flush=True)

    def rates(self, row):
        """Return a method's learning rates, the best on validation samples first; without those that diverge there."""
        if len(row.rates) == 1:
            return row.rates
        found = self.sweep(_search(row), {RATE: row.rates})
        return [r.settings[RATE] for r in ranking(found) if r.values] if found else []

    def result(self, row):
        """Return the results of a method at its best rate at which no seed diverges; None if there are none."""
        for rate in self.rates(row):
            found = self.sweep(row.at(rate), {RATE: [rate]}, row.seeds)
            trials = found.results() if found else []
            if any(t.state == RunState.FAILED for t, _ in trials):
                continue
            finished = [(t.run, r) for t, r in trials if t.state == RunState.FINISHED and r and t.run]
            if known := [(run, r) for run, r in finished if r.test_accuracy is not None][: row.seeds]:
                self.found += 1
                return Result(
                    tuple(100 * r.test_accuracy for _, r in known), fmean(r.connections for _, r in known), rate,
                    row.config.training.epochs, tuple(run for run, _ in known), len(row.rates),
                )  # fmt: skip
        return None

    def problem(self, row):
        """Return why a method has no results: its runs diverged, or were not trained."""
        searched = [] if len(row.rates) == 1 else [find_sweep(self.store, plan_sweep(_search(row), {RATE: row.rates}))]
        plans = [plan_sweep(row.at(rate), {RATE: [rate]}) for rate in row.rates]
        found = [sweep for sweep in [*searched, *(find_sweep(self.store, plan) for plan in plans)] if sweep]
        states = [t.run.status() for sweep in found for t in sweep.trials if t.run]
        if states and all(status.get("diverged") for status in states):
            return "diverged"
        self.missing += 1
        return "not run"


def _search(row):
    """Settings of the runs that choose the learning rate."""
    validated = {"training.epochs": row.search_epochs, "data.validation_fraction": VALIDATION}
    return row.config.replace({**PLAIN, **validated})
