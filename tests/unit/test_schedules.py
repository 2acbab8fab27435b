"""Schedules: factors of settings while a run trains, and the epochs after which the topology evolves."""

import numpy as np
import pytest

from tsnn.config import Config
from tsnn.engine import training
from tsnn.engine.network import init_network
from tsnn.engine.schedules import rates_at, zeta_at
from tsnn.engine.state import TrainingState
from tsnn.engine.training import steps, train
from tsnn.errors import ConfigError
from tsnn.records import EpochRecord, Progress
from tsnn.registry import SCHEDULES
from tsnn.views.history import History

SCHEDULED = {
    "training.learning_rate_schedule": "cosine",
    "training.warmup_epochs": 1,
    "training.weight_decay_schedule": "linear",
    "training.zeta_schedule": "linear",
    "network.dropout_schedule": "step",
    "training.epochs": 4,
}


@pytest.mark.parametrize(
    ("name", "factors"),
    [
        ("constant", [1, 1, 1, 1, 1]),
        ("cosine", [1, 0.5 + 0.5**1.5, 0.5, 0.5 - 0.5**1.5, 0]),
        ("linear", [1, 0.75, 0.5, 0.25, 0]),
        ("step", [1, 1, 0.1, 0.01, 0.01]),
    ],
)
def test_schedule__has_its_values_at_each_quarter(name, factors):
    assert [SCHEDULES[name](t) for t in (0, 0.25, 0.5, 0.75, 1)] == pytest.approx(factors)


def test_coslog4__is_zero_where_its_waves_meet():
    schedule = SCHEDULES["coslog4"]
    assert [schedule((2**k - 1) / 15) for k in range(5)] == pytest.approx([0] * 5, abs=1e-9)
    assert [schedule((2 ** (k + 0.5) - 1) / 15) for k in range(4)] == pytest.approx([1] * 4)


@pytest.mark.parametrize("name", list(SCHEDULES))
def test_schedule__stays_between_zero_and_one(name):
    assert all(-1e-12 <= SCHEDULES[name](t) <= 1 + 1e-12 for t in np.linspace(0, 1, 301))


def test_rates__are_products_of_settings_and_factors():
    config = Config().replace({**SCHEDULED, "training.learning_rate": 0.4, "network.dropout": 0.2})
    assert rates_at(config, 0.25) == pytest.approx((0.9, 0.4 * 0.25 * SCHEDULES["cosine"](1 / 16), 2e-4 * 15 / 16, 0.2))
    assert rates_at(config, 2) == pytest.approx((0.9, 0.2, 1e-4, 0.02))
    assert rates_at(config, 9) == rates_at(config, 4)  # a worker may be ahead


def test_training__takes_the_rates_of_each_step(blobs, tiny, monkeypatch):
    config, taken = tiny.replace(SCHEDULED), []

    def spy(*args, rates, **options):
        taken.append(rates)
        return original(*args, rates=rates, **options)

    original = training.train_batch
    monkeypatch.setattr(training, "train_batch", spy)
    rng = np.random.default_rng(0)
    list(train(init_network(12, 3, config, rng=rng), blobs, config, rng=rng))
    starts = [epoch + done / 90 for epoch in range(4) for done in (0, 32, 64)]
    assert taken == [rates_at(config, epochs) for epochs in starts]


def test_evolution__replaces_less_by_the_schedule(blobs, tiny):
    config = tiny.replace({"training.zeta": 0.4, "training.zeta_schedule": "linear", "training.epochs": 4})
    assert [zeta_at(config, epoch) for epoch in (1, 2, 3)] == pytest.approx([0.3, 0.2, 0.1])
    rng = np.random.default_rng(0)
    records = list(train(init_network(12, 3, config, rng=rng), blobs, config.replace(prune="magnitude"), rng=rng))
    for record in records[:-1]:
        expected = [int(zeta_at(config, record.epoch) * layer.connections) for layer in record.layers[:-1]]
        assert [layer.pruned for layer in record.layers[:-1]] == expected


def test_evolution__is_every_few_epochs_until_a_fraction_of_them(blobs, tiny):
    config = tiny.replace({"training.epochs": 10, "training.evolve_every": 2, "training.evolve_until": 0.7})
    rng = np.random.default_rng(0)
    records = list(train(init_network(12, 3, config, rng=rng), blobs, config, rng=rng))
    assert [record.epoch for record in records if record.layers[0].grown] == [2, 4, 6]


def test_evolution__applies_a_changed_epsilon_at_once_without_replacing_more(blobs, tiny):
    config = tiny.replace({"training.epochs": 4, "training.evolve_every": 4})
    rng = np.random.default_rng(0)
    state = TrainingState.begin(init_network(12, 3, config, rng=rng), config, rng=rng)
    before = state.network.layers[0].topology.connections
    state.pending = config.replace(epsilon=3)
    record = next(item for item in steps(state, blobs) if isinstance(item, EpochRecord))
    assert record.layers[0].connections - before == record.layers[0].grown > 0
    assert record.layers[0].pruned == 0


