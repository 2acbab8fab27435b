"""Schedule of phase 1 (arXiv 2102.01732, section 3.4): updates per epoch, last epoch, factor of the learning rate."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from tsnn.config import Config
from tsnn.errors import ConfigError


@dataclass(frozen=True)
class Phase1Schedule:
    """Schedule of phase 1 of a parallel run.

    Attributes
    ----------
    workers : int
        Their number.
    mode : str
        ``parallel.mode``.
    updates_per_epoch : int
        Updates of the server that make an epoch.
    last_epoch : int
        The last epoch of phase 1.
    warmup : float
        ``parallel.warmup``, in epochs.
    """

    workers: int
    mode: str
    updates_per_epoch: int
    last_epoch: int
    warmup: float

    @classmethod
    def plan(cls, shard_sizes: Collection[int], config: Config) -> Phase1Schedule:
        """Return the schedule for workers with shards of these numbers of samples.

        Raises
        ------
        ConfigError
            If there are fewer batches than workers, or the dense half of two-phase training does not fit into phase 1.
        """
        parallel, workers = config.parallel, len(shard_sizes)
        samples, size = sum(shard_sizes), config.training.batch_size
        if workers > (available := -(-samples // size)):
            raise ConfigError(
                f"{workers} workers need a batch each, but {samples} training samples make {available} batches of "
                f"{size}. Try parallel.workers={available}, or a smaller training.batch_size."
            )
        if config.training.method == "two_phase" and parallel.phase1_fraction < 0.5:
            raise ConfigError(
                "With training.method=two_phase the workers train one model until it is pruned, after half of the "
                f"epochs, but parallel.phase1_fraction is {parallel.phase1_fraction}. Try 0.5 or more."
            )
        batches = [-(-samples // config.training.batch_size) for samples in shard_sizes]
        updates = sum(batches) if parallel.mode == "wasap" else max(batches)
        if parallel.mode == "local":
            updates = -(-updates // parallel.period)
        last_epoch = round(parallel.phase1_fraction * config.training.epochs)
        return cls(workers, parallel.mode, updates, last_epoch, parallel.warmup)

    @property
    def gradients_per_update(self) -> int:
        """Number of workers whose gradients or models make one update."""
        return 1 if self.mode == "wasap" else self.workers

    def last_rate_factor(self, epoch: int) -> float:
        """Return the factor of the learning rate in the velocities after an epoch."""
        if epoch == 0 or self.mode == "local":
            return self.rate_factor(epoch, 0)
        return self.rate_factor(epoch - 1, self.updates_per_epoch - 1)

    def rate_factor(self, epoch: int, update: int) -> float:
        """Return the factor of the learning rate after an epoch and a number of updates of the next one.

        The mean of K gradients, or of K workers' models, is one step where one process would make K: synchronous modes
        multiply the rate by K, after a linear warm-up.
        """
        if self.mode == "wasap":
            return 1.0
        epochs = epoch + update / self.updates_per_epoch
        return 1 + (self.workers - 1) * (min(1.0, epochs / self.warmup) if self.warmup else 1.0)
