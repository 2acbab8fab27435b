"""Helpers of the tests: waiting, processes, ranks, a fake engine, reference implementations. No test modules."""
