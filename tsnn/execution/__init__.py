"""Execution of a run: the only place where the engine and run directories meet."""
