"""Following a run in a notebook: in one line, next to other widgets, until it ends."""

import panel as pn
import panel_material_ui as pmui
import param
import pytest
from bokeh.models import Title

import tsnn
from tests.support import fake_engine
from tests.support.sweeps import train_trial
from tests.support.waiting import run_coroutine
from tsnn import views
from tsnn.config import Config, describe
from tsnn.errors import RuleError, RunError
from tsnn.jobs.trials import queue_sweep, stop_sweep
from tsnn.records import RunState
from tsnn.runs import RunStore
from tsnn.runs.control import ControlReader
from tsnn.runs.writer import RunWriter
from tsnn.views import notebook
from tsnn.views.live import browser
from tsnn.views.live.browser import Throttle, on_release
from tsnn.views.live.follower import RunFollower
from tsnn.views.notebook import Ticker


@pytest.fixture
def store(tmp_path):
    return RunStore(tmp_path / "runs")


@pytest.fixture
def finished(store):
    return fake_engine.finished_run(store, {"data.name": "fashion_mnist", "training.epochs": 12}, 12)


def test_watch__leaves_bound_figures_live(finished):
    views.watch(finished)
    widget = pn.widgets.IntSlider(value=1, start=1, end=3)
    bound = pn.bind(lambda k: views.histogram(f"{k} values", "x", "y", {"": range(k)}), widget)
    root = pn.Column(bound).get_root()
    widget.value = 3
    assert [title.text for title in root.select({"type": Title})] == ["3 values"]


def test_watch__has_the_controls_of_a_live_run(store):
    run = store.create(Config.preset("fashion_mnist").replace(epochs=9))
    with RunWriter(run) as writer:
        writer.meta(fake_engine.meta(run.config()))
        writer.update(state="training", epochs=9)
        writer.line("epoch", **fake_engine.epoch_record(1, run.config()).to_dict())
        pane = views.watch(RunFollower(run, min_interval=0), controls=True)
        buttons = {part.label: part for part in pane.select(pmui.Button) if part.visible}
        buttons["Pause"].clicks += 1
        assert ControlReader(run).poll()[-1].action == "pause"
        sliders = {part.label: part for part in pane.select(pmui.FloatSlider)}
        zeta = sliders[describe("zeta").label]
        with param.edit_constant(zeta):
            zeta.value_throttled = 0.6  # like a user who releases it
        assert ControlReader(run).poll()[-1].settings == {"zeta": 0.6}
        usual = {part.label for part in views.watch(run).select(pmui.FloatSlider)}
        assert describe("zeta").label not in usual, "only on request"


def test_watch__draws_the_end_of_a_run_that_ends_during_an_update(store, monkeypatch):
    run = store.create(Config.preset("fashion_mnist").replace(epochs=9))
    with RunWriter(run) as writer:
        writer.meta(fake_engine.meta(run.config()))
        writer.update(state="training", epochs=9)
        tickers, controls = [], notebook._Controls.tick

        def end_first(self):
            if run.status()["state"] == RunState.TRAINING:
                writer.end(RunState.FINISHED, "All epochs done.")
            return controls(self)

        monkeypatch.setattr(notebook._Controls, "tick", end_first)
        monkeypatch.setattr(notebook, "Ticker", lambda *a, **k: tickers.append(Ticker(*a, start=False)) or tickers[0])
        pane = views.watch(RunFollower(run, min_interval=0), controls=True)
        title = next(part for part in pane.select(pn.pane.HTML) if "badge" in str(part.object))
        [ticker] = tickers
        stopped = []
        monkeypatch.setattr(ticker.callback, "stop", lambda: stopped.append(True))
        for _ in range(9):
            if not stopped:
                answer(pane.throttle)
                ticker._tick()
        assert "finished" in title.object
        assert stopped


def test_views__follow_the_theme_of_a_notebook_from_their_first_use(monkeypatch):
    monkeypatch.setattr(pn.config, "raw_css", [])
    monkeypatch.delitem(vars(views), "accuracy", raising=False)
    widget = pn.widgets.IntSlider()
    assert views.accuracy
    sheets = [sheet for sheet in widget.get_root().stylesheets if isinstance(sheet, str)]
    assert any("--jp-ui-font-color1" in sheet for sheet in sheets)


def test_watch__continues_a_stopped_run_without_a_queue(store, monkeypatch):
    run = fake_engine.finished_run(store, {"training.epochs": 9}, 3, state="stopped")
    resumed = []
    monkeypatch.setattr(notebook.launch, "resume", resumed.append)
    pane = views.watch(run, controls=True)
    next(part for part in pane.select(pmui.Button) if part.label == "Continue").clicks += 1
    assert resumed == [run]


def test_watch__links_to_the_dashboard_that_reads_the_same_folder(finished, monkeypatch):
    servers = [{"pid": 4711, "base_url": "/user/x/"}]
    monkeypatch.setattr("jupyter_server.serverapp.list_running_servers", lambda: servers)
    monkeypatch.setenv("JPY_PARENT_PID", "4711")
    monkeypatch.delenv("TSNN_RUNS", raising=False)
    assert notebook._link(finished) == []
    monkeypatch.setenv("TSNN_RUNS", str(finished.path.parent))
    [link] = notebook._link(finished)
    assert f"href='/user/x/tsnn/app?run={finished.id}'" in link.object
    monkeypatch.setenv("JPY_PARENT_PID", "4712")
    assert notebook._link(finished) == [], "another server's kernel"


