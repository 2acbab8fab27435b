"""Time of a training step, beside the peers, in alternating pairs."""

from dataclasses import dataclass, field

from tests.benchmarks.arena import Contestant, Missing, Spread, duel
from tests.benchmarks.contestants import OURS

CPU, WALL = 1, 0


@dataclass
class Result:
    """Of one side at one work on some threads."""

    name: str
    work: object
    threads: int
    wall: Spread
    cpu: Spread
    peak: int
    ratio: Spread | None = None  # CPU time on one thread, wall-clock time on several

    @property
    def time(self):
        """Seconds of a step that count: CPU time on one thread, wall-clock time on several."""
        return self.cpu if self.threads == 1 else self.wall

    @property
    def gflops(self):
        return 6 * self.work.connections * self.work.batch / self.time.median / 1e9


@dataclass
class Comparison:
    """All sides at one work."""

    results: dict[str, Result] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)


def compare(work, threads, peers, rounds):
    """Measure tsnn beside each peer; the pairs of a round follow one another at once."""
    comparison = Comparison()
    sides = {}
    try:
        for name in (OURS, *peers):
            try:
                sides[name] = Contestant(name, work, threads)
            except Missing as missing:
                comparison.missing[name] = str(missing)
        ours = sides.pop(OURS)
        rows = {name: [] for name in sides}
        alone = [] if sides else duel(ours, ours, rounds)
        for _ in range(rounds):
            for name, peer in sides.items():
                rows[name] += duel(ours, peer, 1)
        everything = alone + [row for some in rows.values() for row in some]
        comparison.results[OURS] = result(OURS, work, threads, [row[:2] for row in everything], ours.peak())
        for name, peer in sides.items():
            found = result(name, work, threads, [row[2:] for row in rows[name]], peer.peak())
            which = CPU if threads == 1 else WALL
            found.ratio = Spread(row[2 + which] / row[which] for row in rows[name])
            comparison.results[name] = found
        sides[OURS] = ours
    finally:
        for side in sides.values():
            side.close()
    return comparison


def result(name, work, threads, samples, peak):
    return Result(name, work, threads, Spread(s[WALL] for s in samples), Spread(s[CPU] for s in samples), peak)


def threads_gain(work, rounds, threads=2):
    """How many times faster tsnn is on several threads than on one, by the clock."""
    with Contestant(OURS, work, 1) as one, Contestant(OURS, work, threads) as several:
        return Spread(row[0] / row[2] for row in duel(one, several, rounds))


def l2_share(result, limits):
    """Share of the time that reading each connection's stripe twice from L2, forward and backward, would take."""
    stripes = 2 * 4 * result.work.batch * result.work.connections
    return stripes / (limits["L2"] * 1e9) / result.time.median


def table(comparison, limits):
    """Markdown rows of one work."""
    ours = comparison.results[OURS]
    work = ours.work
    kind = "CPU" if ours.threads == 1 else "clock"
    sizes = "-".join(map(str, work.sizes))
    threads = f"{ours.threads} thread{'s' if ours.threads > 1 else ''}"
    yield f"### {work.name}: {sizes}, {work.connections:,} connections, batch {work.batch}, {threads}"
    yield ""
    yield (
        f"| | step, ms (clock) | step, ms ({'CPU' if kind == 'CPU' else 'CPU of all threads'}) | epoch, s | "
        "ns / connection / sample | GFLOP/s | peak memory, MiB | tsnn is faster |"
    )
    yield "|---|---|---|---|---|---|---|---|"
    for name, one in comparison.results.items():
        yield (
            f"| {name} | {one.wall.text(2, 1e3)} | {one.cpu.text(2, 1e3)} | {one.time.median * work.batches:.3g} | "
            f"{1e9 * one.time.median / work.connections / work.batch:.4f} | {one.gflops:.1f} | {one.peak >> 20} | "
            f"{'' if one.ratio is None else one.ratio.text(1) + ' x'} |"
        )
    yield ""
    yield (
        f"tsnn: {ours.gflops / limits['multiply-add']:.0%} of the multiply-adds that registers allow, "
        f"{l2_share(ours, limits):.0%} of the limit by L2 bandwidth."
    )
    if ours.threads == 1 and ours.wall.median > 1.2 * ours.cpu.median:
        yield f"The machine was busy: the clock ran {ours.wall.median / ours.cpu.median:.1f} times as long as the CPU."
    for name, lack in comparison.missing.items():
        yield f"Missing: {name} ({lack} is not there; `pip install 'tsnn[peers]'` brings the peers)."
    yield ""
