"""What was hoped for, and whether it came true; and the table that the README quotes."""

from dataclasses import dataclass, field

from tests.benchmarks.contestants import OURS
from tests.benchmarks.scaling import steadiness
from tests.benchmarks.works import CIFAR, DENSITIES, FASHION

PUBLISHED, DENSE, UNLOCKED = "published step", "PyTorch dense", "PyTorch dense, AVX-512 unlocked"
OTHER_SPARSE = ("PyTorch CSR", "PyTorch CSR, by hand", "PyTorch masked")


@dataclass
class Findings:
    """All that a run of the benchmarks measured."""

    steps: dict = field(default_factory=dict)  # (work, threads) -> step.Comparison
    gains: dict = field(default_factory=dict)  # work -> Spread
    shares: dict = field(default_factory=dict)  # work -> evolution.Shares
    rungs: list = field(default_factory=list)
    starts: tuple = ()
    crowded: set = field(default_factory=set)  # numbers of threads for which the machine had not enough cores free

    def ratio(self, work, threads, peer):
        """Median ratio to a peer, or None if it was not measured."""
        comparison = None if threads in self.crowded else self.steps.get((work.name, threads))
        result = comparison and comparison.results.get(peer)
        return result.ratio.median if result else None


def judged(found):
    """Yield (target, value, limit, whether more is better) for all that was measured."""
    for work, threads, peer, least in (
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
        yield f"{work.name}, {threads_text}: times faster than {peer}", found.ratio(work, threads, peer), least, True
    for name, parts in found.shares.items():
        ratio = parts.ratio and parts.ratio.median
        yield f"{name}: evolution of a layer, times faster than sparselab's", ratio, 20, True
        yield f"{name}: evolution, % of an epoch", 100 * parts.evolve_share.median, 3, False
        yield f"{name}: evaluation, % of an epoch", 100 * parts.evaluate_share.median, 5, False
    for work in (FASHION, CIFAR):
        gain = None if found.crowded else found.gains.get(work.name)
        yield f"{work.name}: two threads, times one", gain and gain.median, 1.7, True
    if found.rungs and found.rungs[-1][0].connections >= 1e7:
        change = 100 * steadiness(found.rungs)
        yield "time per connection from 1e5 to 1e7, % change within a cache level", change, 25, False
    if found.starts:
        yield "start with nothing compiled, seconds to the first batch", found.starts[0], 20, False
        yield "start from the kernel cache, seconds to the first batch", found.starts[1], 2, False


def report(found):
    """Lines of Markdown: the table for the README, then a line per target."""
    peers = [PUBLISHED, DENSE, UNLOCKED, "sparselab", "PyTorch CSR, by hand"]
    if found.steps:
        yield from ("## In short", "", "Times that tsnn is faster:", "")
        yield "| network | connections | threads | tsnn, s / epoch | " + " | ".join(peers) + " |"
        yield "|---|---|---|---|" + "---|" * len(peers)
    for (name, threads), comparison in found.steps.items():
        if threads in found.crowded:
            continue
        ours = comparison.results[OURS]
        ratios = [comparison.results[peer].ratio.median if peer in comparison.results else None for peer in peers]
        cells = ["" if ratio is None else f"{ratio:.0f}" if ratio >= 10 else f"{ratio:.1f}" for ratio in ratios]
        seconds = ours.time.median * ours.work.batches
        yield f"| {name} | {ours.work.connections:,} | {threads} | {seconds:.3g} | " + " | ".join(cells) + " |"
    lines = [line(*target) for target in judged(found) if target[1] is not None]
    if lines:
        yield from ("", "## Targets", "", *lines)


def line(target, value, limit, more):
    met = value >= limit if more else value <= limit
    return f"- {'met' if met else 'NOT MET'}: {target}: {value:.3g} ({'at least' if more else 'at most'} {limit})"
