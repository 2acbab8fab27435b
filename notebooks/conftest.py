"""Pytest hooks for the notebooks: time limit, import path, directory of their runs."""

import os
import tempfile
from unittest import mock

import pytest


@pytest.hookimpl(tryfirst=True)  # before -m selects
def pytest_collection_modifyitems(items):
    """Mark notebooks, and give them more time than tests: other tests may run meanwhile."""
    for item in items:
        if item.path.suffix == ".ipynb":
            item.add_marker(pytest.mark.notebook)
            item.add_marker(pytest.mark.slow)
            item.add_marker(pytest.mark.timeout(900))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item):
    """Import the tested tsnn in notebooks, and store their runs in a temporary directory."""
    path = os.pathsep.join([str(item.config.rootpath), os.environ.get("PYTHONPATH", "")])
    with (
        tempfile.TemporaryDirectory() as runs,
        mock.patch.dict(os.environ, TSNN_RUNS=runs, PYTHONPATH=path),
    ):
        return (yield)
