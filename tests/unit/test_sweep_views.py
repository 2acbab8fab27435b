"""Plots of a sweep: the numbers behind them, linked selections, live updates, topologies."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("panel")

import holoviews as hv
import panel as pn
from bokeh.document import Document
from bokeh.models import ColumnDataSource, CustomJS

from tests.support import fake_engine
from tsnn import views
from tsnn.config import Config
from tsnn.errors import ConfigError, RunError
from tsnn.runs import RunStore
from tsnn.runs.measures import LAYER_VALUES, store_line
from tsnn.runs.sweep_plan import Plan, trial_name
from tsnn.runs.sweeps import Sweep, create_sweep
from tsnn.views.live.sweep_follower import SweepFollower
from tsnn.views.plots import sweep_plots
from tsnn.views.plots.sweep_table import (
    MAX_VALUES,
    SweepTable,
    best_cells,
    grid,
    grouped_values,
    importance,
    pareto,
    runs_of,
    sweep_table,
)
from tsnn.views.tabs.sweep import SweepView
from tsnn.views.tabs.sweep_topology import topologies
from tsnn.views.tabs.sweep_trials import titles, trial_rows

ZETA, EPSILON, METHOD = "training.zeta", "network.epsilon", "training.method"


def table_of(values, seeds=3, result=lambda point, rng: rng.random(), settings=(), **options) -> SweepTable:
    """Return the table of a full grid with invented results."""
    rng, rows = np.random.default_rng(0), []
    for cell, point in enumerate(itertools.product(*values.values())):
        for seed in range(seeds):
            value = result(dict(zip(values, point, strict=True)), rng)
            rows.append((f"s/{trial_name(len(rows))}", "finished", seed, value, value, 1000.0 * (cell + 1), 9.0 + seed,
                         *point, cell))  # fmt: skip
    columns = ["run", "state", "seed", "value", "test", "connections", "seconds", *values, "cell"]
    return SweepTable(pd.DataFrame(rows, columns=columns), tuple(values), **options)


GRID = {ZETA: (0.0, 0.1, 0.3), EPSILON: (2.0, 10.0)}


# --- numbers ---------------------------------------------------------------------------------------------


def test_grid__means_and_spread_are_those_of_numpy():
    table = table_of(GRID)
    table.trials.loc[0, "value"] = np.nan
    found = grid(table, ZETA, EPSILON)
    assert list(zip(found["x"], found["y"], strict=True)) == list(itertools.product(("0", "0.1", "0.3"), ("2", "10")))
    for cell, row in found.iterrows():
        values = table.trials["value"].to_numpy()[3 * cell : 3 * cell + 3]
        values = values[np.isfinite(values)]
        assert row["value"] == pytest.approx(values.mean())
        assert row["spread"] == pytest.approx(values.std(ddof=1))
        assert (row["n"], row["runs"], row["cells"]) == (len(values), 3, str(cell))
    drawn = sweep_plots.heat_map(table, ZETA, EPSILON).get(0)
    assert isinstance(drawn, hv.HeatMap)
    assert drawn.dimension_values("value", flat=True) == pytest.approx(found["value"])


def test_grid__other_settings_by_mean_best_and_selection():
    table = table_of({**GRID, METHOD: ("set", "dense")}, seeds=2)
    cells = table.trials.groupby("cell")["value"].mean().to_numpy().reshape(6, 2)
    assert grid(table, ZETA, EPSILON)["value"].to_numpy() == pytest.approx(cells.mean(axis=1))
    best = grid(table, ZETA, EPSILON, "best")
    assert best["value"].to_numpy() == pytest.approx(cells.max(axis=1))
    assert set(best["n"]) == {2}
    selected = grid(table, ZETA, EPSILON, "selected", [3, 4])
    assert selected["value"].to_numpy() == pytest.approx([np.nan, cells[1, 1], cells[2, 0], np.nan, np.nan, np.nan],
                                                         nan_ok=True)  # fmt: skip
    assert list(selected["cells"]) == ["", "3", "4", "", "", ""]
    assert len(grid(table, ZETA, EPSILON, "selected", [])) == 6


def test_values__are_drawn_one_by_one_or_in_intervals():
    groups, labels = grouped_values(pd.Series([0.3, None, 0.1, 0.3]))
    assert (groups.tolist(), labels) == ([1, -1, 0, 1], ["0.1", "0.3"])
    groups, labels = grouped_values(pd.Series([(20, 10), (5,), (20, 10)]))
    assert (groups.tolist(), labels) == ([0, 1, 0], ["20-10", "5"])
    many = pd.Series(np.geomspace(0.001, 1, MAX_VALUES + 1))
    groups, labels = grouped_values(many)
    assert groups.tolist() == sorted(groups)
    assert (groups[0], groups[-1], len(labels)) == (0, 7, 8)
    assert np.bincount(groups).max() <= 3, "by the logarithm"


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), max_size=12))
def test_pareto__no_point_is_beaten_and_every_other_is(points):
    cost, value = np.array(points, dtype=float).reshape(-1, 2).T
    front = pareto(cost, value)

    def beaten(i):
        better = (cost <= cost[i]) & (value >= value[i]) & ((cost < cost[i]) | (value > value[i]))
        return bool(better.any())

    kept = {points[i] for i in front}
    assert kept == {points[i] for i in range(len(points)) if not beaten(i)}
    assert len(kept) == len(front)
    assert np.all(np.diff(cost[front]) > 0)
    assert np.all(np.diff(value[front]) > 0)


def test_pareto__ignores_unknown_points():
    assert pareto([1, np.nan, 3], [np.nan, 9, 0.5]).tolist() == [2]


def test_importance__of_one_setting_alone_and_of_noise():
    only = importance(table_of(GRID, result=lambda point, rng: point[ZETA]))
    assert only == pytest.approx({ZETA: 1.0, EPSILON: 0.0, "run.seed": 0.0})
    both = importance(table_of(GRID, result=lambda p, rng: 10 * p[ZETA] + p[EPSILON] / 8, seeds=2))
    parts = np.var([0, 1, 3]), np.var([0.25, 1.25])
    assert both[ZETA] == pytest.approx(parts[0] / sum(parts))
    assert both[EPSILON] == pytest.approx(parts[1] / sum(parts))
    chance = importance(table_of({ZETA: (0.0, 0.1), EPSILON: (2.0, 5.0)}, seeds=500))
    assert chance["run.seed"] == pytest.approx(1, abs=0.02)
    assert max(chance[ZETA], chance[EPSILON]) < 0.02
    assert importance(table_of(GRID, seeds=1, result=lambda p, rng: np.nan)) == {ZETA: 0.0, EPSILON: 0.0}


def test_cells__the_best_first_with_their_runs():
    table = table_of(GRID, seeds=2, result=lambda point, rng: point[ZETA] + point[EPSILON] / 100)
    assert best_cells(table, 2) == [5, 4]
    assert runs_of(table, [5, 4], 3) == ["s/trial-00010", "s/trial-00011", "s/trial-00008"]
    assert table.cells["settings"][5] == "Zeta ζ 0.3, Epsilon ε 10"


# --- plots -----------------------------------------------------------------------------------------------


def rendered(element):
    document = Document()
    document.add_root(pn.pane.HoloViews(element).get_root(document))
    return document


def source_with(document, column) -> ColumnDataSource:
    found = [s for s in document.select({"type": ColumnDataSource}) if column in s.data and "cells" in s.data]
    return max(found, key=lambda source: len(source.data["cells"]))  # that of stars is empty


def test_trade_off__front_and_dense_as_a_star():
    table = table_of({**GRID, METHOD: ("set", "dense")})
    line, points, stars = sweep_plots.trade_off(table)
    assert len(points) == len(stars) == 6
    cells = table.cells
    assert set(stars["connections"]) == set(cells["connections"][cells[METHOD] == "dense"])
    front = cells.iloc[pareto(cells["connections"], cells["value"])]
    assert list(line["connections"]) == list(front["connections"])
    assert len(sweep_plots.trade_off(table_of(GRID, method="dense")).get(2)) == 6, "all are dense"


def test_parallel__a_line_of_as_many_parts_as_settings_for_each_combination():
    table = table_of({**GRID, METHOD: ("set", "dense")})
    lines = sweep_plots.parallel(table).get(0)
    assert len(lines) == 12 * 3
    first = lines.data[lines.data["cells"] == "0"].sort_values("x0")
    assert first["y0"].tolist() == [0, 0, 0]
    assert first["y1"].tolist()[:2] == [0, 0]
    assert first["y1"].tolist()[1:] == [*first["y0"].tolist()[2:], first["y1"].tolist()[-1]]


@pytest.mark.parametrize("n", [0, 1])
def test_plots__without_results_or_with_a_single_one(n):
    table = table_of(GRID, seeds=1)
    table.trials.loc[n:, "value"] = np.nan
    drawn = [sweep_plots.heat_map(table, ZETA, EPSILON), sweep_plots.trade_off(table), sweep_plots.parallel(table),
             sweep_plots.importance_plot(table)]  # fmt: skip
    for element in drawn if n else drawn[:1]:
        assert rendered(element).roots


# --- a view ----------------------------------------------------------------------------------------------


@pytest.fixture
def store(tmp_path) -> RunStore:
    return RunStore(tmp_path / "runs")


def cells_at(source) -> dict[tuple[str, str], str]:
    """Cells of a heat map by their place."""
    return dict(zip(zip(source.data["x"], source.data["y"], strict=True), source.data["cells"], strict=True))


def new_sweep(store, values=GRID, seeds=(0, 1), kind="grid", **options) -> Sweep:
    points = [dict(zip(values, point, strict=True)) for point in itertools.product(*values.values())]
    epochs = 9 if len(points) > 6 else 2
    base = Config.preset("fashion_mnist").replace({"training.epochs": epochs, "network.hidden": [20]})
    trials = tuple((point, seed) for point in points for seed in seeds)
    plan = Plan("A <b>sweep</b>", kind, base, values, {}, seeds, trials, "test accuracy", **options)
    return create_sweep(store, plan)


def finish(sweep, *numbers, state="finished"):
    for number in numbers:
        settings, seed = sweep.plan.trials[number]
        settings = {**sweep.base.flat(), **settings, "run.seed": seed}
        fake_engine.finished_run(sweep.store, settings, 2, state, name=trial_name(number))


def follow(sweep) -> SweepFollower:
    return SweepFollower(sweep, min_interval=0)


def settle(view) -> int:
    """Tick until nothing changes, and return the number of ticks that changed something."""
    return next(n for n in range(50) if not view.tick())


def test_table__has_results_of_finished_trials_only(store):
    sweep = new_sweep(store)
    finish(sweep, 0, 3)
    finish(sweep, 1, state="failed")
    table = sweep_table(sweep)
    assert list(np.flatnonzero(table.trials["value"].notna())) == [0, 3]
    assert table.counts() == {"queued": 9, "finished": 2, "failed": 1}
    assert table.trials["cell"].tolist() == [n // 2 for n in range(12)]
    assert table.trials["value"][0] == sweep.trials[0].run.records()[-1].test_accuracy
    assert table.trials["run"][:2].tolist() == [f"{sweep.id}/trial-00000", f"{sweep.id}/trial-00001"]


def test_view__fills_while_trials_finish_and_keeps_the_selection(store):
    sweep = new_sweep(store)
    view = SweepView(follow(sweep), print)
    settle(view)
    assert "0 of 12 trials finished, 12 queued" in view._head.object
    assert "&lt;b&gt;" in view._head.object
    assert "No trial has finished" in view._empty.object, "it is not queued"
    assert not any(shown.visible for shown in view._cards.values())
    finish(sweep, 0, 1, 2, 4)
    assert settle(view) >= 5, "one plot for each update of the page"
    assert all(shown.visible for shown in view._cards.values())
    document = Document()
    document.add_root(view.layout.get_root(document))
    heat, points = source_with(document, "zvalues"), source_with(document, "connections")
    assert cells_at(heat) == {
        pair: str(n) for n, pair in enumerate(itertools.product(("0", "0.1", "0.3"), ("2", "10")))
    }
    assert list(points.data["cells"]) == ["0", "1", "2"]
    view.brush.choose([1])
    before = dict(zip(heat.data["cells"], heat.data["zvalues"], strict=True))
    finish(sweep, 5, 6)
    settle(view)
    assert list(points.data["cells"]) == ["0", "1", "2", "3"], "the same source has the new results"
    after = dict(zip(heat.data["cells"], heat.data["zvalues"], strict=True))
    assert np.isnan(before["3"])
    assert np.isfinite(after["3"])
    assert view.brush.cells == [1]
    assert settle(view) == 0
    view.x.value, view.y.value = EPSILON, ZETA
    settle(view)
    assert cells_at(source_with(document, "zvalues"))["10", "0.1"] == "3"


def test_view__compares_a_halved_sweep_after_equal_epochs(store):
    values = {ZETA: (0.0, 0.1, 0.3), EPSILON: (2.0, 5.0, 10.0)}
    sweep = new_sweep(store, values, seeds=(0,), kind="halving", first_epochs=1)
    for number, epochs in enumerate([9, 3, 3, 1, 1, 1, 1, 1]):  # the last one has not been trained
        settings = {**sweep.base.flat(), **sweep.plan.trials[number][0]}
        fake_engine.finished_run(sweep.store, settings, epochs, name=trial_name(number))
    records = [trial.run.records() for trial in sweep.trials[:8]]
    view = SweepView(follow(sweep))
    settle(view)
    assert list(view.round.options) == [
        "1 epoch (9 combinations)",
        "3 epochs (3 combinations)",
        "9 epochs (1 combination)",
    ]
    assert view.table.trials["value"][:8].tolist() == [r[0].test_accuracy for r in records]
    document = Document()
    document.add_root(view.layout.get_root(document))
    assert np.isfinite(source_with(document, "zvalues").data["zvalues"]).sum() == 8
    assert view.trials.titles["value"] == "Test accuracy after 1 epoch"
    view.round.value = 3
    settle(view)
    assert view.table.trials["value"].dropna().tolist() == [r[2].test_accuracy for r in records[:3]]
    assert np.isfinite(source_with(document, "zvalues").data["zvalues"]).sum() == 3
    assert view.trials.titles["value"] == "Test accuracy after 3 epochs"
    assert "Best by test accuracy after 9 epochs" in view._head.object
    assert views.sweep(sweep).heat_map("zeta", "epsilon", epochs=3).opts.get("plot").kwargs["title"] == (
        "Test accuracy after 3 epochs (%)"
    )


def test_view__hides_plots_of_a_round_without_results(store):
    sweep = new_sweep(store, seeds=(0,), kind="halving", first_epochs=1)
    for number in range(6):
        settings = {**sweep.base.flat(), **sweep.plan.trials[number][0]}
        fake_engine.finished_run(sweep.store, settings, 1, name=trial_name(number))
    view = SweepView(follow(sweep))
    settle(view)
    assert view._cards["sweep_heat"].visible
    view.round.value = 2
    settle(view)
    assert not any(shown.visible for shown in view._cards.values())
    view.round.value = 1
    settle(view)
    assert all(shown.visible for shown in view._cards.values())


def test_table__has_columns_of_the_measures(store):
    sweep = new_sweep(store)
    finish(sweep, 0, 3)
    assert sweep_table(sweep).measures == ()
    layer = dict.fromkeys(LAYER_VALUES, 0.25) | {"n_in": 4, "n_out": 4, "connections": 8}
    store_line(sweep.trials[3].run, "topology", {"epoch": 2, "seconds": 1.0, "layers": [layer]})
    table = sweep_table(Sweep(sweep.path))
    assert table.trials["modularity"].dropna().to_dict() == {3: 0.25}
    rows = trial_rows(table, [3, 0], linked=True)
    assert rows["modularity"].tolist() == ["0.2500", "–"]
    assert titles(table)["modularity"] == "Modularity"


def test_view__links_selections_in_the_browser(store):
    sweep = new_sweep(store)
    finish(sweep, *range(12))
    opened: list[str] = []
    view = SweepView(follow(sweep), opened.append)
    settle(view)
    document = Document()
    document.add_root(view.layout.get_root(document))
    linked = [s for s in document.select({"type": ColumnDataSource}) if s.selected.js_property_callbacks]
    assert len(linked) == 6, "heat map, points and stars against two costs, parallel coordinates"
    codes = {callback.args["hub"] for s in linked for callback in s.selected.js_property_callbacks["change:indices"]}
    (hub,) = codes
    assert len(hub.js_property_callbacks["change:data"]) == 6
    assert all(isinstance(callback, CustomJS) for callback in hub.js_property_callbacks["change:data"])
    hub.data = {"cells": ["3", "2", "nonsense"]}  # as the browser sends it
    assert view.brush.cells == [2, 3]
    assert view.trials.value["state"].tolist() == ["finished"] * 4
    assert view.clear.visible
    settle(view)
    assert view.curve.figure.title.text == "Test accuracy of the chosen settings"
    assert view.curve.lines.data["label"] == ["Zeta ζ 0.1, Epsilon ε 2", "Zeta ζ 0.1, Epsilon ε 10"]
    view._clicked(type("Click", (), {"row": 1, "column": "seed"}))
    assert opened == view.shown_runs()[1:2]
    view.clear.clicks += 1
    assert hub.data == {"cells": []}
    assert len(view.trials.value) == 12


def test_view__one_setting_has_no_heat_map(store):
    sweep = new_sweep(store, {ZETA: (0.0, 0.1)})
    finish(sweep, 0, 1, 2)
    view = SweepView(follow(sweep))
    settle(view)
    assert not view._cards["sweep_heat"].visible
    assert view._cards["sweep_connections"].visible
    assert not view._axes.visible


def test_topologies__one_for_each_pair_of_values(store):
    sweep = new_sweep(store)
    with pytest.raises(RunError, match="No finished trial has a snapshot"):
        topologies(sweep, sweep_table(sweep), "zeta", "epsilon")
    finish(sweep, 0, 1, 2, 5)
    table = sweep_table(sweep)
    drawn = topologies(sweep, table, "zeta", "epsilon")
    maps = [part for part in drawn if isinstance(part, hv.HoloMap)]
    assert len(maps) == 3
    for part in maps:
        assert list(part.keys()) == [(0.0, 2.0), (0.0, 10.0), (0.1, 2.0)]
        assert [dimension.name for dimension in part.kdims] == ["Zeta ζ", "Epsilon ε"]
    with pytest.raises(ConfigError, match=r"alpha is the same in all trials.*zeta, epsilon"):
        topologies(sweep, table, "alpha", "zeta")


def test_notebook__pane_updates_and_has_plain_plots(store, tmp_path):
    sweep = new_sweep(store)
    finish(sweep, *range(5))
    pane = views.sweep(sweep)
    assert isinstance(pane, pn.Column)
    heat = pane.heat_map("zeta", "epsilon").get(0)
    assert isinstance(heat, hv.HeatMap)
    assert np.isfinite(heat.dimension_values("value")).sum() == 3
    assert isinstance(pane.trade_off("seconds"), hv.Overlay)
    assert isinstance(pane.parallel(), hv.Overlay)
    assert len(pane.importance()) == 3
    maps = pane.topologies("zeta", "epsilon", network=False)
    assert isinstance(maps, hv.Layout)
    hv.save(maps, tmp_path / "map.html", resources="cdn")  # with the sliders of panel_material_ui it fails
    saved = (tmp_path / "map.html").read_text()
    assert saved.count("Zeta \\u03b6") + saved.count("Zeta ζ") > 1
    assert '"State"' in saved or "models.state.State" in saved
    with pytest.raises(ConfigError, match="Did you mean"):
        pane.heat_map("zetta", "epsilon")
