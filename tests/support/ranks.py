"""A parallel run with threads as ranks: server and workers over ThreadChannel."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence

import numpy as np

from tests.support.channels import ThreadChannel
from tsnn.config import Config
from tsnn.datasets import Dataset
from tsnn.engine.network import init_network
from tsnn.engine.state import TrainingState
from tsnn.parallel.channel import Channel
from tsnn.parallel.server import serve
from tsnn.parallel.worker import work
from tsnn.records import EpochRecord, Progress


def begin(data: Dataset, config: Config, seed: int = 3) -> tuple[TrainingState, np.random.Generator]:
    """Return the initial state of a server, and the random generator of the workers."""
    init_rng, rng = (np.random.default_rng(s) for s in np.random.SeedSequence(seed).spawn(2))
    network = init_network(data.n_features, data.n_outputs, config, rng=init_rng)
    worker_rng = np.random.default_rng(np.random.SeedSequence(seed).spawn(2)[1])
    return TrainingState.begin(network, config, rng=rng), worker_rng


class Threads:
    """Iterator over the server's items; ``state`` is the server's, ``workers`` are the threads."""

    def __init__(self, data: Dataset, config: Config, seed: int = 3, channels: Sequence[Channel] | None = None):
        self.state, rng = begin(data, config, seed)
        self.channels = channels = channels or ThreadChannel.connect(config.parallel.workers)
        self.workers = [
            threading.Thread(target=work, args=(channel, data, config), kwargs={"rng": rng}, daemon=True)
            for channel in channels[1:]
        ]
        self.items = serve(channels[0], self.state, data)

    def __iter__(self) -> Iterator[Progress | EpochRecord]:
        for worker in self.workers:
            worker.start()
        yield from self.items
        for worker in self.workers:
            worker.join(30)
            assert not worker.is_alive()
