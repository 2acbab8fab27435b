"""Comparisons: settings that differ, results of the last epoch, mean and spread over seeds."""

import math
from statistics import fmean, stdev

import numpy as np
import pytest

from tests.support import fake_engine
from tsnn.config import Config
from tsnn.runs import RunStore, results
from tsnn.runs.cells import format_cell
from tsnn.runs.comparison import baselines, differing, find, grouped, labels, seeds, table
from tsnn.runs.notes import annotate
from tsnn.runs.results import ResultReader, result
from tsnn.runs.writer import RunWriter

SETTINGS = {"data.name": "fashion_mnist", "training.epochs": 4}


@pytest.fixture
def store(tmp_path) -> RunStore:
    return RunStore(tmp_path / "runs")


def run_with(store, epochs=4, state="finished", **settings):
    named = {name.replace("__", "."): value for name, value in settings.items()}
    return fake_engine.finished_run(store, {**SETTINGS, **named}, epochs, state)


def column(columns, title):
    return next(c.values for c in columns if c.title == title)


def test_result__of_the_last_epoch_with_total_time(store):
    run = run_with(store, epochs=4)
    records = run.records()
    r = result(run)
    assert (r.epochs, r.samples) == (4, 40_000)
    assert r.test_accuracy == records[-1].test_accuracy
    assert r.seconds == pytest.approx(sum(e.seconds_train + e.seconds_evolve + e.seconds_evaluate for e in records))
    assert r.memory_bytes == records[-1].memory_bytes


def test_table__never_contains_the_best_test_epoch(store):
    run = store.create(Config())
    with RunWriter(run) as writer:
        for epoch, accuracy in ((1, 0.5), (2, 0.9), (3, 0.7)):
            record = fake_engine.epoch_record(epoch, Config()).to_dict()
            writer.line("epoch", **{**record, "test_accuracy": accuracy})
    columns = table([result(run)])
    assert column(columns, "test accuracy") == (0.7,)
    assert 0.9 not in [value for c in columns for value in c.values]


def test_table__best_epoch_by_validation(store):
    run = store.create(Config())
    with RunWriter(run) as writer:
        for epoch, validation, test in ((1, 0.5, 0.8), (2, 0.3, 0.6), (3, 0.4, 0.9)):
            record = fake_engine.epoch_record(epoch, Config()).to_dict()
            writer.line("epoch", **{**record, "validation_loss": validation, "test_accuracy": test})
    columns = table([result(run)])
    assert column(columns, "best epoch by validation") == (2,)
    assert column(columns, "test accuracy then") == (0.6,)
    assert column(columns, "test accuracy") == (0.9,)


def result_of_task(store, task, *epochs):
    run = store.create(Config())
    with RunWriter(run) as writer:
        meta = fake_engine.meta(Config())
        writer.meta(meta | {"data": meta["data"] | {"task": task}})
        for epoch, results in enumerate(epochs, 1):
            writer.line("epoch", **fake_engine.epoch_record(epoch, Config()).to_dict() | results)
    return result(run)


def test_table__r2_where_there_is_no_accuracy(store):
    none = {"train_accuracy": None, "test_accuracy": None}
    regression = result_of_task(
        store, "regression", none | {"test_r2": 0.4, "validation_loss": 1.0},
        none | {"test_r2": 0.3, "test_loss": 2.5e9, "validation_loss": 2.0},
    )  # fmt: skip
    columns = table([regression])
    assert column(columns, "test R²") == (0.3,)
    assert column(columns, "test R² then") == (0.4,)
    assert not [c.title for c in columns if "accuracy" in c.title]
    assert format_cell("number", column(columns, "test loss")[0]) == "2.5e+09"
    columns = table([regression, result_of_task(store, "classification", {"test_accuracy": 0.5})])
    assert column(columns, "test accuracy") == (None, 0.5)
    assert column(columns, "test R²") == (0.3, None)


def test_table__accuracy_of_several_labels_has_its_own_name(store):
    several = result_of_task(store, "multilabel", {"test_accuracy": 0.5})
    assert column(table([several]), "test labels correct") == (0.5,)
    both = [several, result_of_task(store, "classification", {"test_accuracy": 0.6})]
    assert column(table(both), "test accuracy or labels correct") == (0.5, 0.6)


