"""Checks of this machine, ``tsnn doctor``: packages, kernels, MPI, folders, bits and speed, each with a remedy."""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import psutil

from tsnn._version import __version__
from tsnn.datasets import known_datasets
from tsnn.errors import TsnnError
from tsnn.extras import EXTRAS
from tsnn.files import os_error_message
from tsnn.jobs.launch import clean_environment, mpiexec
from tsnn.machine import available_cores, processor_name
from tsnn.runs import RunStore

OK, WARNING, PROBLEM = "ok", "warning", "problem"

CORE = ("numpy", "scipy", "numba", "llvmlite", "scikit-learn", "psutil", "tbb")
LITTLE_DISK = 2**30  #: bytes
HELLO_SECONDS, MEASURE_SECONDS = 60.0, 600.0
HELLO = "from mpi4py import MPI; c = MPI.COMM_WORLD; print(c.allreduce(1), MPI.Get_library_version().split(chr(10))[0])"


class Check(NamedTuple):
    """Result of one check.

    Attributes
    ----------
    name : str
        What was checked.
    state : {"ok", "warning", "problem"}
        "warning": it works, but slower or with less than it could.
    found : str
        What was found.
    remedy : str
        One sentence: what to do; empty if nothing.
    """

    name: str
    state: str
    found: str
    remedy: str = ""


def doctor(options: argparse.Namespace) -> int:
    """Print every check; the exit code is 1 if there is a problem."""
    checks: list[Check] = []
    for check in _checks(options):
        checks.append(check)
        if not options.json:
            print(f"{check.state:<9}{check.name:<14}{check.found}", flush=True)
            if check.remedy:
                print(f"{'':<23}-> {check.remedy}", flush=True)
    if options.json:
        print(json.dumps({"tsnn": __version__, "checks": [check._asdict() for check in checks]}, indent=1))
    return int(any(check.state == PROBLEM for check in checks))


def _checks(options: argparse.Namespace) -> Iterator[Check]:
    yield from map(_guarded, (_python, _processor, _cache, _mpi))
    yield from _extras()
    yield _guarded(lambda: _disk(options.runs))
    yield _guarded(_data)
    if not options.quick:
        yield from _training()


def _guarded(check: Callable[[], Check]) -> Check:
    """Return a check's result; that of one that fails is a problem."""
    try:
        return check()
    except Exception as error:  # whatever is broken here is what is looked for
        name = getattr(check, "__name__", "check").strip("_<>")
        return Check(name, PROBLEM, f"{type(error).__name__}: {_private(str(error))}", "Report this as a bug.")


def _private(text: object) -> str:
    """Return a text without the name of the home folder."""
    return str(text).replace(str(Path.home()), "~") if len(Path.home().parts) > 1 else str(text)


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _python() -> Check:
    versions = ", ".join(f"{name} {_version(name)}" for name in CORE if _version(name))
    found = f"{platform.python_version()} on {platform.system()} {platform.machine()}; tsnn {__version__}, {versions}"
    if sys.maxsize < 2**32:
        return Check("Python", PROBLEM, found, "Install a 64-bit Python.")
    return Check("Python", OK, found)


def _processor() -> Check:
    from tsnn.kernels.compiling import COMPILED, vector_path

    memory = psutil.virtual_memory()
    found = (
        f"{processor_name()}, {available_cores()} cores, {memory.available / 2**30:.1f} of "
        f"{memory.total / 2**30:.1f} GiB free; kernels: {vector_path()}"
    )
    if not COMPILED:
        return Check("Processor", PROBLEM, found, "Unset NUMBA_DISABLE_JIT: without compiling, training is very slow.")
    if vector_path() == "portable":
        chosen = [name for name in ("NUMBA_CPU_NAME", "NUMBA_CPU_FEATURES") if name in os.environ]
        remedy = "Many times slower than with AVX2 or AVX-512, which need an x86 processor from 2013 or later."
        return Check("Processor", WARNING, found, f"Unset {' and '.join(chosen)}." if chosen else remedy)
    return Check("Processor", OK, found)


def _cache() -> Check:
    from tsnn import kernels

    kernel: Any = kernels.merge_connections
    folder = getattr(getattr(kernel, "_cache", None), "cache_path", None)
    remedy = "Set NUMBA_CACHE_DIR to a folder that you may write to: kernels are compiled again in every process."
    if folder is None:
        return Check("Kernel cache", WARNING, "no folder can be written to", remedy)
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        return Check("Kernel cache", WARNING, _private(os_error_message(error, folder)), remedy)
    note = "" if kernels.is_cached(kernel) else "; nothing is compiled yet, the first training does it"
    return Check("Kernel cache", OK, f"{_private(folder)}{note}")


