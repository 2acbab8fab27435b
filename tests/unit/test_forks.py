"""Forks: which epochs have a checkpoint, equality with the parent, changed settings, refusals, independence."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from tests.support.waiting import wait_until
from tsnn.cli import main
from tsnn.errors import ConfigError, RunError
from tsnn.execution.engine import execute
from tsnn.jobs import launch, queue
from tsnn.jobs.trials import pending
from tsnn.records import EpochRecord
from tsnn.runs.catalog import delete
from tsnn.runs.checkpoints import FORKS, kept_epochs
from tsnn.runs.comparison import find, labels
from tsnn.runs.forks import make_fork, nearest_fork_epoch, parent_of
from tsnn.runs.results import result
from tsnn.runs.sweep_plan import Plan, trial_name
from tsnn.runs.sweeps import create_sweep
from tsnn.views.history import History

TIMES = ("time", "seq", "seconds_train", "seconds_evolve", "seconds_evaluate", "seconds_examine", "memory_bytes")


@pytest.fixture
def parent(store, filed):
    """Finished run with a checkpoint of each of its 6 epochs."""
    run = store.create(filed.replace({"training.epochs": 6, "run.checkpoint_epochs": 1}))
    list(execute(run))
    return run


def epochs_of(run):
    lines = [line for line in run.lines()[0] if line["type"] == "epoch"]
    return [{name: value for name, value in line.items() if name not in TIMES} for line in lines]


def events_of(run):
    return [(line["epoch"], line["kind"], line["message"]) for line in run.lines()[0] if line["type"] == "event"]


def assert_same_network(one, other):
    a, b = (np.load(run.path / "weights.npz") for run in (one, other))
    assert a.files == b.files
    assert all((a[name] == b[name]).all() for name in a.files)


@pytest.mark.parametrize("epoch", [1, 4])
def test_fork__without_changes_equals_the_later_epochs_of_its_parent(parent, epoch):
    fork = make_fork(parent, epoch)
    assert fork.id != parent.id
    assert fork.snapshot_epochs() == list(range(epoch + 1))
    assert [line["epoch"] for line in epochs_of(fork)] == list(range(1, epoch + 1)), "the trunk"
    trained = [item.epoch for item in execute(fork) if isinstance(item, EpochRecord)]
    assert trained == list(range(epoch + 1, 7))
    assert epochs_of(fork) == epochs_of(parent)
    assert_same_network(fork, parent)
    for at in parent.snapshot_epochs():
        one, two = (run.snapshot(at).arrays() for run in (fork, parent))
        assert one.keys() == two.keys()
        assert all(np.array_equal(one[name], two[name], equal_nan=True) for name in one)
    assert fork.meta()["fork"] == {"parent": parent.id, "epoch": epoch, "settings": {}}
    assert events_of(fork)[-1] == (epoch, "forked", f"Forked from {parent.id} after epoch {epoch}")
    assert [line["seq"] for line in fork.lines()[0]] == list(range(len(fork.lines()[0])))


def test_fork__changes_settings_from_its_epoch_on(parent):
    fork = make_fork(parent, 2, {"zeta": 0.1, "batch_size": 16, "epochs": 5})
    assert fork.config().training.zeta == 0.1
    list(execute(fork))
    assert epochs_of(fork)[:2] == epochs_of(parent)[:2]
    assert [line["settings"]["zeta"] for line in epochs_of(fork)] == [0.3, 0.3, 0.1, 0.1, 0.1]
    assert epochs_of(fork)[2:] != epochs_of(parent)[2:5]
    assert fork.status()["epoch"] == 5
    assert fork.meta()["fork"]["settings"] == {"training.epochs": 5, "training.batch_size": 16, "training.zeta": 0.1}
    kinds = {kind: message for _, kind, message in events_of(fork)}
    assert kinds["setting"] == "zeta changed from 0.3 to 0.1"
    assert kinds["forked"].endswith("with training.epochs 5, training.batch_size 16, training.zeta 0.1")
    assert result(fork).changed
    assert find(fork.config(), [fork]) is None, "another run with these settings from the start is not the same"
    assert len(set(labels([[result(parent)], [result(fork)]]))) == 2


def test_fork__keeps_settings_that_were_changed_live(store, filed, monkeypatch):
    monkeypatch.setattr("tsnn.execution.commands.POLL_SECONDS", 0)
    parent = store.create(filed.replace({"training.epochs": 6, "run.checkpoint_epochs": 1}))
    execution = execute(parent)
    for item in execution:
        if isinstance(item, EpochRecord) and item.epoch == 2:
            launch.request(parent, "set", dropout=0.4)
        if isinstance(item, EpochRecord) and item.epoch == 5:
            break
    execution.close()
    assert [line["settings"]["dropout"] for line in epochs_of(parent)][-1] == 0.4
    fork = make_fork(parent, 4, {"zeta": 0.5})
    assert (fork.config().network.dropout, fork.config().training.zeta) == (0.4, 0.5)
    list(execute(fork))
    assert [line["settings"]["dropout"] for line in epochs_of(fork)][4:] == [0.4, 0.4]


def test_fork__of_a_fork_and_resumed_after_an_interruption(parent, monkeypatch):
    fork = make_fork(parent, 2, {"learning_rate": 0.02})
    monkeypatch.setattr("tsnn.execution.engine._Engine.end", lambda *_: None)  # as if it were killed
    execution = execute(fork)
    for item in execution:
        if isinstance(item, EpochRecord) and item.epoch == 4:
            break
    execution.close()
    monkeypatch.undo()
    list(execute(fork))
    whole = make_fork(parent, 2, {"learning_rate": 0.02})
    list(execute(whole))
    assert epochs_of(fork) == epochs_of(whole)
    assert_same_network(fork, whole)
    again = make_fork(fork, 5, {"dropout": 0.0})
    list(execute(again))
    assert again.meta()["fork"] == {"parent": fork.id, "epoch": 5, "settings": {"network.dropout": 0.0}}
    assert epochs_of(again)[:5] == epochs_of(fork)[:5]


def test_fork__does_not_need_its_parent_any_more_nor_change_it(parent):
    before = {path: path.read_bytes() for path in parent.path.rglob("*") if path.is_file()}
    fork = make_fork(parent, 3, {"epsilon": 1.5})
    list(execute(fork))
    assert {path: path.read_bytes() for path in before} == before
    delete(parent)
    assert len(fork.records()) == 6
    assert fork.snapshot(1).sizes.tolist() == [12, 10, 10, 10, 3]
    assert History.of(fork)["connections"][0] > History.of(fork)["connections"][-1]


@pytest.mark.parametrize("settings", [
    {"data.target": "y"}, {"hidden": (5, 5)}, {"activation": "relu"}, {"seed": 3}, {"workers": 2}, {"micro_batch": 8},
    {"method": "dense"},
])  # fmt: skip
def test_fork__refuses_settings_that_cannot_change(parent, settings):
    runs = sorted(path.name for path in parent.path.parent.iterdir())
    with pytest.raises(ConfigError, match=f"cannot change .*{next(iter(settings)).rpartition('.')[2]}"):
        make_fork(parent, 3, settings)
    assert sorted(path.name for path in parent.path.parent.iterdir()) == runs


def test_fork__refuses_epochs_without_checkpoint_damaged_ones_and_too_few_epochs(parent):
    with pytest.raises(RunError, match=r"cannot be forked from epoch 9\. It can be from: 1, 2, 3, 4, 5, 6"):
        make_fork(parent, 9)
    with pytest.raises(ConfigError, match="epochs=12"):
        make_fork(parent, 6)
    with pytest.raises(ConfigError, match="zeta"):
        make_fork(parent, 3, {"zeta": 2})
    path = parent.checkpoint_folder / "0000003-000000000000.npz"
    content = path.read_bytes()
    for damaged in (content[: len(content) // 2], content[:3000] + b"\xff" * 64 + content[3064:], b""):
        path.write_bytes(damaged)
        with pytest.raises(RunError, match="cannot be forked from epoch 3"):
            make_fork(parent, 3)
    metrics = parent.path / "metrics.jsonl"
    metrics.write_bytes(metrics.read_bytes()[:500])
    with pytest.raises(RunError, match="records"):
        make_fork(parent, 4)
    assert [run.id for run in launch.RunStore(parent.path.parent).list()] == [parent.id], "no half fork is left"


def test_fork__trains_longer_from_the_last_epoch(parent):
    fork = make_fork(parent, settings={"epochs": 8})
    list(execute(fork))
    longer = shutil.copytree(parent.path, parent.path.with_name("longer"))
    longer = type(parent)(longer)
    launch.prepare_resume(longer, 8)
    list(execute(longer))
    assert epochs_of(fork) == epochs_of(longer)
    assert_same_network(fork, longer)


def test_fork_epochs__are_kept_by_default_at_geometric_epochs(store, filed, monkeypatch):
    monkeypatch.setattr("tsnn.execution.checkpointing.FORK_FRACTION", 1e9)  # also where a write takes long
    run = store.create(filed.replace({"training.epochs": 60}))
    list(execute(run))
    kept = run.fork_epochs()
    assert kept[-1] == 60
    assert 3 <= len(kept) <= FORKS + 2
    assert nearest_fork_epoch(run, 59) == max(epoch for epoch in kept if epoch < 60)
    assert nearest_fork_epoch(run, 0) == kept[0]
    none = store.create(filed.replace({"training.epochs": 6, "run.checkpoint_epochs": 1, "run.checkpoint_mb": 0}))
    list(execute(none))
    assert none.fork_epochs() == [5, 6]


def test_fork_epochs__stay_within_their_disk_space(store, filed):
    config = filed.replace({"training.epochs": 12, "run.checkpoint_epochs": 1})
    run = store.create(config)
    list(execute(run))
    size = run.checkpoints()[0].stat().st_size
    small = store.create(config.replace({"run.checkpoint_mb": 4.5 * size / 2**20}))
    list(execute(small))
    kept = small.fork_epochs()
    assert len(kept) == 4 + 2
    assert kept[-2:] == [11, 12]
    ratios = np.diff(np.log(kept[:-1]))
    assert ratios.max() < 4 * np.median(ratios)


@pytest.mark.parametrize("count", [0, 1, 3, 8])
def test_kept_epochs__are_spaced_geometrically_whenever_they_are_thinned(count):
    kept = set()
    for newest in range(2, 400):
        kept = kept_epochs({*kept, newest - 1}, newest, count)
        assert len(kept) == min(count, newest - 1)
    if count == 8:
        ratios = np.array([*sorted(kept)[1:], 399]) / np.array(sorted(kept))
        assert ratios.max() < 3.5


def test_command_line__forks_and_trains(parent, monkeypatch, capsys):
    monkeypatch.setenv("TSNN_RUNS", str(parent.path.parent))
    assert main(["fork", parent.id, "--epoch", "4", "--set", "zeta=0.1"]) == 0
    fork = launch.RunStore(parent.path.parent).list()
    fork = next(run for run in fork if run.id != parent.id)
    assert fork.status()["state"] == "finished"
    assert f"Forked from {parent.id} after epoch 4" in capsys.readouterr().err
    assert main(["fork", parent.id, "--epoch", "7"]) == 1
    assert "It can be from: 1, 2" in capsys.readouterr().err
    assert main(["fork", parent.id, "--set", "hidden=5"]) == 1


@pytest.mark.slow
def test_fork__starts_in_the_background(parent):
    forked = launch.fork(parent, epoch=3, zeta=0.1)
    wait_until(lambda: forked.status()["state"] == "finished", 120)
    assert [record.epoch for record in forked.records()] == list(range(1, 7))


@pytest.fixture
def sweep(store, filed):
    """Sweep of two trials of 4 epochs: the first is finished, the second stopped after 2 epochs."""
    base = filed.replace({"training.epochs": 4, "run.checkpoint_epochs": 1})
    trials = tuple(({"training.zeta": zeta}, 0) for zeta in (0.1, 0.3))
    plan = Plan("two", "grid", base, {"training.zeta": (0.1, 0.3)}, {}, (0,), trials, "test accuracy")
    sweep = create_sweep(store, plan)
    for number, (settings, _) in enumerate(trials):
        execution = execute(sweep.store.create(base.replace(settings), name=trial_name(number)))
        for item in execution:
            if number and isinstance(item, EpochRecord) and item.epoch == 2:
                break
        execution.close()
    return sweep


def test_fork__of_a_trial_is_a_run_next_to_the_sweep(store, sweep, capsys):
    name, before = f"{sweep.id}/trial-00000", sorted(path.name for path in sweep.path.iterdir())
    trial = store.open(name)
    fork = make_fork(trial, 2, {"zeta": 0.2, "epochs": 5})
    list(execute(fork))
    assert [run.path for run in store.list()] == [fork.path]
    assert fork.meta()["fork"]["parent"] == name
    assert parent_of(fork) == trial
    assert any(text.startswith(f"Forked from {name} after epoch 2") for _, _, text in events_of(fork))
    assert main(["fork", name, "--epoch", "3", "--runs", str(store.root)]) == 0
    assert f"Forked from {name} after epoch 3" in capsys.readouterr().err
    assert len(store.list()) == 2
    queued = queue.fork(trial, 1)
    wait_until(lambda: queued.status()["state"] == "finished")
    assert queued.id in [run.id for run in store.list()]
    assert sorted(path.name for path in sweep.path.iterdir()) == before
    assert [(trial.run.id, str(trial.state)) for trial in sweep.trials] == [
        ("trial-00000", "finished"), ("trial-00001", "stopped"),
    ]  # fmt: skip


def test_resume__of_a_trial_leaves_its_sweep_comparable(store, sweep, capsys):
    finished, stopped = (f"{sweep.id}/trial-0000{n}" for n in range(2))
    for name, epochs in ((finished, 8), (finished, None), (stopped, 8)):
        arguments = [] if epochs is None else ["--epochs", str(epochs)]
        assert main(["resume", name, *arguments, "--runs", str(store.root)]) == 1
        assert f"tsnn fork {name} --set epochs=8" in capsys.readouterr().err
    with pytest.raises(RunError, match=rf"press Continue in the tab Sweep, or: tsnn sweep --resume {sweep.id}"):
        queue.resume(store.open(stopped))
    assert not (sweep.path / "trial-00001" / "queued.json").exists()
    (sweep.path / "queued.json").write_text('{"time": 1}')
    queue.resume(store.open(stopped), 4)
    wait_until(lambda: store.open(stopped).status()["state"] == "finished")
    assert list(pending(sweep)) == []
    assert [trial.run.records()[-1].epoch for trial in sweep.trials] == [4, 4]


def test_resume__of_a_trial_on_the_command_line(store, sweep):
    assert main(["resume", f"{sweep.id}/trial-00001", "--runs", str(store.root)]) == 0
    assert [str(trial.state) for trial in sweep.trials] == ["finished"] * 2
