"""Registries: a rule that is registered appears everywhere by itself; errors name the fault."""

import sys
from pathlib import Path

import numpy as np
import pytest

import tsnn
from tests.property import test_evolution as properties
from tsnn.cli import main
from tsnn.config import Config, describe
from tsnn.datasets import load_dataset
from tsnn.datasets.raw import RawData
from tsnn.engine.memory import memory_estimate
from tsnn.engine.regrowth import FreePositions
from tsnn.errors import ConfigError, DataError
from tsnn.execution.engine import execute
from tsnn.registry import ACTIVATIONS, PRUNING, READERS, REGROWTH, Registry, recorded_registries
from tsnn.runs.comparison import table
from tsnn.runs.results import result

APP = Path(tsnn.__file__).parents[1] / "app"


def grow_at_busy_inputs(free: FreePositions, rows: np.ndarray, columns: np.ndarray):
    """At the candidates whose inputs have most connections."""
    t = free.topology
    degrees = np.bincount(t.rows()[free.survives], minlength=t.n_in)
    return degrees[rows].astype(np.float32)


@pytest.fixture
def busy():
    """The name of a new regrowth rule, registered for one test."""
    REGROWTH.register(
        "busy", help="at inputs with many connections, among 5 candidates each", candidates=5, bytes_per_candidate=12
    )(grow_at_busy_inputs)
    yield "busy"
    REGROWTH.unregister("busy")


def test_new_rule__is_a_choice_of_its_setting(busy):
    assert Config().replace(regrow=busy).training.regrow == busy
    assert busy in describe("regrow").choices
    assert "'busy': at inputs with many connections" in describe("regrow").help


def test_new_rule__is_gone_when_unregistered():
    assert "busy" not in REGROWTH
    with pytest.raises(ConfigError, match=r"training\.regrow must be one of 'random', 'gradient', .*; got 'busy'"):
        Config().replace(regrow="busy")


def test_new_rule__is_in_the_command_lines_help(busy, capsys):
    with pytest.raises(SystemExit):
        main(["train", "--help"])
    assert "'busy': at inputs with many connections" in " ".join(capsys.readouterr().out.split())


def test_new_rule__is_an_option_of_the_form(busy, monkeypatch):
    monkeypatch.setattr(sys, "path", [str(APP), *sys.path])
    settings = pytest.importorskip("pages.settings")
    options = settings.setting_widget("training.regrow", Config()).options
    assert busy in (options.values() if isinstance(options, dict) else options)


def test_new_rule__trains_and_is_a_column_of_comparisons(busy, filed, tmp_path):
    store = tsnn.RunStore(tmp_path / "runs")
    runs = [store.create(filed.replace(regrow=regrow)) for regrow in ("random", busy)]
    for run in runs:
        list(execute(run))
    records = runs[1].records()
    assert {record.connections for record in records} == {records[0].connections}
    assert records[0].layers[0].grown == records[0].layers[0].pruned > 0
    columns = {column.title: column.values for column in table([result(run) for run in runs])}
    (values,) = (values for title, values in columns.items() if "regr" in title.lower())
    assert values[0] == "random"
    assert values[1].startswith("busy (")


def test_new_rule__counts_in_the_memory_estimate(busy):
    config = Config().replace(hidden=(10_000, 10_000))
    random, ours = (memory_estimate(config.replace(regrow=regrow), 784, 10, 100) for regrow in ("random", busy))
    grown = int(0.3 * 20 * 20_000)
    assert ours.items["evolution"] - random.items["evolution"] == 5 * 12 * grown


def test_new_rule__has_the_properties_of_every_rule(busy):
    assert busy in REGROWTH
    properties.test_evolution__keeps_count_survivors_and_order(prune="signed", regrow=busy)
    properties.test_evolution__gives_dead_neurons_no_connection(regrow=busy)


def test_new_rule__can_be_used_by_an_estimator(busy, blobs):
    model = tsnn.SparseMLPClassifier(hidden=(20,), epsilon=3, epochs=3, regrow=busy, random_state=0)
    assert model.fit(np.asarray(blobs.x_train), blobs.y_train).network_.connections > 0


def test_new_reader__reads_files_of_its_suffix(tmp_path):
    @READERS.register(".numbers", help="one sample a line, the class last")
    def read(path, target):
        values = np.loadtxt(path)
        return RawData(path.stem, values[:, :-1], values[:, -1].astype(int), None, None, path.name)

    try:
        np.savetxt(tmp_path / "small.numbers", np.column_stack([np.arange(24.0), np.arange(24) % 2]))
        data = load_dataset(tmp_path / "small.numbers", rng=np.random.default_rng(0))
        assert (data.name, data.n_features, data.n_outputs) == ("small", 1, 2)
        with pytest.raises(DataError, match=r"a \.npy, \.npz, .* or \.numbers file"):
            load_dataset("unknown", rng=np.random.default_rng(0))
    finally:
        READERS.unregister(".numbers")


def test_registries__hold_the_built_in_rules():
    assert list(PRUNING) == ["signed", "magnitude", "soft_magnitude", "relative_importance", "mest", "threshold"]
    assert list(REGROWTH) == ["random", "gradient", "gse", "cht", "cht_ch2", "chts"]
    assert list(ACTIVATIONS) == ["all_relu", "relu", "leaky_relu", "gelu", "tanh"]
    assert list(READERS) == [
        ".npy", ".npz", ".csv", ".tsv", ".txt", ".data", ".parquet", ".pq", ".feather", ".arff", ".xlsx", ".gz", ".bz2",
        ".xz", ".zip",
    ]  # fmt: skip
    for registry in (PRUNING, REGROWTH, ACTIVATIONS, READERS):
        assert all(rule.help and rule.name == name for name, rule in registry.items())


def test_registry__refuses_a_name_that_is_taken():
    with pytest.raises(ConfigError, match="There is a pruning rule 'signed' already"):
        PRUNING.register("signed", help="again")


def test_registry__refuses_an_unknown_need():
    registry = Registry("rule")
    with pytest.raises(ConfigError, match=r"can need one of .*; got 'luck'"):
        registry.register("lucky", help="by luck", needs="luck")
    assert not registry


@pytest.mark.parametrize(
    ("decorate", "called"),
    [
        (tsnn.pruning("odd"), r"weights, zeta"),
        (tsnn.regrowth("odd"), r"free, count, rng"),
        (tsnn.regrowth("odd", candidates=5), r"free, rows, columns"),
        (tsnn.schedule("odd"), r"progress"),
        (tsnn.optimizer("odd", state=("sums",)), r"weights, gradient, sums, rates"),
    ],
)
def test_rule__that_takes_other_arguments_is_refused_where_it_is_defined(decorate, called):
    def odd(one, two, three, four, five):
        """Odd."""

    with pytest.raises(ConfigError, match=rf"'odd' takes \(one, two.*; it is called as rule\({called}\)"):
        decorate(odd)
    assert not any("odd" in registry for registry in recorded_registries().values())


def test_registry__names_the_known_rules_when_one_is_not_there():
    with pytest.raises(ConfigError, match=r"There is no regrowth rule 'best'; known are 'random', 'gradient'"):
        REGROWTH.unregister("best")
