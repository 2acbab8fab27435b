"""Parallel training over two hosts: network namespaces of this machine with a virtual cable between them.

Ranks on different hosts have no common memory or sockets. The benchmark shows that runs work without them, and that
WASSP and local SGD compute the same bits for any placement of the ranks. Run ``python -m
tests.benchmarks.hosts`` as root on Linux, with ``unshare`` and ``nsenter`` (util-linux) and ``ip`` (iproute2).
"""

import contextlib
import hashlib
import itertools
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from tsnn.config import Config
from tsnn.jobs.launch import mpiexec
from tsnn.runs import RunStore

EPOCHS = 12
ADDRESSES = ("10.213.0.1", "10.213.0.2")
PLACEMENTS = {"one host": (3, 0), "server / two workers": (1, 2), "server and worker / worker": (2, 1)}
#: Replaces ssh: enters a host's network and name, with its devices. Without UCX_TLS, MPICH's network layer detects
#: that both hosts are one machine, and bypasses the cable.
ENTER = """#!/bin/bash
while [[ $1 == -* ]]; do shift; done
host=$1; shift
export UCX_TLS=tcp
exec nsenter --net={folder}/$host.net --uts={folder}/$host.uts unshare -m bash -c "mount -t sysfs none /sys && $*"
"""


@contextlib.contextmanager
def two_hosts(folder):
    """Create two hosts with a cable between them; yield the command that enters one, to use as ssh."""
    enter = folder / "enter"
    enter.write_text(ENTER.format(folder=folder))
    enter.chmod(0o755)

    def call(*command):
        subprocess.run([str(part) for part in command], check=True)

    files = [folder / f"{address}.{kind}" for address in ADDRESSES for kind in ("net", "uts")]
    try:
        for file in files:
            file.touch()
        for i, (net, uts) in enumerate(zip(files[::2], files[1::2], strict=True)):
            call("unshare", f"--net={net}", f"--uts={uts}", "hostname", f"host{i}")
        call(enter, ADDRESSES[0], f"ip link add cable type veth peer name cable netns {files[2]}")
        for address in ADDRESSES:
            call(enter, address, f"ip addr add {address}/24 dev cable && ip link set cable up && ip link set lo up")
        yield enter
    finally:
        for file in files:
            subprocess.run(["umount", str(file)], check=False, stderr=subprocess.DEVNULL)


def train(enter, folder, ranks, settings):
    """Train with these numbers of ranks on the hosts; return the run and the bytes sent through the cable."""

    def sent():
        table = subprocess.run([enter, ADDRESSES[0], "cat /proc/net/dev"], capture_output=True, text=True, check=True)
        numbers = next(line.split() for line in table.stdout.splitlines() if "cable" in line)
        return int(numbers[1]) + int(numbers[9])

    shared = {"data.size": "small", "training.epochs": EPOCHS, "run.threads": 1, "parallel.workers": 2}
    run = RunStore(folder / "runs").create(Config.preset("fashion_mnist").replace({**shared, **settings}))
    hosts = ",".join(f"{address}:{n}" for address, n in zip(ADDRESSES, ranks, strict=True) if n)
    command = [
        mpiexec(), "-n", "3", "-hosts", hosts, "-launcher", "ssh", "-launcher-exec", enter, "-iface", "cable",
        sys.executable, "-m", "mpi4py", "-m", "tsnn.execution", run.path,
    ]  # fmt: skip
    before = sent()
    line = " ".join(map(str, command))
    subprocess.run([enter, ADDRESSES[0], f"cd {Path.cwd()} && {line}"], check=True)
    return run, sent() - before


def main():
    """Train in each mode and placement, and print the table."""
    print("| mode | ranks | s / epoch, phase 1 | MB through the cable per epoch | weights |\n|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as name, two_hosts(Path(name)) as enter:
        for mode in ("wasap", "wassp", "local"):
            first = None
            for placement, ranks in PLACEMENTS.items():
                run, sent = train(enter, Path(name), ranks, {"parallel.mode": mode})
                digest = hashlib.sha256((run.path / "weights.npz").read_bytes()).hexdigest()
                first = first or digest
                same = "" if mode == "wasap" else "the same bits" if digest == first else "DIFFERENT"
                stamps = [line["time"] for line in run.lines()[0] if line["type"] == "epoch"]
                last = round(0.7 * EPOCHS)
                seconds = statistics.median(b - a for a, b in itertools.pairwise(stamps[1:last]))
                print(f"| {mode} | {placement} | {seconds:.3f} | {sent / EPOCHS / 1e6:.2f} | {same} |", flush=True)


if __name__ == "__main__":
    main()
