"""State and results of a sweep's trial, read once when its run is over."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from tsnn.runs.results import ResultReader, RunResult
from tsnn.runs.run import Run
from tsnn.runs.sweep_plan import Trial


@dataclass
class KnownTrial:
    """State and results of a trial whose run exists, as last read.

    Attributes
    ----------
    mark : int
        Modification time of the run's directory when it was over, since files in it are replaced; else -1.
    trial : Trial or None
        The trial.
    reader : ResultReader or None
        Of a run that may still change.
    result : RunResult or None
        Its last results.
    after : mapping of int to RunResult
        With successive halving: its results after the epochs of each round.
    complete : bool
        Whether the results will not change any more.
    settings : mapping
        Settings that Optuna chose.
    """

    mark: int = -1
    trial: Trial | None = None
    reader: ResultReader | None = None
    result: RunResult | None = None
    after: Mapping[int, RunResult] = field(default_factory=dict)
    complete: bool = False
    settings: Mapping[str, Any] = field(default_factory=dict)

    def read(self, run: Run, stops: Collection[int], seconds: float) -> None:
        """Read new lines of the run for some time, and its results after some numbers of epochs."""
        reader = self.reader = self.reader or ResultReader(run, stops)
        read = reader.read(seconds)
        self.result = reader.result()
        self.after = {**self.after, **reader.after(self.result)}
        if read and self.mark != -1:
            self.complete, self.reader = True, None
