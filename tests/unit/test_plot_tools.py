"""Tools of plots: labelled marks, one tooltip, logarithmic axis, shared crosshair, smoothing, hiding by the legend."""

import numpy as np
import pytest
from bokeh.events import LegendItemClick
from bokeh.models import CrosshairTool, CustomAction, HoverTool, LogAxis

from tests.support import fake_engine
from tsnn.config import Config
from tsnn.records import Event, EventKind
from tsnn.runs import RunStore
from tsnn.views.history import History
from tsnn.views.live.follower import RunFollower
from tsnn.views.plots.comparison import compare_plots, styled
from tsnn.views.plots.curves import fit_epochs, loss_plot, r2_plot
from tsnn.views.plots.figures import EventMarks, smoothed
from tsnn.views.tabs.overview import Overview
from tsnn.views.tabs.replay import Replay


@pytest.fixture
def history():
    history = History()
    for epoch in range(1, 2001):
        history.append(fake_engine.epoch_record(epoch, Config()).to_dict())
    return history


def actions(figure):
    return {tool.description for tool in figure.tools if isinstance(tool, CustomAction)}


def test_every_figure__has_full_screen_and_its_data():
    assert {"Full screen", "Save the data as CSV", "Save as SVG"} <= actions(r2_plot().figure)
    assert {"Full screen", "Save the data as CSV", "Save as SVG"} <= actions(compare_plots()[0].figure)


def test_marks__label_live_changes_and_leave_the_tooltip_to_the_curves(history):
    marks = EventMarks()
    marks.update([
        Event(703, EventKind.SETTING, "zeta changed from 0.3 to 0.81"),
        Event(703, EventKind.SETTING, "regrow changed from random to gradient"),
        Event(900, EventKind.RESUMED, "Resumed from epoch 900"),
    ])  # fmt: skip
    assert marks.source.data["label"] == ["ζ 0.81, regrow gradient", ""]
    quick = EventMarks()
    quick.update([Event(e, EventKind.SETTING, f"zeta changed from 1 to 0.{e}") for e in (2, 3, 4, 60)], 200)
    assert quick.source.data["label"] == ["", "", "ζ 0.4", "ζ 0.60"], "of changes close together the last is labelled"
    plot = loss_plot(marks=marks)
    plot.update(history)
    [hover] = [tool for tool in plot.figure.tools if isinstance(tool, HoverTool)]
    assert ("", "@event") in hover.tooltips
    told = {
        epoch: text for epoch, text in zip(plot.source.data["epoch"], plot.source.data["event"], strict=True) if text
    }
    assert told == dict(zip(marks.source.data["x"], marks.source.data["message"], strict=True))


def test_log_axis__fits_positive_values_and_is_offered_where_it_can_be(history):
    plot = loss_plot()
    plot.update(history)
    [axis] = [part for part in plot.figure.left if isinstance(part, LogAxis)]
    assert not axis.visible
    values = np.concatenate([history["train_loss"], history["test_loss"]])
    log_range = plot.figure.extra_y_ranges["log"]
    assert 0 < log_range.start < values.min() < values.max() < log_range.end
    assert "Logarithmic axis, or linear again" in actions(plot.figure)
    assert "Logarithmic axis, or linear again" not in actions(r2_plot().figure), "R² may be negative"


def test_crosshair__is_shared_by_the_figures_of_a_view():
    marks = EventMarks()
    lines = {
        tool.overlay
        for plot in (loss_plot(marks=marks), r2_plot(marks=marks))
        for tool in plot.figure.tools
        if isinstance(tool, CrosshairTool)
    }
    assert len(lines) == 1


def naive_smoothed(values, weight):
    result, total, norm = [], 0.0, 0.0
    for value in values:
        if value == value:
            total, norm = weight * total + (1 - weight) * value, weight * norm + (1 - weight)
        result.append(total / norm if norm else np.nan)
    return result


@pytest.mark.parametrize("weight", [0.02, 0.5, 0.98])
@pytest.mark.parametrize("n", [0, 1, 255, 256, 1000])
def test_smoothed__is_a_moving_average_that_skips_missing_values(rng, weight, n):
    values = rng.normal(size=n)
    values[rng.random(n) < 0.1] = np.nan
    assert smoothed(values, weight) == pytest.approx(naive_smoothed(values, weight), nan_ok=True)


def test_curves__smoothed_keep_the_measured_values_behind(history):
    plot = loss_plot()
    fit_epochs(plot.figure.x_range, history)
    plot.update(history)
    assert plot._measured.data["xs"] == []
    plot.update(history, smoothing=0.9)
    assert plot.source.data["test_loss"][-1] == pytest.approx(smoothed(history["test_loss"], 0.9)[-1])
    assert plot._measured.data["ys"][1][-1] == history["test_loss"][-1]
    plot.update(history)
    assert plot._measured.data["xs"] == []


def test_overview__smooths_all_curves(tmp_path):
    run = fake_engine.finished_run(RunStore(tmp_path), {"data.name": "madelon"}, 12)
    overview = Overview(RunFollower(run), Replay(12, lambda: None))
    before = overview.plots["loss"].source.data["test_loss"]
    overview.smoothing.value = 0.9
    overview.update()
    assert overview.plots["loss"].source.data["test_loss"] != before


def test_compare__a_click_in_the_legend_hides_a_curve_in_every_plot(history):
    plots, rows = compare_plots(), styled(["one", "two"], [[history], [history]])
    clicked = []
    for plot in plots:
        plot.clicked = clicked.append
        plot.update(rows, "epoch", 0)
    items = plots[0].figure.legend[0].items
    assert [item.label.value for item in items] == ["one", "two"]
    plots[0].figure.legend[0]._trigger_event(LegendItemClick(plots[0].figure.legend[0], items[1]))
    assert clicked == ["two"]
    plots[0].hidden.add("two")
    for plot in plots:
        plot.update(rows, "epoch", 0)
        drawn = plot.lines.data
        if drawn["label"]:
            assert drawn["label"] == ["one", "two"]
            assert len(drawn["xs"][0]) > 0
            assert drawn["xs"][1] == drawn["ys"][1] == []
            assert plot.figure.legend[0].items[1].label.value == "two (hidden)"
