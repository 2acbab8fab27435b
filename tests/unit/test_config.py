"""Settings: validated in one place, read from and written to TOML, errors that name the fault."""

import pytest

from tsnn.config import Config, describe, setting_names
from tsnn.config.presets import PRESETS, preset_for_shape
from tsnn.errors import ConfigError


def test_toml__is_read_back(tmp_path):
    config = Config.preset("madelon").replace({"training.zeta": 0.1, "data.target": "label", "run.seed": 5})
    path = tmp_path / "experiment.toml"
    path.write_text(config.to_toml())
    assert Config.from_toml(path) == config


def test_toml__may_leave_out_settings_of_the_preset(tmp_path):
    path = tmp_path / "experiment.toml"
    path.write_text('[data]\nname = "madelon"\n[training]\nepochs = 3\n')
    config = Config.from_toml(path)
    assert config.network.hidden == (400, 100, 400)
    assert config.training.epochs == 3
    assert config == Config.preset("madelon").replace({"training.epochs": 3})


@pytest.mark.parametrize("name", PRESETS)
def test_preset__is_valid(name):
    assert Config.preset(name).data.name == name.removeprefix("paper/")


def test_preset__of_a_paper_keeps_its_settings(tmp_path):
    paper = Config.preset("paper/fashion_mnist")
    assert paper == Config().replace({"data.name": "fashion_mnist", "training.epochs": 500})
    assert Config.preset("paper/nothing").data.name == "paper/nothing", "a path"
    path = tmp_path / "experiment.toml"
    path.write_text('[data]\nname = "paper/fashion_mnist"\n[training]\nzeta = 0.1\n')
    assert Config.from_toml(path) == paper.replace(zeta=0.1)


def test_record__settings_that_an_earlier_version_did_not_have_are_the_defaults():
    sections = Config.preset("paper/fashion_mnist").to_dict()
    del sections["training"]["learning_rate_schedule"]
    assert Config.from_record(sections) == Config.preset("paper/fashion_mnist")
    assert Config.from_dict(sections) != Config.from_record(sections), "a file by hand takes the preset"


@pytest.mark.parametrize(
    ("text", "value"),
    [("1000-500", (1000, 500)), ("[10, 20]", (10, 20)), ("30, 40", (30, 40)), ("7", (7,)), ("[]", ())],
)
def test_hidden__is_read_in_every_usual_notation(text, value):
    assert Config().replace({"network.hidden": text}).network.hidden == value


@pytest.mark.parametrize(
    ("settings", "fragment"),
    [
        ({"network.epsilon": 0}, "network.epsilon must be greater than 0; got 0"),
        ({"network.epsilon": -3}, "greater than 0"),
        ({"network.epsilon": float("nan")}, "got nan"),
        ({"network.epsilon": float("inf")}, "got inf"),
        ({"training.zeta": 1}, "training.zeta must be at least 0 and less than 1; got 1"),
        ({"training.zeta": -0.1}, "at least 0"),
        ({"network.hidden": [10, 0]}, "network.hidden must be at least 1; got 0"),
        ({"network.hidden": [-5]}, "at least 1"),
        ({"network.hidden": "many"}, "whole numbers such as"),
        ({"network.dropout": 1}, "less than 1"),
        ({"training.learning_rate": 0}, "greater than 0"),
        ({"training.epochs": 0}, "at least 1"),
        ({"training.epochs": "1.5"}, "a whole number, got '1.5'"),
        ({"training.epochs": True}, "a whole number, got True"),
        ({"run.ignore_memory": 1}, "run.ignore_memory must be true or false, got 1"),
        ({"run.ignore_memory": "yes"}, "true or false, got 'yes'"),
        ({"training.momentum": "high"}, "a number, got 'high'"),
        ({"network.activation": "sine"}, "one of 'all_relu', 'relu', 'leaky_relu', 'gelu', 'tanh'; got 'sine'"),
        ({"training.zetta": 0.3}, "Unknown setting 'training.zetta'. Did you mean 'training.zeta'?"),
        ({"zetta": 0.3}, "Did you mean 'training.zeta'?"),
        ({"qqq": 0.3}, "known are: data.name"),
    ],
)
def test_replace__names_bad_settings(settings, fragment):
    with pytest.raises(ConfigError, match=None) as error:
        Config().replace(settings)
    assert fragment in str(error.value)


@pytest.mark.parametrize(("given", "value"), [("true", True), ("false", False), (True, True)])
def test_switch__is_read_from_text(given, value):
    assert Config().replace({"run.ignore_memory": given}).run.ignore_memory is value


