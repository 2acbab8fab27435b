"""The entry of every rank of a parallel run: ``mpiexec -n 1+K python -m mpi4py -m tsnn.parallel RUN_DIR``.

Rank 0 serves and records, the others work. ``-m mpi4py`` ends all ranks should one fail in a way not foreseen here.
"""

from __future__ import annotations

import signal
import sys
from pathlib import Path

from tsnn.config import Config
from tsnn.control import stopping_on_signals
from tsnn.errors import TsnnError
from tsnn.experiment import execute
from tsnn.parallel.mpi import MpiChannel
from tsnn.parallel.worker import report, work
from tsnn.processes import Heartbeat, enter_service, supervision
from tsnn.provenance import generators, load_data
from tsnn.runs import Run

LAUNCHERS_SECONDS = 3.0  # in which Open MPI kills all ranks when one has died; the supervisor starts the others again


def main() -> int:
    """Carry out this rank's part of the run whose directory is the only argument."""
    if len(sys.argv) != 2:
        return _fail("usage: mpiexec -n 1+K python -m mpi4py -m tsnn.parallel RUN_DIR")
    run = Run(Path(sys.argv[1]))
    try:
        channel = MpiChannel()
        config = run.config()
    except TsnnError as error:
        return _fail(f"tsnn: {error}")
    enter_service(run.path, channel.rank)
    if channel.rank:
        with Heartbeat(run.path, channel.rank):
            _work(channel, config)
        return 0
    return _serve(channel, run)


def _fail(message: str) -> int:
    sys.stderr.write(f"{message}\n")
    return 1


def _work(channel: MpiChannel, config: Config) -> None:
    for signum in (signal.SIGINT, signal.SIGTERM):  # they go to all ranks; the server sees to an orderly end
        signal.signal(signum, signal.SIG_IGN)
    data_rng, _, rng = generators(config)
    try:
        data = load_data(config, data_rng)
    except Exception as error:
        channel.share_memory()
        report(channel, error)
    else:
        work(channel, data, config, rng=rng)
    channel.close()


def _serve(channel: MpiChannel, run: Run) -> int:
    try:
        with stopping_on_signals(run, LAUNCHERS_SECONDS if supervision(run.path) else 0.0) as received:
            for _ in execute(run, channel):
                pass
        code = 130 if received else 0
    except KeyboardInterrupt:
        code = 130
    except TsnnError as error:
        code = _fail(f"tsnn: {error}")
    channel.close()
    return code


if __name__ == "__main__":
    sys.exit(main())
