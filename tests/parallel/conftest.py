"""Run directories for tests with real processes, which end with the test."""

from tests.unit.test_supervisor import store

__all__ = ["store"]