@pytest.mark.parametrize(
    ("text", "fragment"),
    [
        ("[trainin]\nzeta = 0.3", "Unknown section [trainin]. Did you mean 'training'?"),
        ("[training]\nzetta = 0.3", "Did you mean 'training.zeta'?"),
        ("training = 3", "[training] must hold settings, got 3"),
        ("[training\n", "not valid TOML"),
    ],
)
def test_toml__faults_are_named(tmp_path, text, fragment):
    path = tmp_path / "bad.toml"
    path.write_text(text)
    with pytest.raises(ConfigError) as error:
        Config.from_toml(path)
    assert fragment in str(error.value)


def test_toml__a_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"none\.toml"):
        Config.from_toml(tmp_path / "none.toml")


def test_describe__has_help_for_every_setting():
    for name in setting_names():
        assert describe(name).help.endswith("."), name


def test_replace__takes_short_names():
    config = Config().replace(zeta=0.2, hidden=(5, 6), seed="3")
    assert (config.training.zeta, config.network.hidden, config.run.seed) == (0.2, (5, 6), 3)
    assert config == Config().replace({"zeta": 0.2, "network.hidden": "5-6", "run.seed": 3})
    assert Config.preset("madelon").replace(zeta=0.2).data.name == "madelon"


def test_replace__takes_names_of_earlier_versions():
    assert Config().replace({"network.topology": "dense"}).training.method == "dense"


def test_short_name__in_two_sections_is_ambiguous(monkeypatch):
    names = (*setting_names(), "parallel.zeta")
    monkeypatch.setattr("tsnn.config.configuration.setting_names", lambda: names)
    with pytest.raises(ConfigError, match=r"'zeta' may mean 'training\.zeta' or 'parallel\.zeta'. Name the section"):
        Config().replace(zeta=0.2)


def test_short_name__that_is_unknown_gets_a_proposal():
    with pytest.raises(ConfigError, match=r"Unknown setting 'learning_rat'. Did you mean 'training\.learning_rate'\?"):
        Config().replace(learning_rat=0.2)


@pytest.mark.parametrize(
    ("given", "value"),
    [("id, date", ("id", "date")), ('["a,b", "c"]', ("a,b", "c")), (["a", 5], ("a", "5")), ("", ()), ("5", ("5",))],
)
def test_names__are_read_in_every_usual_notation(given, value, tmp_path):
    config = Config().replace({"data.drop": given})
    assert config.data.drop == value
    (tmp_path / "t.toml").write_text(config.to_toml())
    assert Config.from_toml(tmp_path / "t.toml") == config
    with pytest.raises(ConfigError, match=r"data\.drop must be names separated by commas"):
        Config().replace({"data.drop": 5})


def test_header__may_be_a_truth_value(tmp_path):
    (tmp_path / "t.toml").write_text("[data]\nheader = false\n")
    assert Config.from_toml(tmp_path / "t.toml").data.header == "false"
    with pytest.raises(ConfigError, match="'auto', 'true', 'false'; got 'yes'"):
        Config().replace({"data.header": "yes"})


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((69, 22_283, None), {"network.hidden": (500, 500), "training.epochs": 30}),
        ((200, 20_000, None), {"network.hidden": (500, 500), "training.epochs": 20}),
        ((100, 10, None), {"network.hidden": (256, 256), "training.batch_size": 32}),
        ((4000, 500, None), {"training.batch_size": 64, "training.epochs": 45}),
        ((60_000, 784, (28, 28)), {}),
        ((80_000, 20, None), {"network.hidden": (256, 256), "training.epochs": 22}),
        ((10**7, 500, None), {"training.epochs": 15}),
    ],
)
def test_preset_for_shape__suits_wide_small_and_large_data(shape, expected):
    suggested = preset_for_shape(*shape)
    assert suggested.items() >= expected.items()
    assert bool(suggested) == bool(expected)
    kept = preset_for_shape(*shape, keeps_best=True)
    falling = {"training.learning_rate_schedule": "coslog4"} if "training.evolve_until" in kept else {}
    assert kept == suggested | falling, "the rate of wide tables is constant, images keep the defaults"
    Config().replace(suggested)


@pytest.mark.parametrize(
    "change", [{"data.target": "\ud800"}, {"data.name": "caf\udce9.csv"}, {"data.drop": ["a", "\udcff"]}]
)
def test_replace__refuses_text_that_cannot_be_written_to_a_file(change):
    with pytest.raises(ConfigError, match=r"data\.(target|name|drop) must be UTF-8 text"):
        Config().replace(change)
