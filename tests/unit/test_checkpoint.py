"""Networks in files: the same network comes back, and damage is named."""

import numpy as np
import pytest

from tsnn.checkpoint import load_network, save_network
from tsnn.errors import RunError
from tsnn.evolution import prune_neurons
from tsnn.metrics import decision_values
from tsnn.network import init_network
from tsnn.workspace import Workspace


@pytest.fixture
def network(tiny, rng):
    network = init_network(12, 3, tiny.network, rng=rng)
    prune_neurons(network, 30)
    return network


def test_a_network_comes_back_as_it_was(network, tmp_path, rng):
    save_network(network, tmp_path / "weights.npz")
    twin = load_network(tmp_path / "weights.npz")
    x = rng.normal(size=(20, 12)).astype(np.float32)
    workspace = Workspace(network.sizes, 16)
    assert (decision_values(twin, x, workspace) == decision_values(network, x, workspace)).all()
    assert all((a == b).all() for a, b in zip(twin.living, network.living, strict=True))
    assert twin.initializer == network.initializer


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        ({"format": 99}, "format 99"),
        ({"indices_0": np.full(5, 77, np.int32)}, "Row pointers"),
        ({"weights_1": np.zeros(3, np.float32)}, "but 3 weights"),
        ({"n_out_1": 11}, "not a readable tsnn network|meet"),
        ({"bias_0": np.array([{}], dtype=object)}, "pickle|Object"),
    ],
)
def test_damage_is_named(network, tmp_path, damage, words):
    path = tmp_path / "weights.npz"
    save_network(network, path)
    arrays = dict(np.load(path)) | damage
    np.savez(path, allow_pickle=True, **arrays)
    with pytest.raises(RunError, match=words):
        load_network(path)


def test_half_a_file_is_named(network, tmp_path):
    path = tmp_path / "weights.npz"
    save_network(network, path)
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(RunError, match="not a readable"):
        load_network(path)
    with pytest.raises(RunError, match=r"missing\.npz"):
        load_network(tmp_path / "missing.npz")
