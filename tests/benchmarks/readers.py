"""Readers of CSV compared: CPU seconds and peak memory of a table of numbers, each reader in a process of its own.

The table holds normal numbers of five decimals and a last column of classes. ``load_dataset`` does all that a run
needs: it finds the layout, checks lines, reads, checks columns, splits, and scales to float32. Polars and DuckDB are
measured if they are installed. The peak is that of the process, without what its imports take.

Run ``python -m tests.benchmarks.readers [--rows N] [--columns N] [--file CSV]``.
"""

import argparse
import importlib.util
import json
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np


def with_load_dataset(path):
    """Read, split and scale as a run does; returns the number of features."""
    from tsnn.datasets import load_dataset

    return lambda: load_dataset(path, rng=np.random.default_rng(0)).n_features


def with_read_table(path):
    """Read as :func:`with_load_dataset` does, without split and scaling."""
    from tsnn.datasets.sources import obtain

    return lambda: obtain(path).x.shape[1]


def with_pandas(path):
    """Read with the defaults of pandas."""
    import pandas as pd

    return lambda: pd.read_csv(path, low_memory=False).shape[1]


def with_pyarrow(path):
    """Read with PyArrow, into memory that NumPy can use."""
    from pyarrow import csv

    return lambda: len([column.to_numpy() for column in csv.read_csv(path).columns])


def with_polars(path):
    """Read with Polars, into memory that NumPy can use."""
    import polars as pl

    return lambda: len([column.to_numpy() for column in pl.read_csv(path, infer_schema_length=None).iter_columns()])


def with_duckdb(path):
    """Read with DuckDB, into memory that NumPy can use."""
    import duckdb

    return lambda: len(duckdb.sql(f"select * from read_csv('{path}', sample_size = -1)").fetchnumpy())


READERS = {
    "load_dataset": with_load_dataset,
    "its reader alone": with_read_table,
    "pandas": with_pandas,
    "pyarrow": with_pyarrow,
    "polars": with_polars,
    "duckdb": with_duckdb,
}


def make_table(path, rows, columns, block=20_000):
    """Write a table of numbers and a last column of classes."""
    import pyarrow as pa
    from pyarrow import csv

    rng = np.random.default_rng(0)
    names = [*(f"x{i}" for i in range(columns - 1)), "y"]
    with path.open("wb") as file:
        file.write((",".join(names) + "\n").encode())
        for start in range(0, rows, block):
            x = rng.normal(size=(columns - 1, min(block, rows - start))).round(5)
            arrays = [*map(pa.array, x), pa.array((x[0] > 0).astype(int))]
            csv.write_csv(pa.table(arrays, names=names), file, csv.WriteOptions(include_header=False))


def peak_mib():
    """Return the peak memory of this process in MiB (Linux; that of getrusage may be its parent's)."""
    return int(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1]) / 1024


def measure(name, path):
    """Read a table in this process and print the figures as JSON."""
    read = READERS[name](path)
    before, cpu, started = peak_mib(), time.process_time(), time.perf_counter()
    columns = read()
    figures = {"seconds": time.perf_counter() - started, "cpu": time.process_time() - cpu, "columns": columns}
    print(json.dumps(figures | {"peak": peak_mib() - before}))


def compare(path, columns, rows):
    """Print a table of all readers that are installed."""
    features = 4 * rows * columns / 2**20
    print(f"{path.stat().st_size / 1e9:.2f} GB, {rows:,} x {columns}; float32 features: {features:,.0f} MiB\n")
    print("| reader | CPU s | seconds | peak MiB |\n|---|---|---|---|")
    for name in READERS:
        if name in ("polars", "duckdb") and importlib.util.find_spec(name) is None:
            print(f"| {name} | not installed | | |")
            continue
        command = [sys.executable, "-m", "tests.benchmarks.readers", "--file", str(path), "--one", name]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            print(f"| {name} | failed: {done.stderr.strip().splitlines()[-1:]} | | |")
            continue
        figures = json.loads(done.stdout.splitlines()[-1])
        print(f"| {name} | {figures['cpu']:.1f} | {figures['seconds']:.1f} | {figures['peak']:,.0f} |", flush=True)


def main():
    """Make a table, or take a given one, and compare the readers."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_200_000)
    parser.add_argument("--columns", type=int, default=200)
    parser.add_argument("--file", type=Path, help="where the table is kept; default a temporary file")
    parser.add_argument("--one", choices=READERS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        measure(options.one, options.file)
        return
    with tempfile.TemporaryDirectory() as folder:
        path = options.file or Path(folder) / "table.csv"
        if not path.exists():
            make_table(path, options.rows, options.columns)
        compare(path, options.columns, options.rows)


if __name__ == "__main__":
    main()
