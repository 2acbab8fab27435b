"""What is compiled once is found again, and only as long as it says the same."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import tsnn

pytestmark = pytest.mark.compiled


def run(script, tmp_path, *words):
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path / "cache"), "NUMBA_DEBUG_CACHE": "1"}
    python = [sys.executable, "-c", script, *words]
    return subprocess.run(python, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True).stdout


def test_a_kernel_is_compiled_again_when_what_it_calls_has_changed(tmp_path):
    shutil.copytree(Path(tsnn.__file__).parent, tmp_path / "tsnn", ignore=shutil.ignore_patterns("__pycache__"))
    script = (
        "import sys; sys.path.insert(0, ''); import numpy as np; from tsnn import kernels;"
        "out = np.empty((1, 16), np.float32);"
        "kernels.gather(np.full((1, 1), 3, np.float32), np.zeros(1, np.int64), out); print('found', out[0, 0])"
    )
    assert "found 3.0" in run(script, tmp_path)
    rows = tmp_path / "tsnn/kernels/rows.py"  # gather_loop, which is looked for, is in layers.py
    text = rows.read_text()
    assert "x[order[s], f] if" in text
    rows.write_text(text.replace("x[order[s], f] if", "2 * x[order[s], f] if"))
    assert "found 6.0" in run(script, tmp_path)


def test_networks_of_another_size_compile_nothing(tmp_path):
    script = """
import sys
import numpy as np
from tsnn.config import Config
from tsnn.datasets import make_dataset
from tsnn.network import init_network
from tsnn.training import train

rng = np.random.default_rng(0)
data = make_dataset(rng.normal(size=(300, 20)), np.arange(300) % 3, rng=rng)
settings = {"network.hidden": eval(sys.argv[1]), "network.dropout": float(sys.argv[2]), "training.epochs": 2}
config = Config().replace(settings | {"network.epsilon": 2, "training.batch_size": 128})
network = init_network(20, 3, config.network, rng=rng)
print("epochs", len(list(train(network, data, config, rng=rng))))
"""
    first = run(script, tmp_path, "[30, 20]", "0.3")
    assert first.count("data saved") > 20
    for words in (["[1100, 40, 30]", "0.3"], ["[50]", "0"]):
        again = run(script, tmp_path, *words)
        assert "epochs 2" in again
        assert "data saved" not in again
