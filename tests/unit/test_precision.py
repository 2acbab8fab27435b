"""Training with activations in 16 bits: losses, equal bits, evolution by gradient, curves, memory, workers."""

import numpy as np
import pytest
from scipy.sparse import csr_array

from tests.support.ranks import Threads
from tsnn.config import Config
from tsnn.datasets import make_dataset
from tsnn.engine.memory import memory_estimate
from tsnn.engine.network import init_network
from tsnn.engine.training import train
from tsnn.engine.workspace import Workspace
from tsnn.errors import ConfigError
from tsnn.records import EpochRecord

PRECISIONS = "bfloat16", "float32"


def run(data, config, precision="bfloat16", **changes):
    config = config.replace({"training.precision": precision, **changes})
    rng = np.random.default_rng(3)
    network = init_network(data.n_features, data.n_outputs, config, rng=rng)
    return network, list(train(network, data, config, rng=rng))


def bits(network):
    return [a.tobytes() for layer in network.layers for a in (layer.weights, layer.topology.indices, layer.bias)]


@pytest.fixture
def longer(tiny):
    return tiny.replace({"training.epochs": 12, "network.dropout": 0, "training.zeta": 0.1})


def test_bfloat16__loses_as_float32_does_up_to_rounding(blobs, longer):
    half, whole = (run(blobs, longer, precision, **{"training.zeta": 0})[1] for precision in PRECISIONS)
    assert half[0].train_loss != whole[0].train_loss
    assert half[0].train_loss == pytest.approx(whole[0].train_loss, rel=0.02)
    assert half[-1].train_loss == pytest.approx(whole[-1].train_loss, rel=0.2)


@pytest.mark.parametrize("regrow", ["random", "gradient", "gse"])
def test_bfloat16__learns_while_the_topology_evolves(blobs, longer, regrow):
    """Rules read widened activations and gradients."""
    _, records = run(blobs, longer, **{"training.regrow": regrow})
    assert records[-1].test_accuracy > 0.8


@pytest.mark.parametrize("changes", [{}, {"network.activation": "gelu"}, {"training.optimizer": "adamw"}])
def test_bfloat16__gives_the_same_bits_for_any_number_of_threads(blobs, longer, changes):
    config = longer.replace({"training.epochs": 2, **changes})
    (one, records), (two, _) = (run(blobs, config, **{"run.threads": threads}) for threads in (1, 2))
    assert bits(one) == bits(two)
    assert records[-1].train_loss < records[0].train_loss


def test_bfloat16__reads_sparse_features(blobs, longer, rng):
    x = np.where(rng.random((120, 30)) < 0.2, rng.normal(size=(120, 30)), 0)
    y = (x[:, 0] + x[:, 1] > 0).astype(int)
    data = make_dataset(csr_array(x), y, rng=rng)
    half, whole = (run(data, longer, precision)[1] for precision in PRECISIONS)
    assert half[0].train_loss == pytest.approx(whole[0].train_loss, rel=0.02)


def test_bfloat16__halves_the_activations():
    sizes, width = (1000, 500, 200, 10), 128
    half, whole = (Workspace(sizes, width, precision=precision) for precision in PRECISIONS)
    assert [a.nbytes for a in half.activations] == [a.nbytes // 2 for a in whole.activations[:-1]] + [10 * width * 4]
    config = Config().replace(hidden=(500, 200), precision="bfloat16", micro_batch=width)
    buffers = sum(array.nbytes for array in (*half.activations, *half.masks))
    assert memory_estimate(config, 1000, 10, 100).items["activations"] == buffers


def test_workspace__returns_what_was_put(rng):
    workspace = Workspace((6, 4), 20, precision="bfloat16")
    values = np.float32(rng.integers(-100, 100, (6, workspace.width)))  # eight bits hold them
    workspace.put(0, values)
    assert (workspace.width, workspace.activations[0].dtype) == (32, np.uint16)
    np.testing.assert_array_equal(workspace.values(0), values)
    assert workspace.values(1) is workspace.activations[1]


@pytest.mark.parametrize("phase1", [0.0, 1.0])
def test_workers__train_with_bfloat16(blobs, tiny, phase1):
    config = tiny.replace({"parallel.workers": 2, "training.batch_size": 16, "training.epochs": 12})
    config = config.replace({"training.learning_rate": 0.01, "network.dropout": 0, "training.zeta": 0.1})
    config = config.replace({"parallel.phase1_fraction": phase1, "training.precision": "bfloat16"})
    records = [item for item in Threads(blobs, config) if isinstance(item, EpochRecord)]
    assert records[-1].train_loss < records[0].train_loss


def test_compact__is_refused_with_bfloat16():
    with pytest.raises(ConfigError, match=r"run\.compact .*Set run\.compact=False, or training\.precision='float32'"):
        Config().replace(compact=True, precision="bfloat16")
