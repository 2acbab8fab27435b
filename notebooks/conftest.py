"""Pytest hooks for the notebooks: time limit, import path, directory of their runs."""

import os
import tempfile
from unittest import mock

import pytest


def pytest_collection_modifyitems(items):
    """Give a notebook more time than a test: other tests may run at the same time."""
    for item in items:
        if item.path.suffix == ".ipynb":
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