def test_result__repeated_epoch_counts_once(store):
    run = store.create(Config())
    with RunWriter(run) as writer:
        for epoch in (1, 2, 3, 2):
            writer.line("epoch", **fake_engine.epoch_record(epoch, Config()).to_dict())
    assert result(run).epochs == 2


def test_table__run_without_epochs_or_settings(store):
    empty, bad = store.create(Config()), store.create(Config())
    (bad.path / "config.toml").write_text("nonsense")
    columns = table([result(empty), result(bad)])
    states = column(columns, "state")
    assert states[0] == "created"
    assert states[1].startswith("unreadable: ")
    assert "not valid TOML" in states[1]
    assert [c.title for c in columns] == ["run", "state", "epochs"]


def test_table__only_settings_that_differ(store):
    results = [result(run_with(store, training__zeta=z, run__seed=s)) for z, s in ((0.1, 0), (0.3, 0), (0.3, 1))]
    assert differing(results) == ["training.zeta", "run.seed"]
    columns = table(results)
    assert column(columns, "training.zeta") == ("0.1", "0.3", "0.3")
    assert column(columns, "run.seed") == ("0", "0", "1")


def test_table__mean_and_spread_over_seeds(store):
    results = [result(run_with(store, training__zeta=z, run__seed=s)) for z in (0.1, 0.3) for s in range(3)]
    assert [len(group) for group in grouped(results)] == [3, 3]
    columns = table(results, over_seeds=True)
    spread = column(columns, "test accuracy")[0]
    accuracies = [r.test_accuracy for r in results[:3]]
    assert spread == pytest.approx((fmean(accuracies), stdev(accuracies), 3))
    assert "run.seed" not in [c.title for c in columns]
    assert format_cell("fraction", spread) == f"{100 * spread.mean:.2f} ± {100 * spread.deviation:.2f} %"


def test_grouped__ignores_settings_of_execution(store):
    results = [result(run_with(store, run__seed=s, run__threads=s + 1)) for s in range(2)]
    assert len(grouped(results)) == 1


def test_grouped__run_changed_live_is_its_own_group(store):
    runs = [run_with(store, run__seed=s) for s in range(2)]
    changed = store.create(runs[0].config().replace({"run.seed": 2}))
    with RunWriter(changed) as writer:
        writer.line("event", epoch=1, kind="setting", message="zeta changed from 0.3 to 0.1")
    results = [result(run) for run in (*runs, changed)]
    assert [len(group) for group in grouped(results)] == [2, 1]
    assert column(table(results), "changed live") == (0, 0, 1)


def test_table__settings_changed_live_show_both_values(store):
    runs = [run_with(store, training__zeta=0.3) for _ in range(2)]
    with RunWriter(changed := store.create(runs[0].config().replace({"training.epochs": 4}))) as writer:
        line = fake_engine.epoch_record(1, changed.config()).to_dict()
        writer.line("epoch", **line | {"settings": line["settings"] | {"zeta": 0.81, "regrow": "gradient"}})
        writer.end("finished", "")
    results = [result(run) for run in (*runs, changed)]
    columns = table(results)
    assert column(columns, "training.zeta") == ("0.3", "0.3", "0.3 → 0.81")
    assert column(columns, "training.regrow") == ("random", "random", "random → gradient")
    assert labels([[results[0]], [results[2]]])[1].startswith("zeta 0.3 → 0.81")


def test_table__states_of_seeds_are_counted(store):
    states = ("finished", "stopped", "finished")
    results = [result(run_with(store, state=state, run__seed=s)) for s, state in enumerate(states)]
    assert column(table(results, over_seeds=True), "state") == ("2 finished, 1 stopped",)


