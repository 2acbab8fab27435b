"""A parallel run whose ranks are threads: server and workers over LocalChannel."""

import threading

import numpy as np

from tsnn.engine.network import init_network
from tsnn.engine.state import TrainingState
from tsnn.parallel.channel import LocalChannel
from tsnn.parallel.server import serve
from tsnn.parallel.worker import work


def begin(data, config, seed=3):
    """The state that a server starts from, and the source of the workers' randomness."""
    init_rng, rng = (np.random.default_rng(s) for s in np.random.SeedSequence(seed).spawn(2))
    network = init_network(data.n_features, data.n_outputs, config, rng=init_rng)
    worker_rng = np.random.default_rng(np.random.SeedSequence(seed).spawn(2)[1])
    return TrainingState.begin(network, config, rng=rng), worker_rng


class Threads:
    """Iterate over the items; ``state`` is the server's, ``workers`` the threads."""

    def __init__(self, data, config, seed=3, channels=None):
        self.state, rng = begin(data, config, seed)
        channels = channels or LocalChannel.connect(config.parallel.workers)
        self.workers = [
            threading.Thread(target=work, args=(channel, data, config), kwargs={"rng": rng}, daemon=True)
            for channel in channels[1:]
        ]
        self.items = serve(channels[0], self.state, data)

    def __iter__(self):
        for worker in self.workers:
            worker.start()
        yield from self.items
        for worker in self.workers:
            worker.join(30)
            assert not worker.is_alive()
