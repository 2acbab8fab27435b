"""Cached kernels: loaded again, recompiled after changes, and free of reference counting in inner loops."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

import tsnn
from tsnn.kernels.compiling import has_fast_vectors

pytestmark = [pytest.mark.compiled, pytest.mark.slow]


def run(script, tmp_path, *arguments):
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path / "cache"), "NUMBA_DEBUG_CACHE": "1"}
    python = [sys.executable, "-c", script, *arguments]
    return subprocess.run(python, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True).stdout


def test_cache__recompiles_a_kernel_when_a_called_function_changes(tmp_path):
    shutil.copytree(Path(tsnn.__file__).parent, tmp_path / "tsnn", ignore=shutil.ignore_patterns("__pycache__"))
    script = (
        "import sys; sys.path.insert(0, ''); import numpy as np; from tsnn import kernels;"
        "out = np.empty((1, 16), np.float32);"
        "kernels.gather(np.full((1, 1), 3, np.float32), np.zeros(1, np.int64), out); print('found', out[0, 0])"
    )
    assert "found 3.0" in run(script, tmp_path)
    rows = tmp_path / "tsnn/kernels/rows.py"  # the cached gather_loop is in layers.py
    text = rows.read_text()
    assert "x[order[s], f] if" in text
    rows.write_text(text.replace("x[order[s], f] if", "2 * x[order[s], f] if"))
    assert "found 6.0" in run(script, tmp_path)


def test_cache__serves_networks_of_other_sizes(tmp_path):
    script = """
import sys
import numpy as np
from tsnn.config import Config
from tsnn.datasets import make_dataset
from tsnn.engine.network import init_network
from tsnn.engine.training import train

rng = np.random.default_rng(0)
data = make_dataset(rng.normal(size=(300, 20)), np.arange(300) % 3, rng=rng)
settings = {"network.hidden": eval(sys.argv[1]), "network.dropout": float(sys.argv[2]), "training.epochs": 2}
config = Config().replace(settings | {"network.epsilon": 2, "training.batch_size": 128})
network = init_network(20, 3, config, rng=rng)
print("epochs", len(list(train(network, data, config, rng=rng))))
"""
    first = run(script, tmp_path, "[30, 20]", "0.3")
    assert first.count("data saved") > 20
    for arguments in (["[900, 40, 30]", "0.3"], ["[50]", "0"]):
        again = run(script, tmp_path, *arguments)
        assert "epochs 2" in again
        assert "data saved" not in again


@pytest.mark.skipif(not has_fast_vectors(), reason="tiles are arrays where the processor has no vectors")
def test_inner_loops__count_no_references(tmp_path):
    """Once per neuron, it made the forward pass a tenth slower."""
    script = """
import sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from tests.support.layers import Sample
from tsnn.kernels import rows

sample = Sample(20, 10, 128)
sample.forward(threshold=1 << 30)
sample.scatter(1.0, 1 << 30, 0, 0)
sample.backward(0.9, 0.1, 0.0, threshold=1 << 30)
for name in ("forward_rows", "scatter_rows", "backward_rows"):
    Path(name).write_text("".join(getattr(rows, name).inspect_llvm().values()))
"""
    run(script, tmp_path, str(Path(__file__).parents[2]))
    for name in ("forward_rows", "scatter_rows", "backward_rows"):
        code = (tmp_path / name).read_text()
        assert "call void @NRT_incref" in code, "outside of loops a kernel counts"
        assert [line for line in in_loops(code) if "call void @NRT_" in line] == [], name


def in_loops(code):
    """Yield the lines of LLVM code that may run more than once in a call."""
    for body in re.findall(r"^define[^\n]*\{\n(.*?)^\}", code, re.DOTALL | re.MULTILINE):
        blocks = [
            (block.partition(":")[0], block.splitlines()) for block in re.split(r"^(?=[\w.]+:)", body, flags=re.M)
        ]
        names = [name for name, _ in blocks]
        jumps = {
            (number, names.index(target))
            for number, (_, lines) in enumerate(blocks)
            for target in re.findall(r"label %([\w.]+)", "\n".join(lines))
        }
        if jumps:
            graph = coo_array((np.ones(len(jumps)), tuple(zip(*jumps, strict=True))), shape=2 * (len(names),))
            _, component = connected_components(graph, connection="strong")
            again = np.bincount(component)[component] > 1
            again[[start for start, end in jumps if start == end]] = True
            yield from (line for number in np.flatnonzero(again) for line in blocks[number][1])
