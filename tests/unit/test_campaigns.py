"""Short forms of the campaigns ``python -m tests.faults`` and ``python -m tests.fuzz``."""

import subprocess
import sys

import pytest

from tests.conftest import FOLDER

pytestmark = [pytest.mark.slow, pytest.mark.compiled, pytest.mark.skipif(sys.platform != "linux", reason="forks")]


def campaign(*arguments):
    result = subprocess.run(
        [sys.executable, "-m", *arguments], cwd=FOLDER.parent, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def test_faults__lose_change_and_leave_nothing():
    table = campaign("tests.faults", "--quick", "--seed", "0")
    assert "kills and stops" in table
    assert "full disks" in table


def test_bad_input__gets_clear_errors():
    table = campaign("tests.fuzz", "--inputs", "300", "--seed", "0")
    assert table.count("ok") == 7
