"""Short forms of the campaigns ``python -m tests.faults`` and ``python -m tests.fuzz``."""

import random
import re
import signal
import subprocess
import sys

import pytest

from tests.conftest import FOLDER
from tests.faults.endurance import Endurance

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


def test_faults__print_their_table_when_they_are_interrupted():
    command = [sys.executable, "-m", "tests.faults", "--kills", "1000", "--seed", "0"]
    process = subprocess.Popen(command, cwd=FOLDER.parent, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    told = b""
    while not re.search(rb" [1-9]\d*/\d+\r", told):  # a story with a fault has been told
        assert process.poll() is None
        told += process.stderr.buffer.read1(1000)
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    faults, stories = output.split("kills and stops")[1].split()[:2]
    assert int(faults) > 0
    assert int(stories) > 0


@pytest.mark.parametrize(("mib", "growth"), [([300, 350, 400, 400, 400, 400, 400], 0), (range(300, 371, 10), 600)])
def test_endurance__growth_is_that_of_the_second_half(tmp_path, mib, growth):
    run = Endurance(tmp_path, random.Random(0))
    run.samples = [{"seconds": 60 * minute, "engine": value} for minute, value in enumerate(mib)]
    assert run.growth("engine") == pytest.approx(growth)


def test_bad_input__gets_clear_errors():
    table = campaign("tests.fuzz", "--inputs", "300", "--seed", "0")
    assert table.count("ok") == 7
