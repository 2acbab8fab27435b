"""Tests of kernels and their callers without JIT: plain Python, in a process with NUMBA_DISABLE_JIT=1."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
UNITS = ("training", "execution", "checkpoint", "estimator", "registry")
PATHS = ["tests/parity", "tests/property", *(f"tests/unit/test_{unit}.py" for unit in UNITS)]


@pytest.mark.nojit
@pytest.mark.timeout(1800)
def test_suite__passes_without_jit():
    command = [sys.executable, "-m", "pytest", "-q", "-n", "0", "-m", "not compiled", *PATHS]
    environment = os.environ | {"NUMBA_DISABLE_JIT": "1"}
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
