"""The suite without JIT, as a step of its own: kernels run as plain Python, in a process with NUMBA_DISABLE_JIT=1."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FOLDERS = ["tests/unit", "tests/parity", "tests/property"]


@pytest.mark.nojit
@pytest.mark.timeout(1800)
def test_suite__passes_without_jit():
    command = [sys.executable, "-m", "pytest", "-q", "-n", "0", "-m", "not compiled", *FOLDERS]
    environment = os.environ | {"NUMBA_DISABLE_JIT": "1"}
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
