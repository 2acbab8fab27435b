"""Execution of a run: the only package where the engine and run directories meet.

``engine`` trains and records a run, with ``preparation``, ``commands`` and ``checkpointing``; ``provenance`` describes
its origin.
"""
