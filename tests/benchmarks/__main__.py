"""Compare speed and memory of tsnn with its peers: ``tsnn bench [--quick]``, or ``python -m tests.benchmarks``.

The report is Markdown. Peers are measured in alternation with tsnn. Times are medians ± half the interquartile range:
CPU time on one thread, wall-clock time on several. OpenMP threads wait passively; active waiting would slow down the
peers as soon as another process needs a core.
"""

import argparse
import datetime
import sys

from tests.benchmarks import evolution, growth, step, targets
from tests.benchmarks.limits import machine, measure_limits
from tests.benchmarks.peers import OURS, PEERS
from tests.benchmarks.side_by_side import Child
from tests.benchmarks.workloads import CIFAR, FASHION, MADELON, TINY, WORKLOADS


def parse(arguments):
    """Read the options; ``--quick`` and ``--tiny`` change the defaults of the others."""
    repeated = "only this; may be repeated"
    parser = argparse.ArgumentParser(
        prog="tsnn bench", description="Compare speed and memory of tsnn with its peers; the report is Markdown."
    )
    parser.add_argument("--quick", action="store_true", help="about a minute: one network, one peer (published step)")
    parser.add_argument("--tiny", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--workload", action="append", choices=list(WORKLOADS), help=repeated)
    parser.add_argument("--peer", action="append", choices=[*PEERS, "none"], help=repeated)
    parser.add_argument("--section", action="append", choices=list(SECTIONS), help=repeated)
    parser.add_argument("--threads", type=int, action="append", help="1 or 2, or both (default)")
    parser.add_argument("--rounds", type=int, default=None, help="alternations (default: 7; 3 if quick)")
    options = parser.parse_args(arguments)
    small = options.quick or options.tiny
    names = [FASHION.name] if small else list(WORKLOADS)
    options.workload = [TINY] if options.tiny else [WORKLOADS[name] for name in options.workload or names]
    options.peer = options.peer or (["published step"] if small else list(PEERS))
    options.peer = [name for name in options.peer if name != "none"]
    options.section = options.section or [name for name in SECTIONS if not (small and name == "start")]
    options.threads = options.threads or ([1] if small else [1, 2])
    options.rounds = options.rounds or (1 if options.tiny else 3 if small else 7)
    return options


def report(*lines):
    """Print lines at once."""
    for line in lines:
        print(line, flush=True)


def report_limits(options, results):
    """Measure the machine's limits; marks numbers of threads for which too few cores are free."""
    limits = {threads: measure_limits(threads) for threads in sorted({1, *options.threads})}
    report("| limits, best of 7 | multiply-add, GFLOP/s | sgemm, GFLOP/s | read from L2, GB/s | from memory, GB/s |")
    report("|---|---|---|---|---|")
    for threads, values in limits.items():
        cells = " | ".join(f"{value:.0f}" for value in values.values())
        report(f"| {threads} thread{'s' if threads > 1 else ''} | {cells} |")
    for threads in limits:
        cores = limits[threads]["multiply-add"] / limits[1]["multiply-add"]
        if cores < 0.8 * threads:
            results.busy.add(threads)
            report("", f"Only {cores:.1f} of {threads} cores were free: the results on {threads} threads are invalid.")
    report("")
    results.limits = limits


def report_steps(options, results):
    """Compare training steps with the peers."""
    report("## A training step", "")
    for threads in options.threads:
        for workload in options.workload:
            peers = [peer for peer in options.peer if peer in (workload.peers or PEERS)]
            comparison = step.compare(workload, threads, peers, options.rounds)
            results.steps[workload.name, threads] = comparison
            report(*step.table(comparison, results.limits[threads]))


def report_threads(options, results):
    """Compare two threads with one."""
    if max(options.threads) == 1:
        return
    report("## Two threads compared with one, wall-clock time", "")
    for workload in complete(options):
        results.gains[workload.name] = gain = step.threads_gain(workload, 2 * options.rounds + 1)
        report(f"- {workload.name}: {gain.text(2)} x")
    report("")


def report_fractions(options, results):
    """Measure which fraction of an epoch evolution and evaluation take."""
    report("## Evolution and evaluation", "", evolution.HEAD)
    for workload in complete(options):
        results.fractions[workload.name] = parts = evolution.fractions(workload, options.rounds, options.peer)
        report(parts.row())
    report("")


def report_latency(options, results):
    """Measure predictions of one sample."""
    report("## Prediction of one sample, microseconds of wall-clock time, one thread", "")
    for workload in complete(options):
        answers = evolution.latencies(workload, options.rounds, options.peer)
        report(f"- {workload.name}: " + ", ".join(f"{name} {spread.text(0, 1e6)}" for name, spread in answers.items()))
    report("")


def report_growth(options, results):
    """Measure the time per connection on networks of growing size."""
    report("## Growth: 40 connections per neuron, CPU time, one thread, batch 128", "")
    report("| connections | a layer's activations fit | ns / connection / sample |", "|---|---|---|")
    neurons = (50,) if options.tiny else growth.NEURONS[: 3 if options.quick else None]
    results.growth = growth.measure(options.rounds, neurons)
    for workload, level, spread in results.growth:
        report(f"| {workload.connections:,} | {level} | {spread.text(4, 1e9)} |")
    report("")


def report_start(options, results):
    """Measure the time from the start of Python to the end of the first batch."""
    results.starts = growth.starts()
    report("## Start", "", "From the start of Python to the end of the first batch: ")
    report("{:.1f} s with nothing compiled, {:.1f} s from the kernel cache.".format(*results.starts), "")


def complete(options):
    """Workloads that have a data set of their own, or the tiny one."""
    return [workload for workload in options.workload if workload in (FASHION, CIFAR, MADELON, TINY)]


SECTIONS = {
    "step": report_steps,
    "threads": report_threads,
    "fractions": report_fractions,
    "latency": report_latency,
    "growth": report_growth,
    "start": report_start,
}


def main(arguments=None):
    """Measure and print the report."""
    options = parse(arguments)
    results = targets.Results()
    if not options.tiny:
        with Child(OURS, options.workload[0], 1):
            pass  # compiles the kernels, which would count as memory otherwise
    report("# Benchmarks of tsnn", "", f"{datetime.date.today()}. {machine()}. Python {sys.version.split()[0]}.", "")
    report_limits(options, results)
    for name, section in SECTIONS.items():
        if name in options.section:
            section(options, results)
    report(*targets.report(results))


if __name__ == "__main__":
    main()