def _mpi() -> Check:
    if importlib.util.find_spec("mpi4py") is None:
        return Check("MPI", OK, "mpi4py is not installed; only training with workers needs it: pip install 'tsnn[mpi]'")
    try:
        launcher = mpiexec()
    except TsnnError as error:
        return Check("MPI", WARNING, str(error), "Without it, training uses one process.")
    found = f"{_owner(launcher)} ({_private(launcher)}), mpi4py {_version('mpi4py')}"
    remedy = (
        "The launcher must belong to the MPI that mpi4py uses: pip install 'tsnn[mpi]' brings both; for a cluster's "
        "own, pip install --force-reinstall --no-binary mpi4py mpi4py."
    )
    try:
        hello = subprocess.run(
            [launcher, "-n", "2", sys.executable, "-c", HELLO], capture_output=True, text=True, timeout=HELLO_SECONDS,
            env=clean_environment(), stdin=subprocess.DEVNULL, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return Check("MPI", PROBLEM, f"{found}: two processes did not answer within {HELLO_SECONDS:.0f} s", remedy)
    answers = [line.partition(" ") for line in hello.stdout.splitlines() if line[:1].isdigit()]
    if hello.returncode or not answers:
        lines = hello.stderr.strip().splitlines() or [f"exit code {hello.returncode}"]
        return Check("MPI", PROBLEM, f"{found}: two processes could not be started: {_private(lines[-1])}", remedy)
    size, library = answers[0][0], " ".join(answers[0][2].split())
    if size != "2":
        return Check("MPI", PROBLEM, f"{found}: two processes do not see each other; mpi4py uses {library}", remedy)
    return Check("MPI", OK, f"{found}, {library}: two processes greet each other")


def _owner(launcher: str) -> str:
    """Return whose launcher it is: pip's, conda's or the system's."""
    if not Path(launcher).is_relative_to(sys.prefix):
        return "the system's or the cluster's"
    return "conda's" if (Path(sys.prefix) / "conda-meta").is_dir() else "pip's"


def _extras() -> Iterator[Check]:
    """Check the packages of each extra."""
    groups: dict[str, list[str]] = {}
    for module, extra in EXTRAS.items():
        groups.setdefault(extra, []).append(module)
    for extra, modules in groups.items():
        there = [name for name in modules if importlib.util.find_spec(name)]
        absent = [name for name in modules if name not in there]
        found = ", ".join(f"{name} {_version(name.replace('_', '-'))}" for name in there) or "not installed"
        install = f"pip install 'tsnn[{extra}]'"
        if there and absent:
            yield Check(f"[{extra}]", WARNING, f"{found}; missing: {', '.join(absent)}", f"Install it: {install}.")
        else:
            yield Check(f"[{extra}]", OK, found if there else f"{found}; if you need it: {install}")


def _disk(folder: str | None) -> Check:
    root = RunStore(folder).root
    source = "--runs" if folder else "TSNN_RUNS" if os.environ.get("TSNN_RUNS") else "TSNN_RUNS is not set"
    place = next(path for path in (root.resolve(), *root.resolve().parents) if path.exists())
    found = f"{_private(root)} ({source})"
    if not place.is_dir() or not os.access(place, os.W_OK):
        return Check(
            "Runs", PROBLEM, f"{found} cannot be written to", "Set TSNN_RUNS to a folder that you may write to."
        )
    free = shutil.disk_usage(place).free
    found += f", {free / 2**30:,.1f} GiB free"
    if free < LITTLE_DISK:
        return Check("Runs", WARNING, found, "Free some space, or set TSNN_RUNS to a folder on another disk.")
    return Check("Runs", OK, found)


def _data() -> Check:
    folder = os.environ.get("TSNN_DATA", "")
    if folder and not Path(folder).is_dir():
        return Check("Data", PROBLEM, f"TSNN_DATA is {_private(folder)}, which is no folder", "Correct or unset it.")
    names = sorted(info.name for info in known_datasets() if info.local)
    where = f"TSNN_DATA is {_private(folder)}" if folder else "TSNN_DATA is not set"
    return Check("Data", OK, f"{where}; on this machine: {', '.join(names)}")


def _training() -> Iterator[Check]:
    """Check threads, bits and speed of training, in a process of its own."""
    command: Sequence[str] = (sys.executable, "-m", "tsnn.cli.measurement")
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=MEASURE_SECONDS, env=clean_environment(), check=False
        )
        measured = json.loads(done.stdout.splitlines()[-1])
    except (subprocess.TimeoutExpired, ValueError, IndexError) as error:
        lines = [] if isinstance(error, subprocess.TimeoutExpired) else done.stderr.strip().splitlines()
        found = _private(lines[-1]) if lines else f"no result ({type(error).__name__})"
        yield Check("Training", PROBLEM, f"a short training failed: {found}", "Report this as a bug.")
        return
    layer = measured["threading_layer"]
    slow = layer == "workqueue"
    remedy = "Install TBB (pip install tbb): this layer costs 0.1 ms at every layer of a network." if slow else ""
    yield Check("Threads", WARNING if slow else OK, f"{measured['threads']} threads, threading layer {layer}", remedy)
    yield _bits(measured)
    yield _speed(measured)


def _bits(measured: dict[str, Any]) -> Check:
    one, several, expected = measured["bits_one_thread"], measured["bits"], measured["bits_expected"]
    if one != several:
        found = f"weights {several} with all threads, {one} with one"
        return Check("Bits", PROBLEM, found, "Results depend on the number of threads: report this as a bug.")
    if expected is None:
        return Check(
            "Bits", OK, f"weights {one}, with one and with all threads; no reference for this kind of processor"
        )
    if one != expected:
        found = f"weights {one} instead of {expected}, with one and with all threads"
        return Check(
            "Bits", WARNING, found, "Seeds repeat on this machine, but results differ in rounding from others'."
        )
    return Check("Bits", OK, f"weights {one}, as expected, with one and with all threads")


def _speed(measured: dict[str, Any]) -> Check:
    share, least = measured["share_of_dense"], measured["share_expected"]
    found = (
        f"{measured['samples_per_second']:,.0f} samples/s, {measured['gflops']:.1f} GFLOP/s in training: "
        f"{share:.0%} of this machine's dense products "
        + (f"(expected: {least:.0%} or more)" if least else "(no reference for this kind of processor)")
    )
    if least and share < least:
        remedy = "Close other programs and try again; with several processes, give each its own cores (run.threads)."
        return Check("Speed", WARNING, found, remedy)
    return Check("Speed", OK, found)
