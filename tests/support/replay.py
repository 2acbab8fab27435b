"""Sequential replay of an asynchronous run: order and staleness of its gradients determine the weights.

``mpiexec -n 3 python -m mpi4py -m tests.support.replay MODE`` replays a run over MPI on its rank 0; a synchronous run
is compared with one over threads.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any
from unittest import mock

import numpy as np

from tests.support.ranks import Threads, begin
from tsnn import kernels
from tsnn.config import Config
from tsnn.datasets import Dataset, make_dataset, shard
from tsnn.engine.batches import Batch, batch_gradient
from tsnn.engine.epochs import begin_epoch, end_epoch
from tsnn.engine.network import Network, init_network
from tsnn.engine.state import KEYS, TrainingState
from tsnn.engine.training import make_workspace
from tsnn.kernels.wire import GradientHead
from tsnn.parallel import worker
from tsnn.parallel.averaging import bind, flatten, retain_valid, trace_connections
from tsnn.parallel.channel import Service
from tsnn.parallel.server import serve
from tsnn.records import EpochRecord, Progress


def assert_replayed(
    items: Sequence[Progress | EpochRecord], state: TrainingState, data: Dataset, config: Config
) -> int:
    """Compare the model of a run that yielded these items with its replay, bit for bit; returns the updates."""
    updates = [item for item in items if isinstance(item, Progress) and item.worker]
    network = replay(data, config, [item.worker for item in updates], [item.staleness for item in updates])
    assert_same_bits(state.network, network)
    return len(updates)


def assert_same_bits(network: Network, expected: Network) -> None:
    """Compare topology, weights, bias and velocity."""
    for one, other in zip(network.layers, expected.layers, strict=True):
        assert one.topology.indices.tobytes() == other.topology.indices.tobytes()
        assert one.weights.tobytes() == other.weights.tobytes()
        assert one.bias.tobytes() == other.bias.tobytes()
        assert one.velocity.tobytes() == other.velocity.tobytes()


def replay(data: Dataset, config: Config, order: Sequence[int], staleness: Sequence[int]) -> Network:
    """Return the network of a sequential replay: gradients of these workers with this staleness, in order."""
    state, rng = begin(data, config)
    shards = [shard(data, w, config.parallel.workers) for w in range(config.parallel.workers)]
    models: dict[int, tuple[Network, tuple[Any, Any], int, int]] = {}
    states: dict[int, TrainingState] = {}
    weights, velocity = flatten(state.network)
    traces: dict[int, Any] = {}
    workspace, version, updates = make_workspace(state, data), 0, 0
    topologies = {0: [layer.topology for layer in state.network.layers]}

    def send_model(w: int) -> None:
        network = init_network(data.n_features, data.n_outputs, config, rng=np.random.default_rng(0))
        for layer, t in zip(network.layers, topologies[version], strict=True):
            layer.topology = t
        own = weights.copy(), np.zeros_like(weights)
        bind(network, *own)
        if w not in states:
            states[w] = TrainingState.begin(network, config, rng=worker.worker_rng(rng, w + 1, state.epoch))
        models[w] = network, own, version, updates

    first = {
        rank: i - staleness[i] for i, rank in reversed(list(enumerate(order)))
    }  # update at which each got its first model
    per_epoch = sum(-(-len(part.x_train) // config.training.batch_size) for part in shards)
    for i, (rank, stale_updates) in enumerate(zip(order, staleness, strict=True)):
        if i % per_epoch == 0:
            begin_epoch(state, data, workspace)
        for beginner in (rank for rank in first if first[rank] == i):
            send_model(beginner - 1)
        w = rank - 1
        network, (_, gradient), of_version, base = models[w]
        own, part = states[w], shards[w]
        if own.done >= len(own.order):
            own.order, own.done = own.shuffle.permutation(len(part.x_train)), 0
        chosen = own.order[own.done : own.done + config.training.batch_size]
        own.done += len(chosen)
        batch, buffers = Batch.of(part, chosen), make_workspace(own, part)
        loss, _ = batch_gradient(network, buffers, batch, dropout=config.network.dropout, key=own.key)
        own.key = (own.key + len(network.layers)) % KEYS
        state.loss += loss
        assert updates - base == stale_updates
        for step in range(of_version, version):
            gradient = retain_valid(gradient, traces[step])
        t = config.training
        kernels.momentum_step(gradient, t.momentum, t.learning_rate, t.weight_decay, True, weights, velocity)
        updates += 1
        if (i + 1) % per_epoch == 0:
            end_epoch(state, data, workspace)
            topologies[version + 1] = [layer.topology for layer in state.network.layers]
            traces[version] = trace_connections(topologies[version], topologies[version + 1])
            version += 1
            weights, velocity = flatten(state.network)
        send_model(w)
    return state.network


def main() -> None:
    """Train as one of the ranks; rank 0 prints the number of gradients, and of those that compiled code applied."""
    from tsnn.parallel.mpi import MpiChannel

    channel, rng = MpiChannel(), np.random.default_rng(7)
    x, y = rng.normal(size=(735, 12)), rng.integers(3, size=735)
    data = make_dataset(x, y, rng=rng)
    settings: dict[str, Any] = {
        "parallel.workers": channel.workers,
        "parallel.phase1_fraction": 1,
        "training.epochs": 5,
    }
    settings |= {"network.hidden": [10, 10], "network.epsilon": 2, "training.batch_size": 16}
    settings |= {"parallel.mode": sys.argv[1], "parallel.warmup": 3}
    config = Config().replace(settings)
    state, worker_rng = begin(data, config)
    if channel.rank:
        worker.work(channel, data, config, rng=worker_rng)
    else:
        compiled, answer = [], channel.answer_gradients

        def counted(service: Service, seconds: float) -> list[tuple[int, GradientHead]]:
            compiled.append(answer(service, seconds))
            return compiled[-1]

        with mock.patch.object(channel, "answer_gradients", counted):
            items = list(serve(channel, state, data))
        if config.parallel.mode == "wasap":
            gradients = assert_replayed(items, state, data, config)
        else:
            threads = Threads(data, config)
            records, expected = ([item for item in run if isinstance(item, EpochRecord)] for run in (items, threads))
            assert [record.train_loss for record in records] == [record.train_loss for record in expected]
            gradients = sum(worker.batches for record in expected for worker in record.workers)
            assert_same_bits(state.network, threads.state.network)
        sys.stdout.write(f"{gradients} {sum(map(len, compiled))}")
    channel.close()


if __name__ == "__main__":
    main()