def test_labels__only_settings_needed_to_be_unique(store):
    rows = [[result(run_with(store, training__method=t, training__zeta=z))] for t, z in (("set", 0.1), ("dense", 0.3))]
    assert labels(rows) == ["SET (evolving)", "dense"]
    rows.append([result(run_with(store, training__method="set", training__zeta=0.2))])
    assert labels(rows) == ["SET (evolving), zeta 0.1", "dense, zeta 0.3", "SET (evolving), zeta 0.2"]
    same = run_with(store, training__method="set", training__zeta=0.2)
    rows.append([result(same)])
    assert labels(rows)[3] == f"SET (evolving), zeta 0.2 ({same.id[-4:]})"
    annotate(same, title="Mine")
    rows[3] = [result(same)]
    assert labels(rows)[3] == "Mine"
    files = [[result(run_with(store, data__name=f"/far/away/{name}.npz"))] for name in ("one", "two")]
    assert labels(files) == ["one.npz", "two.npz"]


def test_format_cell__each_kind():
    assert format_cell("fraction", 0.8765) == "87.65 %"
    assert format_cell("count", 125680) == "125,680"
    assert format_cell("bytes", 2**20 * 3) == "3 MiB"
    assert format_cell("seconds", None) == "–"
    assert format_cell("number", math.nan) == "nan"
    assert format_cell("text", "<b>") == "<b>"


def test_baselines_and_seeds__differ_in_one_setting():
    config = Config.preset("madelon").replace({"run.seed": 4})
    assert [c.training.method for c in baselines(config)] == ["set", "fixed", "dense"]
    assert baselines(config)[0] == config
    assert [c.run.seed for c in seeds(config, 3)] == [4, 5, 6]
    assert {c.replace({"run.seed": 0}) for c in seeds(config, 3)} == {config.replace({"run.seed": 0})}


def test_find__does_not_parse_the_epochs_of_runs_without_changes(store, monkeypatch):
    run = run_with(store)
    monkeypatch.setattr(results, "_CHUNK", 5)
    assert find(run.config(), [run]) == run
    with monkeypatch.context() as patch:
        patch.setattr(results, "ResultReader", None)
        assert find(run.config(), [run]) == run, "a million epochs take a minute to parse"
    with open(run.path / "metrics.jsonl", "a") as file:
        file.write('{"type": "event", "epoch": 2, "kind": "setting", "message": "zeta changed"}\n')
    assert find(run.config(), [run]) is None


def test_find__existing_runs_but_no_interrupted_ones(store):
    run = run_with(store, run__threads=2)
    wanted = run.config().replace({"run.threads": 1})
    assert find(wanted, [run]) == run, "threads change no result"
    assert find(wanted.replace({"run.seed": 1}), [run]) is None
    assert find(wanted, [run_with(store, state="failed")]) is None
    with open(run.path / "metrics.jsonl", "a") as file:
        file.write('{"type": "event", "epoch": 2, "kind": "setting", "message": "zeta changed"}\n')
    assert find(wanted, [run]) is None, "its settings were changed while it trained"


# --- the figures -----------------------------------------------------------------------------------------


def test_mean_and_spread__by_epoch(store):
    compared = pytest.importorskip("tsnn.views.plots.comparison")
    from tsnn.views.history import History

    runs = [run_with(store, epochs=n, run__seed=s) for s, n in enumerate((4, 4, 2))]
    histories = [History.of(run) for run in runs]
    x, mean, deviation = compared.mean_and_spread(histories, "test_loss", "epoch")
    losses = [[r.test_loss for r in run.records()] for run in runs]
    assert x.tolist() == [1, 2, 3, 4]
    assert mean[1] == pytest.approx(fmean(l[1] for l in losses))
    assert deviation[1] == pytest.approx(stdev(l[1] for l in losses))
    assert mean[3] == pytest.approx(fmean(l[3] for l in losses[:2])), "the short one is over"
    assert compared.mean_and_spread(histories[:1], "test_loss", "samples")[0].tolist() == [1e4, 2e4, 3e4, 4e4]
    seconds = compared.horizontal(histories[0], "seconds")
    assert seconds[-1] == pytest.approx(result(runs[0]).seconds)


