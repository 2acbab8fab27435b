"""Evolution and evaluation: their share of an epoch, and the time beside sparselab's SET."""

from dataclasses import dataclass

from tests.benchmarks.arena import Contestant, Missing, Spread, duel
from tests.benchmarks.contestants import OURS


@dataclass
class Shares:
    """CPU seconds of one thread, but for the shares and the ratio."""

    work: object
    step: Spread
    evolve: Spread
    evaluate: Spread
    evolve_share: Spread
    evaluate_share: Spread
    sparselab: Spread | None
    ratio: Spread | None

    def row(self):
        layers = len(self.work.layers) - 1
        beside = (
            "| missing |" if self.ratio is None else f"{self.sparselab.text(1, 1e3 / layers)} | {self.ratio.text()} x |"
        )
        return (
            f"| {self.work.name} | {self.evolve.text(2, 1e3 / layers)} | {self.evolve_share.text(1, 100)} % | "
            f"{self.evaluate.text(1, 1e3)} | {self.evaluate_share.text(1, 100)} % | {beside}"
        )


HEAD = (
    "| CPU time, one thread | evolution of a layer, ms | of an epoch | evaluation, ms | of an epoch | "
    "sparselab's evolution of a layer, ms | tsnn is faster |\n|---|---|---|---|---|---|---|"
)


def shares(work, rounds, peers):
    """Alternate steps, evolution and evaluation of tsnn with sparselab's evolution."""
    with Contestant(OURS, work, 1) as ours:
        theirs, rows = None, []
        if "sparselab" in peers:
            try:
                theirs = Contestant("sparselab", work, 1)
            except Missing:
                theirs = None
        for _ in range(rounds):
            step, evaluate, evolve = (ours.time(what)[1] for what in ("step", "evaluate", "evolve"))
            rows.append((step, evolve, evaluate, theirs.time("evolve")[1] if theirs else 0.0))
        if theirs:
            theirs.close()
    step, evolve, evaluate, other = zip(*rows, strict=True)
    of_epoch = [
        [part / (work.batches * one) for one, part in zip(step, parts, strict=True)] for parts in (evolve, evaluate)
    ]
    lab = ratio = None
    if theirs:
        lab, ratio = Spread(other), Spread(b / a for a, b in zip(evolve, other, strict=True))
    spreads = [Spread(samples) for samples in (step, evolve, evaluate, *of_epoch)]
    return Shares(work, *spreads, lab, ratio)


def latencies(work, rounds, peers):
    """Seconds to answer one sample, by the clock, of tsnn and of all peers that can."""
    found = {}
    with Contestant(OURS, work, 1) as ours:
        found[OURS] = Spread(row[0] for row in duel(ours, ours, rounds, "predict"))
    for name in peers:
        try:
            with Contestant(name, work, 1) as peer:
                if "predict" in peer.abilities:
                    found[name] = Spread(peer.time("predict")[0] for _ in range(rounds))
        except Missing:
            continue
    return found
