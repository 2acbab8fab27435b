"""Acknowledged settings: where each change of a live setting was applied, so that a resumed run repeats it there.

An ``ack`` line of ``metrics.jsonl`` that answers a command to change settings holds the settings and their place: the
last finished ``epoch``, and in ``at_start`` whether they hold from the start of the next epoch on; otherwise they hold
for the evolution after that epoch already. These lines stay when a run is resumed from a checkpoint before them. Of
several acks of a command the last one counts.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from typing import Any, TypeAlias

from tsnn.files import complete_lines, parse_object
from tsnn.runs.checks import line_problem
from tsnn.runs.run import Run

#: Boundary of two epochs: number of finished epochs, and whether the evolution after them is over.
Place: TypeAlias = "tuple[int, bool]"


@dataclass(frozen=True)
class Ack:
    """Answer to a command that changes settings.

    Attributes
    ----------
    command : str
        Id of the command.
    epoch : int
        Last finished epoch when the settings were applied, or the command was refused.
    settings : mapping of str to float or str
        New values by short name.
    accepted : bool
        Whether they were applied.
    message : str
        Why not.
    at_start : bool
        Whether they hold from the start of the next epoch on; otherwise already for the evolution after ``epoch``.
    left_out : bool
        Whether they had been applied, and were then left out because training diverged with them.
    """

    command: str
    epoch: int
    settings: dict[str, Any]
    accepted: bool = True
    message: str = ""
    at_start: bool = False
    left_out: bool = False

    @property
    def place(self) -> Place:
        """Where the settings were applied."""
        return self.epoch, self.at_start


def recorded_acks(run: Run) -> list[Ack]:
    """Return the acks of settings in a run's metrics, one for each command, in the order of their places."""
    found: dict[str, Ack] = {}
    for line in _lines(run, "ack"):
        if {"epoch", "settings"} <= line.keys():
            found[line["command"]] = Ack(**{f.name: line[f.name] for f in fields(Ack) if f.name in line})
    return sorted(found.values(), key=lambda ack: ack.place)


def recorded_before(run: Run) -> int:
    """Return the last epoch that had been recorded when the run was resumed; 0 if it was not."""
    return max((line["recorded"] for line in _lines(run, "repeat")), default=0)


def _lines(run: Run, kind: str) -> Iterator[dict[str, Any]]:
    mark = f'"{kind}"'.encode()
    for raw, _ in complete_lines(run.path / "metrics.jsonl"):
        with contextlib.suppress(ValueError):
            if mark in raw and (line := parse_object(raw)).get("type") == kind and not line_problem(line):
                yield line


def settings_until(acks: Iterable[Ack], place: Place) -> dict[str, Any]:
    """Return the settings that commands had changed up to a place."""
    changed: dict[str, Any] = {}
    for ack in acks:
        if ack.accepted and ack.place <= place:
            changed |= ack.settings
    return changed
