"""Entry point of every process that executes a run: ``python -m tsnn.execution RUN_DIR``.

With ``--check`` it only finds out whether the run can have that many workers, before they are started.

Each rank of a parallel run starts here: ``mpiexec -n 1+K python -m mpi4py -m tsnn.execution RUN_DIR``. Rank 0 is the
server and writes the run, the other ranks are workers. ``-m mpi4py`` ends all ranks if one fails with an exception that
is not handled here.
"""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tsnn.config import Config
from tsnn.errors import TsnnError
from tsnn.execution.engine import execute
from tsnn.execution.preparation import check_workers
from tsnn.execution.provenance import data_path, generators, load_data
from tsnn.execution.rules import load_rules
from tsnn.jobs.processes import Heartbeat, enter_service
from tsnn.parallel.worker import report, work
from tsnn.runs import Run
from tsnn.runs.control import stopping_on_signals
from tsnn.runs.liveness import supervision

if TYPE_CHECKING:
    from tsnn.parallel.mpi import MpiChannel

#: Time in which Open MPI kills all ranks after one has died; the supervisor then restarts the run with one fewer.
LAUNCHER_KILL_SECONDS = 3.0


def main() -> int:
    """Execute this process's part of the run whose directory is the only argument."""
    *options, path = sys.argv[1:] or [""]
    if not path or options not in ([], ["--check"]):
        return _fail("usage: [mpiexec -n 1+K] python [-m mpi4py] -m tsnn.execution [--check] RUN_DIR")
    run = Run(Path(path))
    if options:
        enter_service(run.path)
        check_workers(run)
        return 0
    try:
        config = run.wanted_config()
        channel = _connect() if config.parallel.workers else None
    except TsnnError as error:
        return _fail(f"tsnn: {error}")
    enter_service(run.path, channel.rank if channel else 0)
    if channel is None or channel.rank == 0:
        return _serve(run, channel)
    with Heartbeat(run.path, channel.rank):
        _work(channel, run, config)
    return 0


def _connect() -> MpiChannel:
    from tsnn.parallel.mpi import MpiChannel  # initialises MPI: only for parallel runs

    return MpiChannel()


def _fail(message: str) -> int:
    sys.stderr.write(f"{message}\n")
    return 1


def _work(channel: MpiChannel, run: Run, config: Config) -> None:
    for signum in (signal.SIGINT, signal.SIGTERM):  # all ranks receive them; the server ends the run
        signal.signal(signum, signal.SIG_IGN)
    data_rng, _, rng = generators(config)
    try:
        load_rules(run)
        data = load_data(config, data_rng, data_path(config, run.meta()))
    except Exception as error:
        channel.share_memory()
        report(channel, error)
    else:
        work(channel, data, config, rng=rng)
    channel.close()


def _serve(run: Run, channel: MpiChannel | None) -> int:
    delay = LAUNCHER_KILL_SECONDS if channel and supervision(run.path) else 0.0
    try:
        with stopping_on_signals(run, delay) as received:
            for _ in execute(run, channel):
                pass
        code = 130 if received else 0
    except KeyboardInterrupt:
        code = 130
    except TsnnError as error:
        code = _fail(f"tsnn: {error}") if channel else 1  # without workers, log and status have the message
    if channel:
        channel.close()
    return code


if __name__ == "__main__":
    sys.exit(main())
