"""Targets and whether they are met, and the summary table that the README of this folder quotes."""

from dataclasses import dataclass, field

from tests.benchmarks.growth import largest_change
from tests.benchmarks.peers import NARROW, OURS
from tests.benchmarks.workloads import CIFAR, DENSITIES, FASHION

PUBLISHED, DENSE, UNLOCKED = "published step", "PyTorch dense", "PyTorch dense, AVX-512 unlocked"
OTHER_SPARSE = ("PyTorch CSR", "PyTorch CSR, by hand", "PyTorch masked")


@dataclass
class Results:
    """Measurements of one run of the benchmarks."""

    steps: dict = field(default_factory=dict)  # (workload, threads) -> step.Comparison
    gains: dict = field(default_factory=dict)  # workload -> Spread
    fractions: dict = field(default_factory=dict)  # workload -> evolution.Fractions
    growth: list = field(default_factory=list)  # see growth.measure
    starts: tuple = ()
    busy: set = field(default_factory=set)  # numbers of threads for which too few cores were free
    limits: dict = field(default_factory=dict)  # threads -> limits.measure_limits

    def ratio(self, workload, threads, peer):
        """Median ratio to a peer, or None if it was not measured."""
        comparison = None if threads in self.busy else self.steps.get((workload.name, threads))
        result = comparison and comparison.results.get(peer)
        return result.ratio.median if result else None


def measured_targets(results):
    """Yield (target, value, limit, whether more is better) for all that was measured."""
    for workload, threads, peer, least in (
        (FASHION, 1, PUBLISHED, 24),
        (CIFAR, 1, PUBLISHED, 22),
        (CIFAR, 2, PUBLISHED, 30),
        (FASHION, 1, UNLOCKED, 13),
        (CIFAR, 1, UNLOCKED, 28),
        (FASHION, 1, DENSE, 22),
        (CIFAR, 1, DENSE, 40),
        *[(DENSITIES[density], 1, "sparselab", 4) for density in (0.01, 0.05, 0.1)],
        *[(DENSITIES[density], 1, peer, 3.5) for density in (0.01, 0.05, 0.1) for peer in OTHER_SPARSE],
        (DENSITIES[0.2], 1, DENSE, 1),
        (DENSITIES[0.2], 1, UNLOCKED, 1),
    ):
        threads_text = f"{threads} thread{'s' if threads > 1 else ''}"
        yield (
            f"{workload.name}, {threads_text}: times faster than {peer}",
            results.ratio(workload, threads, peer),
            least,
            True,
        )
    for workload in (FASHION, CIFAR):
        narrow = results.ratio(workload, 1, NARROW)
        yield f"{workload.name}, 1 thread: times faster in 16 bits", narrow and 1 / narrow, 1.4, True
    for name, parts in results.fractions.items():
        ratio = parts.ratio and parts.ratio.median
        yield f"{name}: evolution of a layer, times faster than sparselab's", ratio, 20, True
        yield f"{name}: evolution, % of an epoch", 100 * parts.evolve_fraction.median, 3, False
        yield f"{name}: evaluation, % of an epoch", 100 * parts.evaluate_fraction.median, 5, False
    for workload in (FASHION, CIFAR):
        gain = None if results.busy else results.gains.get(workload.name)
        yield f"{workload.name}: two threads, compared with one", gain and gain.median, 1.7, True
    if results.growth and results.growth[-1][0].connections >= 1e7:
        change = 100 * largest_change(results.growth)
        yield "time per connection from 1e5 to 1e7, % change within a cache level", change, 25, False
    if results.starts:
        yield "start with nothing compiled, seconds to the first batch", results.starts[0], 20, False
        yield "start from the kernel cache, seconds to the first batch", results.starts[1], 2, False


def report(results):
    """Yield lines of Markdown: the summary table, then a line per target.

    The last column is how many times faster activations in 16 bits make tsnn.
    """
    peers = [PUBLISHED, DENSE, UNLOCKED, "sparselab", "PyTorch CSR, by hand"]
    if results.steps:
        yield from ("## In short", "", "How many times faster tsnn is:", "")
        yield "| network | connections | threads | tsnn, s / epoch | " + " | ".join(peers) + " | in 16 bits |"
        yield "|---|---|---|---|" + "---|" * (len(peers) + 1)
    for (name, threads), comparison in results.steps.items():
        if threads in results.busy:
            continue
        ours = comparison.results[OURS]
        ratios = [comparison.results[peer].ratio.median if peer in comparison.results else None for peer in peers]
        cells = ["" if ratio is None else f"{ratio:.0f}" if ratio >= 10 else f"{ratio:.1f}" for ratio in ratios]
        narrow = comparison.results.get(NARROW)
        cells.append(f"{1 / narrow.ratio.median:.2f}" if narrow else "")
        seconds = ours.time.median * ours.workload.batches
        yield f"| {name} | {ours.workload.connections:,} | {threads} | {seconds:.3g} | " + " | ".join(cells) + " |"
    lines = [line(*target) for target in measured_targets(results) if target[1] is not None]
    if lines:
        yield from ("", "## Targets", "", *lines)


def line(target, value, limit, more):
    """Return one target as a line of Markdown."""
    met = value >= limit if more else value <= limit
    return f"- {'met' if met else 'NOT MET'}: {target}: {value:.3g} ({'at least' if more else 'at most'} {limit})"