def test_state__continues_a_scheduled_run_with_the_same_bits(blobs, tiny):
    config, rng = tiny.replace(SCHEDULED), np.random.default_rng(0)
    state = TrainingState.begin(init_network(12, 3, config, rng=rng), config, rng=rng)
    stepping = steps(state, blobs)
    for item in stepping:
        if isinstance(item, Progress) and (item.epoch, item.samples) == (3, 32):
            break
    other = state.copy()
    results = [[r.test_loss for r in s if isinstance(r, EpochRecord)] for s in (stepping, steps(other, blobs))]
    assert results[0] == results[1] != []


@pytest.mark.parametrize(
    ("every", "positions"),
    [
        (0.5, [(1, 64), (2, 0), (2, 64), (3, 0), (3, 64)]),  # in batches of 32, 32 and 26 of 90 samples
        (1 / 3, [(1, 32), (1, 64), (2, 0), (2, 32), (2, 64), (3, 0), (3, 32), (3, 64)]),
        (1e-6, [(1, 32), (1, 64), (2, 0), (2, 32), (2, 64), (3, 0), (3, 32), (3, 64)]),  # at most once in a batch
        (1.5, [(2, 64)]),
        (1, [(2, 0), (3, 0)]),
        (2, [(3, 0)]),
    ],
)
def test_evolution__is_due_between_batches(blobs, tiny, every, positions):
    """Positions: the epoch under way, and the samples that it has been trained on."""
    config, found = tiny.replace(evolve_every=every), []
    rng = np.random.default_rng(0)
    state = TrainingState.begin(init_network(12, 3, config, rng=rng), config, rng=rng)
    topology = state.network.layers[0].topology
    for item in steps(state, blobs):
        if state.network.layers[0].topology is not topology:
            topology = state.network.layers[0].topology
            found.append((state.epoch + 1, state.done))
            assert isinstance(item, Progress if state.done else EpochRecord)
    assert found == positions


def test_evolution__between_batches_is_counted_by_the_record_of_the_epoch(blobs, tiny):
    config = tiny.replace({"training.evolve_every": 1 / 3, "training.prune": "magnitude", "training.zeta": 0.4})
    rng = np.random.default_rng(0)
    network = init_network(12, 3, config, rng=rng)
    each = [int(0.4 * layer.topology.connections) for layer in network.layers[:-1]] + [0]
    records = list(train(network, blobs, config, rng=rng))
    for record, times in zip(records, (3, 3, 2), strict=True):  # none after the last epoch
        assert [layer.grown for layer in record.layers] == [times * count for count in each]
        assert [layer.pruned for layer in record.layers] == [times * count for count in each]
        assert record.seconds_evolve > 0


def test_evolution__between_batches_by_the_gradient_is_not_that_of_the_end_of_epochs(blobs, tiny):
    losses = {}
    for every in (1, 0.25):
        config, rng = (
            tiny.replace({"training.evolve_every": every, "training.regrow": "gradient"}),
            np.random.default_rng(0),
        )
        losses[every] = [r.test_loss for r in train(init_network(12, 3, config, rng=rng), blobs, config, rng=rng)]
    assert losses[1] != losses[0.25]


def test_evolution__between_batches_needs_one_process(tiny):
    with pytest.raises(ConfigError, match=r"evolve_every=0\.5 evolves between two batches.*parallel\.workers=0"):
        tiny.replace({"training.evolve_every": 0.5, "parallel.workers": 2})
    assert tiny.replace({"training.evolve_every": "2", "parallel.workers": 2}).training.evolve_every == 2


def test_records__hold_the_applied_values_of_scheduled_settings(blobs, tiny):
    rng = np.random.default_rng(0)
    config = tiny.replace(SCHEDULED)
    records = list(train(init_network(12, 3, config, rng=rng), blobs, config, rng=rng))
    training = config.training
    assert [record.settings["learning_rate"] for record in records] == [training.learning_rate] * 4
    for record in records:
        rates = rates_at(config, record.epoch - 0.5)
        assert record.scheduled["learning_rate"] == rates.learning_rate < training.learning_rate
        assert record.scheduled["zeta"] == zeta_at(config, record.epoch) < training.zeta
        assert record.scheduled.get("dropout", config.network.dropout) == rates.dropout
    history = History.of(records)
    assert history["zeta"].tolist() == [record.scheduled["zeta"] for record in records]
    assert EpochRecord.from_dict(records[0].to_dict()) == records[0]
    rng = np.random.default_rng(0)
    assert all(not r.scheduled for r in train(init_network(12, 3, tiny, rng=rng), blobs, tiny, rng=rng))
