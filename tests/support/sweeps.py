"""Sweeps for tests: trials that are trained at once, with records as of a small network."""

from __future__ import annotations

import pytest

from tests.support import fake_engine
from tsnn.jobs import launch
from tsnn.records import RunState
from tsnn.runs import Run, RunStore
from tsnn.runs.sweep_plan import trial_name
from tsnn.runs.sweeps import Sweep
from tsnn.runs.writer import RunWriter


def train(run: Run, state: str = RunState.FINISHED, epochs: int | None = None) -> None:
    """Train a run that has been created, or is to be resumed, in no time, up to its last epoch or an earlier one."""
    with RunWriter(run) as writer:
        run.accept_epochs()
        config = run.config()
        writer.meta(fake_engine.meta(config))
        writer.update(state=RunState.TRAINING)
        for epoch in range(len(run.records()) + 1, (epochs or config.training.epochs) + 1):
            record = fake_engine.epoch_record(epoch, config)
            writer.line("epoch", **record.to_dict())
            writer.update(epoch=epoch, test_accuracy=record.test_accuracy, connections=record.connections)
        writer.end(state, "" if state == RunState.FINISHED else "The loss is no longer finite.")


def train_at_start(patch: pytest.MonkeyPatch) -> list[str]:
    """Let runs be trained in no time when they are started; returns the list of their names, which grows."""
    names: list[str] = []

    def start(run: Run) -> None:
        names.append(run.id)
        train(run)

    patch.setattr(launch, "start_supervisor", start)
    return names


def train_trial(sweep: Sweep, number: int, state: str = RunState.FINISHED) -> Run:
    """Train a trial with the settings of the plan."""
    settings, seed = sweep.plan.trials[number]
    run = RunStore(sweep.path).create(sweep.base.replace({**settings, "run.seed": seed}), name=trial_name(number))
    train(run, state)
    return run
