"""Training on features larger than memory: peak memory and time of an epoch on 20 GB of them, with 4 GB allowed.

``python -m tests.benchmarks.streaming`` writes a folder with X.npy and y.npy, trains on it in a process whose address
space is limited (``ulimit -v``), and deletes it. The limit holds for all that the process takes itself. The system's
file cache is no part of that: rows are read, not mapped, so the cache may be given up at any time.
"""

import argparse
import functools
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

FEATURES, CLASSES, BLOCK = 1000, 10, 1 << 14


def write(folder, gigabytes):
    """Write float32 features of ten classes, which differ by their means; return the number of samples."""
    rng = np.random.default_rng(0)
    n = int(gigabytes * 1e9 / 4 / FEATURES)
    noise = rng.normal(size=(BLOCK, FEATURES)).astype(np.float32)
    centres = rng.normal(scale=0.1, size=(CLASSES, FEATURES)).astype(np.float32)
    y = rng.integers(CLASSES, size=n)
    with open(folder / "X.npy", "wb") as file:
        header = {"descr": "<f4", "fortran_order": False, "shape": (n, FEATURES)}
        np.lib.format.write_array_header_1_0(file, header)
        for start in range(0, n, BLOCK):
            labels = y[start : start + BLOCK]
            file.write((np.roll(noise, start // BLOCK, axis=1)[: len(labels)] + centres[labels]).data)
    np.save(folder / "y.npy", y)
    return n


def train(folder, settings):
    """Train in this process; print peak memory, time and result as JSON."""
    from tsnn.config import Config
    from tsnn.execution.engine import execute
    from tsnn.runs import RunStore

    run = RunStore(folder / "runs").create(Config().replace({"data.name": str(folder / "data"), **settings}))
    started = time.perf_counter()
    list(execute(run))
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    counts = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
    last, memory = run.records()[-1], run.meta()["memory"]
    print(json.dumps({
        "peak": 1024 * int(status["VmHWM"].split()[0]), "address_space": 1024 * int(status["VmPeak"].split()[0]),
        "expected": memory["expected"], "streamed": memory["streamed"], "disk": int(counts["read_bytes"]),
        "seconds": time.perf_counter() - started, "train": last.seconds_train, "evaluate": last.seconds_evaluate,
        "accuracy": last.test_accuracy,
    }))  # fmt: skip


def measure(folder, memory, settings):
    """Train in a process that may take this many bytes; return its results."""
    command = [sys.executable, "-m", "tests.benchmarks.streaming", "--train", str(folder), json.dumps(settings)]
    limited = functools.partial(resource.setrlimit, resource.RLIMIT_AS, (memory, memory))
    done = subprocess.run(command, preexec_fn=limited, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def main():
    """Write the data, train, print a row, delete them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gigabytes", type=float, default=20.0, help="size of the features")
    parser.add_argument("--memory", type=float, default=4.0, help="GB that the process may take")
    parser.add_argument("--folder", type=Path, help="where the data are written; default: that of temporary files")
    parser.add_argument("--train", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.train:
        train(Path(options.train[0]), json.loads(options.train[1]))
        return
    settings = {
        "training.epochs": 1, "training.batch_size": 512, "training.learning_rate": 0.05, "network.hidden": [100],
        "network.epsilon": 5, "run.threads": 1,
    }  # fmt: skip
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        (Path(name) / "data").mkdir()
        started = time.perf_counter()
        n = write(Path(name) / "data", options.gigabytes)
        print(f"{n:,} samples of {FEATURES:,} features written in {time.perf_counter() - started:.0f} s", flush=True)
        result = measure(Path(name), int(options.memory * 1e9), settings)
    sizes = {key: f"{result[key] / 1e9:.2f} GB" for key in ("streamed", "peak", "address_space", "expected", "disk")}
    print("| features | allowed | peak memory | address space | expected | read from disk |\n|---|---|---|---|---|---|")
    print(
        f"| {sizes['streamed']} | {options.memory:.2f} GB | {sizes['peak']} | {sizes['address_space']} "
        f"| {sizes['expected']} | {sizes['disk']} |"
    )
    before = result["seconds"] - result["train"] - result["evaluate"]
    print(
        f"{before:.0f} s to check, hash and scale (one pass each), {result['train']:.0f} s to train an epoch, "
        f"{result['evaluate']:.0f} s to evaluate; test accuracy {result['accuracy']:.1%}"
    )


if __name__ == "__main__":
    main()
