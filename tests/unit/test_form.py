"""Every setting has a widget in the form, every live setting a slider."""

from __future__ import annotations

from html import unescape

import pytest
from pages.form import StartForm
from pages.settings import setting_widget, show_value, widget_value

from tsnn.config import LIVE_NUMBERS, LIVE_SETTINGS, SECTIONS, Config, describe, setting_names
from tsnn.config.presets import preset_for_shape
from tsnn.datasets.preview import Preview
from tsnn.errors import ConfigError
from tsnn.registry import ACTIVATIONS, REGROWTH, Rule
from tsnn.runs import RunStore
from tsnn.views.live.controls import LiveControls

#: Settings with a widget of their own, outside ``StartForm.widgets``.
SELECTORS = {"data.name": ("data", "path")}


def new_form(path):
    return StartForm(RunStore(path), lambda run_id: None)


@pytest.fixture(scope="module")
def form(tmp_path_factory):
    """A form that no test changes."""
    return new_form(tmp_path_factory.mktemp("runs"))


@pytest.mark.parametrize("name", setting_names())
def test_form__every_setting_has_a_displayed_widget(form, name):
    widgets = [getattr(form, attribute) for attribute in SELECTORS.get(name, ())] or [form.widgets[name]]
    displayed = form.layout.select()
    assert all(widget in displayed for widget in widgets)
    assert any(widget.visible for widget in widgets)


def test_form__every_section_has_a_title(form):
    form.show_advanced()
    texts = [part.object for part in form.layout.select() if type(part).__name__ == "Typography"]
    assert {section.title for section in SECTIONS.values()} <= set(texts)


@pytest.mark.parametrize("name", [name for name in setting_names() if describe(name).choices])
def test_form__choices_have_display_names(form, name):
    about = describe(name)
    assert form.widgets[name].options == {about.display_name(choice): choice for choice in about.choices}


def test_form__methods_and_activations_are_named_in_plain_terms(form):
    assert list(form.widgets["training.method"].options) == [
        "SET (evolving)",
        "fixed random",
        "dense",
        "prune, then retrain",
    ]
    assert {"All-ReLU", "ReLU", "leaky ReLU"} <= set(form.widgets["network.activation"].options)


def test_form__a_registered_rule_is_a_choice(tmp_path):
    ACTIVATIONS.register("test_slope", help="for this test", label="Test slope")(lambda alpha, layer: alpha)
    try:
        form = new_form(tmp_path)
        assert form.widgets["network.activation"].options["Test slope"] == "test_slope"
    finally:
        ACTIVATIONS.unregister("test_slope")


def test_form__shows_a_rule_that_only_a_run_knows():
    REGROWTH.note(Rule("elsewhere", "for this test", print))
    try:
        config = Config().replace(regrow="elsewhere")
        assert setting_widget("training.regrow", config).value == "elsewhere"
        widget = setting_widget("training.regrow", Config())
        show_value("training.regrow", widget, "elsewhere")
        assert (widget.value, "elsewhere" in widget.options) == ("elsewhere", True)
    finally:
        REGROWTH._recorded.clear()


def test_form__makes_parts_when_they_are_opened(tmp_path):
    form = new_form(tmp_path)
    before = len(form.layout.select())
    assert not {"parallel.workers", "data.target"} & set(form.widgets)
    form.load(Config.preset("madelon").replace(workers=3))
    assert form.config().parallel.workers == 3, "settings without a widget count"
    next(part for part in form.layout.select() if type(part).__name__ == "Accordion").active = [0]
    assert form.widgets["parallel.workers"].value == 3
    form.data.value = "a file"
    assert form.path in form.layout.select()
    assert len(form.layout.select()) > 2 * before


def test_form__load_and_config_are_inverse(tmp_path):
    form = new_form(tmp_path)
    config = Config.preset("madelon").replace(method="two_phase", zeta=0.2, workers=3, hidden=(20, 10), seed=7)
    form.load(config)
    assert form.config() == config
    form.widgets["parallel.workers"].value = 1
    assert form.config() == config.replace(workers=1)


def test_form__loads_the_settings_of_the_papers(tmp_path):
    form = new_form(tmp_path)
    assert form.presets.value == "demonstration"
    form.data.value = "cifar10"
    assert form.presets.options == ["tsnn's", "the papers'"]
    assert form.config() == Config.preset("cifar10")
    form.presets.value = "the papers'"
    assert form.config() == Config.preset("paper/cifar10")
    form.load(Config.preset("cifar10").replace(seed=7))
    assert form.presets.value is None, "settings of its own"
    form.data.value = "digits"
    assert not form.presets.visible


