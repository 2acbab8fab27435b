"""Commands for a live run: any process may write them; the run's engine executes and acknowledges them.

A command is a line in the run's ``control.jsonl``. The engine executes it after the current batch (pause, stop) or
applies it after the current epoch (settings), and acknowledges it with an ``ack`` line in ``metrics.jsonl``: accepted,
or refused with a message. Commands, acks and the seed together reproduce the run.
"""

from __future__ import annotations

import contextlib
import secrets
import signal
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

from tsnn.config import LIVE_SETTINGS, Config, LiveValue
from tsnn.config.schema import shortened
from tsnn.errors import ConfigError, RunError, TsnnError
from tsnn.files import append_line, read_lines
from tsnn.records import LIVE, RunState
from tsnn.runs.checks import fits, is_number, is_table, is_text
from tsnn.runs.rules import own_rules, recorded_rules
from tsnn.runs.store import Run

ACTIONS = ("set", "pause", "resume", "step", "stop")


@dataclass(frozen=True)
class Command:
    """A command for a run.

    Attributes
    ----------
    action : {"set", "pause", "resume", "step", "stop"}
        See :func:`request`.
    settings : dict of str to float or str
        For ``set``: new values by short name (``zeta``, ...).
    id : str
        Identifies the command in its ack.
    time : float
        When it was made, in seconds since 1970.
    """

    action: str
    settings: dict[str, LiveValue] = field(default_factory=dict)
    id: str = field(default_factory=lambda: secrets.token_hex(6))
    time: float = field(default_factory=time.time)

    def __post_init__(self) -> None:
        if self.action not in ACTIONS:
            raise ConfigError(f"Unknown action {self.action!r}; known are {', '.join(ACTIONS)}.")


def without_effect(config: Config, name: str) -> str:
    """Return why a live setting, by its short name, has no effect on a run with these settings; '' if it has one."""
    method = config.training.method
    if method in ("fixed", "dense") and name in ("zeta", "epsilon", "prune", "regrow"):
        return f"{name} has no effect here: the topology of a {method} network stays. Start a run of method 'set'."
    if method == "two_phase" and name in ("zeta", "prune", "regrow"):
        return f"{name} has no effect here: 'two_phase' prunes once, without evolution. Start a run of method 'set'."
    if name == "epsilon" and config.network.density:
        return (
            "epsilon has no effect here: network.density decides the number of connections. Start a run without "
            "density to change epsilon."
        )
    return ""


def check_effect(config: Config, names: Iterable[str]) -> None:
    """Raise a ConfigError if a live setting has no effect on a run with these settings."""
    if reason := next(filter(None, (without_effect(config, name) for name in names)), ""):
        raise ConfigError(reason)


def changed_config(config: Config, settings: Mapping[str, LiveValue]) -> Config:
    """Return ``config`` with live settings changed, checked like any other setting.

    Parameters
    ----------
    config : Config
        Current settings.
    settings : mapping
        Short names of :data:`tsnn.config.LIVE_SETTINGS` to values.

    Raises
    ------
    ConfigError
        If a setting is not live, or a value is out of range.
    """
    unknown = [name for name in settings if name not in LIVE_SETTINGS]
    if unknown:
        known = ", ".join(LIVE_SETTINGS)
        raise ConfigError(f"{shortened(unknown[0])} cannot be changed while a run trains; these can: {known}.")
    for name, value in settings.items():
        if not isinstance(value, str | int | float):
            raise ConfigError(f"{name} must be a number or a name, got {shortened(value)}.")
    try:
        return config.replace({LIVE_SETTINGS[name]: value for name, value in settings.items()})
    except ConfigError:
        raise
    except (ValueError, OverflowError) as error:  # a number that no float can hold
        raise ConfigError(f"{', '.join(settings)}: {shortened(str(error))}. Give a number of ordinary size.") from error


def request(run: Run, action: str, **settings: LiveValue) -> Command:
    """Send a command to a run; returns it. The engine's ``ack`` line carries its id.

    Parameters
    ----------
    run : Run
        The run.
    action : {"set", "pause", "resume", "step", "stop"}
        ``set`` changes live settings after the current epoch; ``step`` trains up to the end of an epoch and pauses;
        ``stop`` writes a checkpoint and ends the run.
    **settings : float or str
        For ``set``: new values of live settings (:data:`tsnn.config.LIVE_SETTINGS`), such as ``zeta=0.2``,
        ``regrow="gradient"``.

    Raises
    ------
    ConfigError
        If the action or a setting is unknown or out of range, or names a rule that the run does not record.
    RunError
        If the run has no process that could obey: it has ended, or is still queued.
    """
    command = Command(action, dict(settings))
    _check_rules(run, command)
    if (state := run.status()["state"]) not in LIVE:
        wait = "Wait until it trains" if state == RunState.QUEUED else f"Continue it first: tsnn resume {run.id}"
        raise RunError(f"Run {run.id} is {state}: it cannot obey the command {action!r}. {wait}.")
    append_line(run.path / "control.jsonl", asdict(command))
    return command


def _check_rules(run: Run, command: Command) -> None:
    """Check the settings of a command; a run can switch only to rules of one's own that it has recorded."""
    for registry, name in own_rules(changed_config(Config(), command.settings)):
        if (registry.decorator, name) not in {(r.kind, r.rule.name) for r in recorded_rules(run.path)}:
            setting = next(key for key, value in command.settings.items() if value == name)
            raise ConfigError(
                f"Run {run.id} was started without the {registry.kind} {name!r} and cannot switch to it. Continue with "
                f"it in a new run: tsnn.fork(run, {setting}={name!r})."
            )


class ControlReader:
    """Reader of a run's commands; damaged lines are skipped. Settings are not checked here.

    Parameters
    ----------
    run : Run
        The run.

    Attributes
    ----------
    offset : int
        Number of bytes of ``control.jsonl`` that have been read.
    """

    def __init__(self, run: Run):
        self._path: Path = run.path / "control.jsonl"
        self.offset = 0

    def poll(self) -> list[Command]:
        """Return the commands written since the last call."""
        lines: list[dict[str, Any]] = []
        with contextlib.suppress(OSError):  # a folder, for instance: no commands can be sent
            lines, self.offset = read_lines(self._path, self.offset)
        return [command for line in lines if (command := _parse(line)) is not None]


def _parse(line: Mapping[str, Any]) -> Command | None:
    if not fits({"action": is_text, "settings": is_table, "id": is_text, "time": is_number}, line):
        return None
    try:
        return Command(**line)
    except (TypeError, TsnnError):
        return None


@contextlib.contextmanager
def stopping_on_signals(run: Run, delay: float = 0.0) -> Iterator[list[int]]:
    """Turn the first SIGINT or SIGTERM into a command to stop after the current batch; the second one interrupts.

    For processes that execute a run: an exception in the middle of compiled code is not safe. Before training begins,
    the first signal interrupts. Yields the list of signals received.

    Parameters
    ----------
    run : Run
        The run.
    delay : float
        Seconds until the command. A launcher that has lost a rank sends SIGTERM to the other ranks and kills them soon
        after: in this time, so no command is written.
    """
    received: list[int] = []

    def stop(signum: int, frame: FrameType | None) -> None:
        received.append(signum)
        if len(received) > 1 or run.status()["state"] not in (RunState.TRAINING, RunState.PAUSED):
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
