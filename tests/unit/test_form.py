"""Every setting has a widget in the form, every live setting a slider."""

from __future__ import annotations

import pytest
from pages.controls import LiveControls
from pages.form import StartForm
from pages.settings import widget_value

from tsnn.config import LIVE_SETTINGS, SECTIONS, Config, describe, setting_names
from tsnn.errors import ConfigError
from tsnn.registry import ACTIVATIONS
from tsnn.runs import RunStore

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


def test_form__load_and_config_are_inverse(tmp_path):
    form = new_form(tmp_path)
    config = Config.preset("madelon").replace(method="two_phase", zeta=0.2, workers=3, hidden=(20, 10), seed=7)
    form.load(config)
    assert form.config() == config
    form.widgets["parallel.workers"].value = 1
    assert form.config() == config.replace(workers=1)


def test_form__loads_the_settings_for_regression_with_the_file(tmp_path):
    lines = [f"{i},{i * 0.37 + 0.5},{i % 2}" for i in range(40)]
    (tmp_path / "table.csv").write_text("a,y,b\n" + "\n".join(lines))
    form = new_form(tmp_path)
    form.data.value = "a file"
    form.widgets["training.epochs"].value = 7
    form.path.value = str(tmp_path / "table.csv")
    assert form.config() == Config.preset(str(tmp_path / "table.csv")).replace(epochs=7), "b is the target"
    form.widgets["data.target"].value = "y"
    assert form.config() == Config.preset(form.path.value, "regression").replace(epochs=7, target="y")
    form.widgets["training.learning_rate"].value = 0.5
    form.widgets["data.task"].value = "classification"
    config = form.config()
    assert (config.training.batch_size, config.training.learning_rate, config.data.task) == (128, 0.5, "classification")


def test_form__a_value_out_of_range_is_refused(tmp_path):
    form = new_form(tmp_path)
    form.widgets["training.zeta"].value = 1.5
    with pytest.raises(ConfigError, match=r"training\.zeta must be"):
        form.config()


@pytest.fixture(scope="module")
def controls():
    return LiveControls(lambda text: None)


@pytest.mark.parametrize("short", LIVE_SETTINGS)
def test_controls__every_live_setting_has_a_slider_in_range(controls, short):
    slider, about = controls.sliders[short], describe(short)
    assert slider in controls.settings.select()
    assert slider.value == about.default
    values = list(slider.options.values()) if hasattr(slider, "options") else [slider.start, slider.end]
    assert min(values) <= about.default <= max(values)
    assert min(values) == pytest.approx(about.slider.start)
    assert max(values) == pytest.approx(about.slider.end)
    assert widget_value(about.default) == pytest.approx(slider.value)