def write_table(path, rows=40):
    lines = [f"{i * 0.21},{i * 0.37 + 0.5},{i % 2}" for i in range(rows)]
    path.write_text("a,y,b\n" + "\n".join(lines))
    return str(path)


def own_form(tmp_path, path):
    """Return a form in which a file was chosen; without a server, it has been checked when this returns."""
    form = new_form(tmp_path / "runs")
    form.data.value = "a file"
    form.path.value = str(path)
    return form


def test_file__settings_for_its_task_and_shape_are_loaded_but_changes_kept(tmp_path):
    path = write_table(tmp_path / "table.csv")
    form = new_form(tmp_path)
    form.data.value = "a file"
    form.widgets["training.epochs"].value = 7
    form.path.value = path
    shape = preset_for_shape(27, 2)
    assert form.config() == Config.preset(path).replace(shape).replace(epochs=7), "b is the target"
    form.widgets["network.dropout"].value = 0.1
    form.widgets["data.target"].value = "y"
    regression = Config.preset(path, "regression").replace(preset_for_shape(27, 2, task="regression"))
    assert form.config() == regression.replace(epochs=7, dropout=0.1, target="y")
    form.widgets["training.learning_rate"].value = 0.5
    form.widgets["network.hidden"].value = "9-8"
    assert form.own.use.visible
    form.own.use.clicks += 1
    config = form.config()
    assert (config.network.hidden, config.training.learning_rate) == ((256, 256), 0.03)
    assert (config.training.epochs, config.network.dropout) == (45, 0.1)
    assert not form.own.use.visible


def test_file__settings_of_a_loaded_run_stay(tmp_path):
    config = Config.preset(write_table(tmp_path / "table.csv")).replace(target="y", drop=("b",), hidden=(20, 10))
    form = new_form(tmp_path)
    form.load(config)
    assert form.config() == config
    assert form.own.preview.task == "regression"
    form.widgets["data.drop"].value = []
    assert form.config() == config.replace(drop=())


def test_file__columns_are_choices_and_change_the_preview(tmp_path):
    form = own_form(tmp_path, write_table(tmp_path / "table.csv"))
    target, drop = form.widgets["data.target"], form.widgets["data.drop"]
    assert target.options == drop.options == ["a", "y", "b"]
    assert form.own.preview.info.n_features == 2
    assert form.own.card.visible
    drop.value = ["a"]
    assert form.own.preview.info.n_features == 1
    assert "left out" in form.own._body.object
    target.value = "y"
    assert form.own.preview.task == "regression"
    form.path.value = str(tmp_path / "nothing.csv")
    assert "There is no file" in form.own.problem()
    (tmp_path / "other.csv").write_text("p,q\n" + "\n".join(f"{i},{i % 3}" for i in range(30)))
    form.path.value = str(tmp_path / "other.csv")
    assert (form.config().data.target, form.config().data.drop) == (None, ()), "columns of another file"
    assert form.own.problem() == ""
    form.data.value = "madelon"
    assert not form.own.card.visible


def test_file__start_is_refused_with_the_sentence_until_it_can_be_read(tmp_path):
    path = tmp_path / "table.csv"
    rows = ["0.5,1", "0.1,1"] * 10 + ["broken,0"] + ["0.1,0", "0.5,0"] * 10
    path.write_text("a,b\n" + "\n".join(rows))
    form = own_form(tmp_path, path)
    form.start.clicks += 1
    assert form.error.visible
    assert "row 20 of column 'a' holds 'broken'" in unescape(form.error.object)
    assert form.own.error.object == form.error.object
    assert "“Columns to drop”: a" in unescape(form.error.object), "in the words of the form"
    assert "data.drop" not in unescape(form.error.object)
    assert form.own.preview.cells["a"][0] == "0.5", "the cells are displayed all the same"
    assert RunStore(tmp_path / "runs").list() == []
    form.widgets["data.missing_marks"].value += ",broken"
    form.widgets["data.missing"].value = "drop_rows"
    assert form.own.problem() == ""
    assert not form.error.visible


def test_file__start_is_refused_while_it_is_checked(tmp_path):
    form = own_form(tmp_path, write_table(tmp_path / "table.csv"))
    form.own.checking = True
    form.start.clicks += 1
    assert "table.csv is still being checked" in unescape(form.error.object)
    assert RunStore(tmp_path / "runs").list() == []


def test_file__an_outdated_check_is_ignored(tmp_path):
    form = own_form(tmp_path, write_table(tmp_path / "table.csv"))
    before = form.own.preview
    form.own._finish(form.own._number - 1, Preview(problem="of another file"))
    assert form.own.preview is before


