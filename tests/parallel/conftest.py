"""Runs of which no process is left behind."""

from tests.unit.test_supervisor import store

__all__ = ["store"]
