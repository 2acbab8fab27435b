"""Commands for a live run: written by anyone, read and answered by its engine.

A command is a line in the run's ``control.jsonl``. The engine takes it up at the next batch (pause,
stop) or the next epoch (settings), checks it again, and answers with an ``ack`` line in
``metrics.jsonl``. The commands, the acks and the seed together say how the run came about.
"""

from __future__ import annotations

import contextlib
import secrets
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

from tsnn.config import LIVE_SETTINGS, Config
from tsnn.errors import ConfigError, TsnnError
from tsnn.files import append_line, read_lines
from tsnn.runs.store import Run

ACTIONS = ("set", "pause", "resume", "step", "stop")


@dataclass(frozen=True)
class Command:
    """One command: an action, and for ``set`` the settings by their short names (``zeta``, ...)."""

    action: str
    settings: dict[str, float] = field(default_factory=dict)
    id: str = field(default_factory=lambda: secrets.token_hex(6))
    time: float = field(default_factory=time.time)

    def __post_init__(self) -> None:
        if self.action not in ACTIONS:
            raise ConfigError(f"Unknown action {self.action!r}; known are {', '.join(ACTIONS)}.")


def changed_config(config: Config, settings: Mapping[str, float]) -> Config:
    """Return ``config`` with live settings changed, checked like any other setting.

    Parameters
    ----------
    config : Config
        Settings in force.
    settings : mapping
        Short names of :data:`tsnn.config.LIVE_SETTINGS` to values.
    """
    unknown = [name for name in settings if name not in LIVE_SETTINGS]
    if unknown:
        known = ", ".join(LIVE_SETTINGS)
        raise ConfigError(f"{unknown[0]!r} cannot be changed while a run trains; these can: {known}.")
    return config.replace({LIVE_SETTINGS[name]: value for name, value in settings.items()})


def request(run: Run, action: str, **settings: float) -> Command:
    """Ask a run for something; returns the command, whose id the engine's ``ack`` line will carry.

    Parameters
    ----------
    run : Run
        The run.
    action : {"set", "pause", "resume", "step", "stop"}
        ``step`` trains one epoch and pauses.
    **settings : float
        For ``set``: new values of zeta, epsilon, learning_rate, dropout, percentile.

    Raises
    ------
    ConfigError
        If the action or a setting is unknown or out of range.
    """
    command = Command(action, dict(settings))
    changed_config(Config(), command.settings)
    append_line(run.path / "control.jsonl", asdict(command))
    return command


class ControlReader:
    """Reads a run's commands as they come; damaged lines are passed over. The reader checks the settings.

    Parameters
    ----------
    run : Run
        The run that the engine carries out.

    Attributes
    ----------
    offset : int
        How many bytes of the commands have been read.
    """

    def __init__(self, run: Run):
        self._path: Path = run.path / "control.jsonl"
        self.offset = 0

    def poll(self) -> list[Command]:
        """Return the commands written since the last call."""
        lines, self.offset = read_lines(self._path, self.offset)
        return [command for line in lines if (command := _parse(line)) is not None]


def _parse(line: Mapping[str, Any]) -> Command | None:
    try:
        return Command(**line) if isinstance(line.get("settings", {}), dict) else None
    except (TypeError, TsnnError):
        return None


@contextlib.contextmanager
def stopping_on_signals(run: Run, delay: float = 0.0) -> Iterator[list[int]]:
    """Turn the first SIGINT or SIGTERM into a command to stop, taken up after the batch; the second one interrupts.

    Raising in the middle of compiled code is not safe, so this is what a process that carries out a run uses.
    Yields the list of signals received. Before the run trains, the first signal interrupts.

    Parameters
    ----------
    run : Run
        The run.
    delay : float
        Seconds until the command. A launcher that has lost a rank sends SIGTERM to the others, too, and kills them soon
        after: then nobody commands anything.
    """
    received: list[int] = []

    def stop(signum: int, frame: FrameType | None) -> None:
        received.append(signum)
        if len(received) > 1 or run.status()["state"] not in ("training", "paused"):
            raise KeyboardInterrupt
        if delay:
            timer = threading.Timer(delay, request, (run, "stop"))
            timer.daemon = True
            timer.start()
        else:
            request(run, "stop")

    previous = {signum: signal.signal(signum, stop) for signum in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield received
    finally:
        for signum, handler in previous.items():
            signal.signal(signum, handler)