def test_trials__keep_the_last_three_as_ghosts():
    zeta = pn.widgets.FloatSlider(label="zeta", start=0, end=1, value=0.1)

    def draw(zeta):
        return views.curves("t", "x", "y", {"curve": ([1, 2], [zeta, 10 * zeta])})

    pane = views.trials(draw, zeta=zeta)

    def trial(value):
        with param.edit_constant(zeta):
            zeta.value_throttled = value
        [plot] = pane.select(pn.pane.Bokeh)
        return plot.object

    for value in (0.2, 0.3, 0.4):
        trial(value)
    fig = trial(0.05)
    labels = [item.label.value for item in fig.legend[0].items]
    assert labels == ["curve", "before: zeta 0.4", "before: zeta 0.3", "before: zeta 0.2"]
    assert fig.y_range.end > 4, "the ghosts are inside, too"
    assert len([item for item in trial(0.4).legend[0].items if "0.4" in item.label.value]) == 0, "not its own ghost"


def test_exercises__are_counted_without_tracebacks(capsys):
    exercises = views.Exercises("1.1", "1.2")
    with exercises.check("1.1"):
        raise NotImplementedError("Exercise 1.1")
    with exercises.check("1.2"):
        raise AssertionError("<b>not</b> equal")
    assert exercises.missing == ["1.1", "1.2"]
    with exercises.check("1.1"):
        pass
    assert exercises.missing == ["1.2"]
    with pytest.raises(TypeError), exercises.check("1.1"):
        raise TypeError
    assert exercises.missing == ["1.1", "1.2"], "an error is no success"
    said = capsys.readouterr().out.splitlines()
    assert said == ["○ 1.1: not done yet. 0 of 2 done.", "✗ 1.2 is not right yet: <b>not</b> equal. 0 of 2 done.",
                    "✓ 1.1 is right. 1 of 2 done."]  # fmt: skip


def test_exercises__about_rules_are_judged_by_their_errors(capsys):
    exercises = views.Exercises("1.1", "1.2")
    with exercises.check("1.1"):
        raise RuleError("failed") from NotImplementedError("Exercise 1.1")
    with exercises.check("1.2"):
        raise RuleError("It returned a list.") from TypeError()
    assert exercises.missing == ["1.1", "1.2"]
    assert capsys.readouterr().out.splitlines() == [
        "○ 1.1: not done yet. 0 of 2 done.", "✗ 1.2 is not right yet: It returned a list. 0 of 2 done."
    ]  # fmt: skip


def answer(throttle):
    """Answer like the page."""
    throttle.parts[1].value = throttle.parts[0].value


def test_ticker__waits_for_the_answer_of_the_page(monkeypatch):
    monkeypatch.setattr(browser, "RETRY_SECONDS", 0.0)
    throttle, done = Throttle(), []
    ticker = Ticker(lambda: done.append(1) or True, throttle, start=False)
    ticker._tick()
    ticker._tick()
    assert not done
    assert throttle.parts[0].value == 2, "asked again, as the first message may be lost"
    answer(throttle)
    ticker._tick()
    ticker._tick()
    assert len(done) == 1, "the page is given time to draw"
    answer(throttle)
    ticker._tick()
    assert len(done) == 2


def test_throttle__late_answer_of_a_slow_page_is_enough(monkeypatch):
    monkeypatch.setattr(browser, "RETRY_SECONDS", 0.0)
    throttle = Throttle()
    throttle.ask()
    asked = throttle.parts[0].value
    for _ in range(5):
        assert not throttle.is_free()
    assert throttle.parts[0].value > asked, "asked again"
    throttle.parts[1].value = asked  # the answer to the first question
    assert throttle.is_free()
    throttle.ask()
    assert not throttle.is_free(), "the next update has not been processed"


def test_throttle__asks_less_and_less_often(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(browser.time, "monotonic", lambda: now[0])
    throttle, asked = Throttle(), []
    throttle.ask()
    for step in range(400):
        now[0] = step / 4
        throttle.is_free()
        asked.append(throttle.parts[0].value)
    assert asked[-1] < 15


def test_ticker__asks_only_after_a_change():
    throttle, done = Throttle(), []
    ticker = Ticker(lambda: done.append(1), throttle, start=False)
    ticker._tick()
    answer(throttle)
    for _ in range(3):
        ticker._tick()
    assert len(done) == 3
    assert throttle.parts[0].value == 1


def test_on_release__notices_two_releases_at_the_same_value():
    slider, released = pn.widgets.IntSlider(start=0, end=9, value=3), []
    on_release(slider, released.append)
    for value in (0, 3, 3):
        slider.value = 5  # like the server
        with param.edit_constant(slider):
            slider.value_throttled = value
    assert released == [0, 3, 3]
    assert slider.value_throttled == -1, "the only value that a late browser can echo"


def test_ended__returns_the_state_or_times_out(finished, store):
    assert run_coroutine(views.ended(finished)) == "finished"
    run = store.create(Config())
    with pytest.raises(RunError, match=r"still created after 0.2 s"):
        run_coroutine(views.ended(run, seconds=0.2))


def test_ended__waits_for_all_trials_of_a_sweep(store):
    config = Config.preset("digits").replace(epochs=2)
    found = tsnn.sweep(config, {"zeta": [0, 0.3]}, store=store, start=False)
    queue_sweep(found)
    train_trial(found, 0)
    with pytest.raises(RunError, match=r"Sweep .* is still training after 0.2 s"):
        run_coroutine(views.ended(found, seconds=0.2))
    stop_sweep(found)
    assert run_coroutine(views.ended(found)) == "stopped"
    train_trial(found, 1)
    assert run_coroutine(views.ended(found)) == "finished"
    failed = tsnn.sweep(config, {"zeta": [0.1, 0.2]}, store=store, start=False)
    train_trial(failed, 0)
    train_trial(failed, 1, RunState.FAILED)
    assert run_coroutine(views.ended(failed)) == "failed"