def test_time_axis__ends_at_the_time_of_the_results(store):
    compared = pytest.importorskip("tsnn.views.plots.comparison")
    from tsnn.views.history import History

    with RunWriter(run := store.create(Config().replace(SETTINGS))) as writer:
        for epoch in range(1, 4):
            line = fake_engine.epoch_record(epoch, run.config()).to_dict()
            writer.line("epoch", **{**line, "seconds_examine": 9.0})
        writer.end("finished", "")
    axis = compared.horizontal(History.of(run), "seconds")
    assert axis[-1] == pytest.approx(result(run).seconds), "without the time for pictures of mistakes"


def test_smoothed__unbiased_moving_average():
    compared = pytest.importorskip("tsnn.views.plots.comparison")
    constant = compared.smoothed(np.full(5, 3.0), 0.9)
    assert constant == pytest.approx(np.full(5, 3.0)), "no bias at the start"
    values = compared.smoothed(np.array([1.0, np.nan, 2.0]), 0.5)
    assert values == pytest.approx([1, 1, 5 / 3]), "a missing value is skipped"
    assert compared.smoothed(np.array([1.0, 5.0]), 0).tolist() == [1, 5]


def test_compare_plots__draw_the_recorded_curves(store):
    compared = pytest.importorskip("tsnn.views.plots.comparison")
    from tsnn.views.history import History

    runs = [run_with(store, training__method=t) for t in ("set", "dense")]
    rows = compared.styled(["set", "dense"], [[History.of(run)] for run in runs])
    plot = compared.compare_plots()[0]
    plot.update(rows, "epoch", 0)
    assert plot.visible
    assert plot.lines.data["ys"] == [[r.test_accuracy for r in run.records()] for run in runs]
    assert plot.lines.data["xs"][0] == [1, 2, 3, 4]
    assert len(set(plot.lines.data["color"])) == 2
    plot.update(rows, "samples", 0.5)
    assert plot.lines.data["xs"][1] == [1e4, 2e4, 3e4, 4e4]
    assert plot._raw.data["ys"][0] == [r.test_accuracy for r in runs[0].records()], "what was measured stays visible"
    group = compared.styled(["both"], [[History.of(run) for run in runs]])
    plot.update(group, "epoch", 0)
    assert len(plot._bands.data["xs"]) == 1
    assert plot._raw.data["ys"] == []


def test_results__are_read_a_part_at_a_time_and_continued(store):
    config = Config.preset("paper/fashion_mnist").replace(SETTINGS)
    run, losses = store.create(config), [0.9, 0.5, 0.7, 0.4, 0.6]
    reader = ResultReader(run)
    assert reader.read()
    with RunWriter(run) as writer:
        for epoch, loss in enumerate(losses, 1):
            writer.line("epoch", **{**fake_engine.epoch_record(epoch, config).to_dict(), "validation_loss": loss})
    calls = 0
    while not reader.read(0):
        calls += 1
        assert reader.result().epochs == calls
    assert calls == len(losses)
    assert reader.result() == result(run)
    assert reader.result().best_epoch == 4
    with RunWriter(run) as writer:  # a resumed run repeats epochs
        writer.line("epoch", **{**fake_engine.epoch_record(3, config).to_dict(), "validation_loss": 0.8})
    assert reader.read()
    repeated = reader.result()
    assert (repeated.epochs, repeated.best_epoch) == (3, 2)
    assert repeated.seconds == pytest.approx(
        sum(fake_engine.epoch_record(e, config).seconds_train for e in (1, 2, 3)) + 3 * 0.28
    )
    (run.path / "metrics.jsonl").unlink()
    assert reader.read()
    assert reader.result().epochs == 0


def test_results__description_is_read_again_only_if_it_has_changed(store, monkeypatch):
    run = run_with(store)
    reader = ResultReader(run)
    reader.read()
    before = reader.result()
    for name in ("config", "meta"):
        monkeypatch.setattr(f"tsnn.runs.run.Run.{name}", lambda *_: pytest.fail("read again"))
    assert reader.result() == before, "a live run is asked at every update of a page"
    monkeypatch.undo()
    (run.path / "config.toml").write_text(run.config().replace(zeta=0.123).to_toml())
    assert reader.result().settings["training.zeta"] == 0.123
    (run.path / "config.toml").write_text("")
    assert "empty" in reader.result().problem
    assert not reader.result().settings
