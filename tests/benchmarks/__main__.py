"""The benchmark command: ``tsnn bench [--quick]``, or ``python -m tests.benchmarks``.

Measures tsnn beside its peers in alternating pairs and prints a report in Markdown. Times are medians
± half the interquartile range. On one thread CPU time counts, on several the clock. OpenMP threads wait passively,
else those of the peers collapse as soon as somebody else needs a core.
"""

import argparse
import datetime
import sys

from tests.benchmarks import evolution, scaling, step, targets
from tests.benchmarks.arena import Contestant
from tests.benchmarks.contestants import OURS, PEERS
from tests.benchmarks.limits import machine, measure_limits
from tests.benchmarks.works import CIFAR, FASHION, MADELON, TINY, WORKS

SECTIONS = ("step", "threads", "shares", "latency", "scaling", "start")


def parse(arguments):
    parser = argparse.ArgumentParser(
        prog="tsnn bench", description="Measure tsnn beside its peers; the report is Markdown."
    )
    parser.add_argument("--quick", action="store_true", help="a minute's worth: one work, no peer but the published")
    parser.add_argument("--tiny", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--work", action="append", choices=list(WORKS), help="only this; may be given several times")
    parser.add_argument(
        "--peer", action="append", choices=[*PEERS, "none"], help="only this; may be given several times"
    )
    parser.add_argument("--section", action="append", choices=SECTIONS, help="only this; may be given several times")
    parser.add_argument("--threads", type=int, action="append", help="1 or 2, or both (default)")
    parser.add_argument("--rounds", type=int, default=None, help="alternations (default: 7; 3 if quick)")
    options = parser.parse_args(arguments)
    small = options.quick or options.tiny
    works = [FASHION.name] if small else list(WORKS)
    options.work = [WORKS[name] for name in options.work or works]
    options.peer = options.peer or (["published step"] if small else list(PEERS))
    options.peer = [name for name in options.peer if name != "none"]
    options.section = options.section or ([s for s in SECTIONS if s != "start"] if small else list(SECTIONS))
    options.threads = options.threads or ([1] if small else [1, 2])
    options.rounds = options.rounds or (1 if options.tiny else 3 if small else 7)
    if options.tiny:
        options.work = [TINY]
    return options


def say(*lines):
    for line in lines:
        print(line, flush=True)


def main(arguments=None):
    """Measure and print."""
    options = parse(arguments)
    found = targets.Findings()
    if not options.tiny:
        with Contestant(OURS, options.work[0], 1):
            pass  # compiles what is not compiled yet, which would count as memory
    say("# Benchmarks of tsnn", "", f"{datetime.date.today()}. {machine()}. Python {sys.version.split()[0]}.", "")
    limits = {threads: measure_limits(threads) for threads in sorted({1, *options.threads})}
    say("| limits, best of 7 | multiply-add, GFLOP/s | sgemm, GFLOP/s | read from L2, GB/s | from memory, GB/s |")
    say("|---|---|---|---|---|")
    for threads, values in limits.items():
        say(
            f"| {threads} thread{'s' if threads > 1 else ''} | "
            + " | ".join(f"{value:.0f}" for value in values.values())
            + " |"
        )
    free = {threads: limits[threads]["multiply-add"] / limits[1]["multiply-add"] for threads in limits}
    for threads, cores in free.items():
        if cores < 0.8 * threads:
            found.crowded.add(threads)
            say(
                "",
                f"Only {cores:.1f} of {threads} cores were free: what was measured on {threads} threads says nothing.",
            )
    say("")

    if "step" in options.section:
        say("## A training step", "")
        for threads in options.threads:
            for work in options.work:
                peers = [peer for peer in options.peer if peer in (work.beside or PEERS)]
                comparison = step.compare(work, threads, peers, options.rounds)
                found.steps[work.name, threads] = comparison
                say(*step.table(comparison, limits[threads]))
    large = [work for work in options.work if work in (FASHION, CIFAR, MADELON, TINY)]
    if "threads" in options.section and max(options.threads) > 1:
        say("## Two threads beside one, by the clock", "")
        for work in large:
            found.gains[work.name] = gain = step.threads_gain(work, 2 * options.rounds + 1)
            say(f"- {work.name}: {gain.text(2)} x")
        say("")
    if "shares" in options.section and large:
        say("## Evolution and evaluation", "", evolution.HEAD)
        for work in large:
            found.shares[work.name] = parts = evolution.shares(work, options.rounds, options.peer)
            say(parts.row())
        say("")
    if "latency" in options.section and large:
        say("## Answering one sample, microseconds by the clock, one thread", "")
        for work in large:
            answers = evolution.latencies(work, options.rounds, options.peer)
            say(f"- {work.name}: " + ", ".join(f"{name} {spread.text(0, 1e6)}" for name, spread in answers.items()))
        say("")
    if "scaling" in options.section:
        say("## Growth: 40 connections to a neuron, CPU time, one thread, batch 128", "")
        say("| connections | a layer's activations fit | ns / connection / sample |", "|---|---|---|")
        neurons = (50,) if options.tiny else scaling.NEURONS[: 3 if options.quick else None]
        found.rungs = scaling.climb(options.rounds, neurons)
        for work, level, spread in found.rungs:
            say(f"| {work.connections:,} | {level} | {spread.text(4, 1e9)} |")
        say("")
    if "start" in options.section:
        found.starts = scaling.starts()
        say("## Start", "", "From the start of Python to the end of the first batch: ")
        say("{:.1f} s with nothing compiled, {:.1f} s from the kernel cache.".format(*found.starts), "")
    say(*targets.report(found))


if __name__ == "__main__":
    main()
