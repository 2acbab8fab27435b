"""Evolution and evaluation: their fraction of an epoch's time, compared with sparselab's SET; prediction times."""

from dataclasses import dataclass

from tests.benchmarks.peers import OURS
from tests.benchmarks.side_by_side import Child, MissingPeer, Spread, alternate


@dataclass
class Fractions:
    """CPU seconds of one thread; fractions of an epoch; ratio to sparselab's evolution."""

    workload: object
    step: Spread
    evolve: Spread
    evaluate: Spread
    evolve_fraction: Spread
    evaluate_fraction: Spread
    sparselab: Spread | None
    ratio: Spread | None

    def row(self):
        layers = len(self.workload.layers) - 1
        peer = (
            "| missing |" if self.ratio is None else f"{self.sparselab.text(1, 1e3 / layers)} | {self.ratio.text()} x |"
        )
        return (
            f"| {self.workload.name} | {self.evolve.text(2, 1e3 / layers)} | {self.evolve_fraction.text(1, 100)} % | "
            f"{self.evaluate.text(1, 1e3)} | {self.evaluate_fraction.text(1, 100)} % | {peer}"
        )


HEAD = (
    "| CPU time, one thread | evolution of a layer, ms | of an epoch | evaluation, ms | of an epoch | "
    "sparselab's evolution of a layer, ms | tsnn is faster |\n|---|---|---|---|---|---|---|"
)


def fractions(workload, rounds, peers):
    """Alternate steps, evolution and evaluation of tsnn with sparselab's evolution."""
    with Child(OURS, workload, 1) as ours:
        theirs, rows = None, []
        if "sparselab" in peers:
            try:
                theirs = Child("sparselab", workload, 1)
            except MissingPeer:
                theirs = None
        for _ in range(rounds):
            step, evaluate, evolve = (ours.time(name)[1] for name in ("step", "evaluate", "evolve"))
            rows.append((step, evolve, evaluate, theirs.time("evolve")[1] if theirs else 0.0))
        if theirs:
            theirs.close()
    step, evolve, evaluate, other = zip(*rows, strict=True)
    of_epoch = [
        [part / (workload.batches * one) for one, part in zip(step, parts, strict=True)] for parts in (evolve, evaluate)
    ]
    lab = ratio = None
    if theirs:
        lab, ratio = Spread(other), Spread(b / a for a, b in zip(evolve, other, strict=True))
    spreads = [Spread(samples) for samples in (step, evolve, evaluate, *of_epoch)]
    return Fractions(workload, *spreads, lab, ratio)


def latencies(workload, rounds, peers):
    """Wall-clock seconds of a prediction of one sample, of tsnn and of all peers that predict."""
    found = {}
    with Child(OURS, workload, 1) as ours:
        found[OURS] = Spread(row[0] for row in alternate(ours, ours, rounds, "predict"))
    for name in peers:
        try:
            with Child(name, workload, 1) as peer:
                if "predict" in peer.abilities:
                    found[name] = Spread(peer.time("predict")[0] for _ in range(rounds))
        except MissingPeer:
            continue
    return found