def test_file__texts_of_the_file_are_escaped(tmp_path):
    path, evil = tmp_path / "table.csv", "<img src=x onerror=alert(1)>"
    path.write_text(f"{evil},kind,b\n" + "\n".join(f"{i * 0.3},<script>{i % 2},<b>{i % 2}</b>" for i in range(40)))
    form = own_form(tmp_path, path)
    form.widgets["data.drop"].value = [evil]
    form.widgets["data.drop"].value = []
    pieces = [form.own._body.object, form.own.summary.object, form.own._title.object, form.own.suggestion.object]
    assert "&lt;img src=x" in pieces[0]
    assert "&lt;script&gt;" in pieces[0]
    assert not any(tag in text for text in pieces for tag in ("<img", "<script", "<b>0", "<b>1"))
    form.widgets["data.target"].value = "none <img src=x>"
    assert "<img" not in form.own.error.object
    form.widgets["data.target"].value = "![x](http://x/y.png) [z](http://z) *k*"
    shown = unescape(form.own.error._process_param_change({"object": form.own.error.object})["object"])
    assert not any(tag in shown for tag in ("<img", "<a", "<em")), "an alert takes Markdown"
    assert "![x](http://x/y.png) [z](http://z) *k*" in unescape(shown)


def test_file__columns_of_a_wide_table_are_searched(tmp_path):
    names = [f"gene{i}" for i in range(3000)]
    rows = "\n".join(",".join([f"{(i * 7 + j) % 11}.5" for j in range(3000)] + [str(i % 2)]) for i in range(12))
    (tmp_path / "wide.csv").write_text(",".join([*names, "class"]) + "\n" + rows)
    form = own_form(tmp_path, tmp_path / "wide.csv")
    target, drop, find = form.widgets["data.target"], form.widgets["data.drop"], form.own.find
    assert (len(drop.options), find.visible, target.lazy_search) == (200, True, True)
    assert target._filter_options("NE299")[0] == "gene299"
    assert len(target._filter_options("gene2")) == 50
    assert len(form.own._body.object) < 20_000
    assert "and 2,988 more columns" in form.own._body.object
    find.value = "gene2999"
    assert (form.config().data.drop, find.value) == (("gene2999",), None)
    assert form.own.preview.info.n_features == 2999
    target.value = "gene7"
    drop.value = []
    assert (form.config().data.target, form.own.preview.task) == ("gene7", "regression")
    assert form.config().network.hidden == (500, 500), "a wide table"


def test_file__transposing_is_offered(tmp_path):
    rows = [f"gene{i}," + ",".join(f"{(i * j) % 7}.25" for j in range(8)) for i in range(30)]
    head = "," + ",".join(f"sample{j}" for j in range(8))
    (tmp_path / "genes.csv").write_text("\n".join([head, *rows, "class," + ",".join(str(j % 2) for j in range(8))]))
    form = own_form(tmp_path, tmp_path / "genes.csv")
    assert form.own.transpose.visible
    form.own.transpose.clicks += 1
    assert form.own.preview.info.n_features == 30
    assert not form.own.transpose.visible
    assert form.own.preview.names[-1] == "class"


def test_form__a_value_out_of_range_is_refused(tmp_path):
    form = new_form(tmp_path)
    form.widgets["training.zeta"].value = 1.5
    with pytest.raises(ConfigError, match=r"training\.zeta must be"):
        form.config()


@pytest.fixture(scope="module")
def controls():
    return LiveControls(lambda text: None)


@pytest.mark.parametrize("short", LIVE_SETTINGS)
def test_controls__every_live_setting_has_a_widget(controls, short):
    widget, about = controls.widgets[short], describe(short)
    assert widget in controls.settings.select()
    assert widget.value == about.default
    assert widget.label == about.label


@pytest.mark.parametrize("short", sorted(set(LIVE_SETTINGS) - set(LIVE_NUMBERS)))
def test_controls__a_live_choice_offers_every_rule(controls, short):
    assert tuple(controls.widgets[short].options.values()) == tuple(describe(short).choices)


@pytest.mark.parametrize("short", LIVE_NUMBERS)
def test_controls__a_live_number_has_a_slider_in_range(controls, short):
    slider, about = controls.widgets[short], describe(short)
    values = list(slider.options.values()) if hasattr(slider, "options") else [slider.start, slider.end]
    assert min(values) <= about.default <= max(values)
    assert min(values) == pytest.approx(about.slider.start)
    assert max(values) == pytest.approx(about.slider.end)
    assert widget_value(about.default) == pytest.approx(slider.value)
