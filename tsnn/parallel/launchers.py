"""Error messages for processes that cannot form a parallel run: a single process, or a launcher of another MPI."""

from __future__ import annotations

import os
import sys
from pathlib import Path

#: Environment variables in which launchers pass the number of processes.
SIZE_VARIABLES = ("PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE", "PMIX_SIZE", "SLURM_NTASKS")


def single_process_message(library: str) -> str:
    """Return why this process sees no others, as far as its environment shows.

    Parameters
    ----------
    library : str
        Version of the MPI library that mpi4py uses.
    """
    started = next((os.environ[name] for name in SIZE_VARIABLES if os.environ.get(name, "1") != "1"), None)
    if started is not None:
        return (
            f"This is one of {started} processes, but they do not see each other: the launcher belongs to another MPI "
            f"than mpi4py ({library.splitlines()[0]}). Start with the mpiexec of that MPI ({_own_mpiexec()}), under "
            "Slurm with srun --mpi=pmi2, or build mpi4py against the launcher's MPI: "
            "pip install --force-reinstall --no-binary mpi4py mpi4py"
        )
    return (
        "A parallel run needs one server and at least one worker, but this is a single process. Start it with "
        "tsnn train ... --workers K, or with mpiexec -n 1+K python -m mpi4py -m tsnn.execution RUN_DIR"
    )


def _own_mpiexec() -> str:
    """Return the path of the mpiexec that belongs to this Python environment."""
    return str(Path(sys.executable).with_name("mpiexec"))
