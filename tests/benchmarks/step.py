"""Time of a training step compared with the peers, in alternating pairs."""

from dataclasses import dataclass, field

from tests.benchmarks.peers import NARROW, OURS
from tests.benchmarks.side_by_side import Child, MissingPeer, Spread, alternate

CPU, WALL = 1, 0


@dataclass
class Result:
    """Times and memory of one implementation on one workload."""

    name: str
    workload: object
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
        return 6 * self.workload.connections * self.workload.batch / self.time.median / 1e9


@dataclass
class Comparison:
    """Results of all implementations on one workload."""

    results: dict[str, Result] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)


def compare(workload, threads, peers, rounds):
    """Measure tsnn and each peer in alternating pairs."""
    comparison = Comparison()
    children = {}
    try:
        for name in (OURS, *peers):
            try:
                children[name] = Child(name, workload, threads)
            except MissingPeer as missing:
                comparison.missing[name] = str(missing)
        ours = children.pop(OURS)
        rows = {name: [] for name in children}
        unpaired = [] if children else alternate(ours, ours, rounds)
        for _ in range(rounds):
            for name, peer in children.items():
                rows[name] += alternate(ours, peer, 1)
        everything = unpaired + [row for pairs in rows.values() for row in pairs]
        comparison.results[OURS] = result(OURS, workload, threads, [row[:2] for row in everything], ours.peak())
        for name, peer in children.items():
            found = result(name, workload, threads, [row[2:] for row in rows[name]], peer.peak())
            which = CPU if threads == 1 else WALL
            found.ratio = Spread(row[2 + which] / row[which] for row in rows[name])
            comparison.results[name] = found
        children[OURS] = ours
    finally:
        for child in children.values():
            child.close()
    return comparison


def result(name, workload, threads, samples, peak):
    return Result(name, workload, threads, Spread(s[WALL] for s in samples), Spread(s[CPU] for s in samples), peak)


def threads_gain(workload, rounds, threads=2):
    """Speed-up of tsnn on several threads compared with one, wall-clock time."""
    with Child(OURS, workload, 1) as one, Child(OURS, workload, threads) as several:
        return Spread(row[0] / row[2] for row in alternate(one, several, rounds))


def l2_fraction(result, limits):
    """Fraction of the step's time that two reads of each connection's stripe from L2 would take."""
    size = 2 if result.name == NARROW else 4
    stripes = 2 * size * result.workload.batch * result.workload.connections
    return stripes / (limits["L2"] * 1e9) / result.time.median


def table(comparison, limits):
    """Markdown rows of one workload."""
    ours = comparison.results[OURS]
    workload = ours.workload
    kind = "CPU" if ours.threads == 1 else "CPU of all threads"
    sizes = "-".join(map(str, workload.sizes))
    threads = f"{ours.threads} thread{'s' if ours.threads > 1 else ''}"
    yield f"### {workload.name}: {sizes}, {workload.connections:,} connections, batch {workload.batch}, {threads}"
    yield ""
    yield (
        f"| | step, ms (wall clock) | step, ms ({kind}) | epoch, s | "
        "ns / connection / sample | GFLOP/s | peak memory, MiB | tsnn is faster |"
    )
    yield "|---|---|---|---|---|---|---|---|"
    for name, one in comparison.results.items():
        per_connection = 1e9 * one.time.median / workload.connections / workload.batch
        yield (
            f"| {name} | {one.wall.text(2, 1e3)} | {one.cpu.text(2, 1e3)} | {one.time.median * workload.batches:.3g} | "
            f"{per_connection:.4f} | {one.gflops:.1f} | {one.peak >> 20} | "
            f"{'' if one.ratio is None else one.ratio.text(1 if one.ratio.median > 2 else 2) + ' x'} |"
        )
    yield ""
    for name in (OURS, NARROW):
        if (one := comparison.results.get(name)) is None:
            continue
        yield (
            f"{name}: {one.gflops / limits['multiply-add']:.0%} of the multiply-add limit, "
            f"{l2_fraction(one, limits):.0%} of the L2 bandwidth limit."
        )
    if ours.threads == 1 and ours.wall.median > 1.2 * ours.cpu.median:
        yield f"The machine was busy: wall-clock time is {ours.wall.median / ours.cpu.median:.1f} times the CPU time."
    for name, library in comparison.missing.items():
        yield f"Missing: {name} ({library} is not installed; `pip install 'tsnn[peers]'` brings the peers)."
    yield ""
