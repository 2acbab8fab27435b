"""Campaign of bad input; prints a table, and fails if anything but a clear error came of it, or it took too long.

``python -m tests.fuzz`` gives 20,000 inputs, which takes some minutes; ``--inputs`` sets their number. An input that
fails is reduced to a small one, and printed. Each input may take a minute.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import json
import logging
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any
from urllib.parse import urlencode

import numpy as np
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import seed as seeded
from hypothesis import strategies as st
from pages.address import ADDRESS
from pages.dashboard import Dashboard
from pages.security import readable_query
from panel.io.location import Location

import tsnn
from tests.fuzz.strategies import addresses, damaged, names, scalars, tables, values
from tests.support import fake_engine
from tsnn.cli.console import run_lines
from tsnn.config import LIVE_SETTINGS, Config
from tsnn.datasets import load_dataset
from tsnn.errors import MAX_MESSAGE, TsnnError
from tsnn.jobs import launch, queue
from tsnn.jobs.outcome import job_outcome
from tsnn.runs import Run, RunStore
from tsnn.runs.acks import recorded_acks, recorded_before
from tsnn.runs.catalog import Catalog
from tsnn.runs.checkpoints import read_checkpoint, write_checkpoint
from tsnn.runs.comparison import table
from tsnn.runs.control import ControlReader, changed_config
from tsnn.runs.export import to_csv
from tsnn.runs.notes import annotate
from tsnn.runs.results import result
from tsnn.views.live.follower import RunFollower

SECONDS = 60  #: that an input may take, also on a busy machine
#: Parts of the inputs.
WEIGHTS = {
    "settings": 6, "configurations": 4, "commands": 4, "run directories": 2, "tables": 2, "archives": 1, "addresses": 1,
}  # fmt: skip


def attempt(function: Callable[..., Any], *arguments: Any) -> None:
    """Call a function that may refuse its arguments with a message."""
    try:
        function(*arguments)
    except TsnnError as error:
        message = str(error)
    else:
        return
    assert message.strip(), "no message"
    assert len(message) <= MAX_MESSAGE, "the message repeats the input"
    assert "Traceback" not in message


class Fuzzer:
    """Targets of the campaign, and the folder that they work in."""

    def __init__(self, folder: Path):
        self.folder = folder
        store = RunStore(folder / "runs")
        self.run = fake_engine.finished_run(store, {"data.name": "madelon", "training.epochs": 30}, 3)
        write_checkpoint(self.run, 3, 0, "sequential", {"a": 1.5}, {"b": np.arange(5)})
        annotate(self.run, title="One", tags=["a"])
        self._write("control.jsonl", {"action": "set", "settings": {"zeta": 0.2}, "id": "1", "time": 1})
        self._write("queued.json", {"time": 5})
        self._write("resume.json", {"epochs": 40})
        self._write("exit.json", {"state": "failed", "reason": "none", "rc": 1})
        network = tsnn.init_network(12, 3, Config().replace(hidden=[5]), rng=np.random.default_rng(0))
        tsnn.save_network(network, self.run.path / "weights.npz")
        files = [path for path in self.run.path.rglob("*") if path.is_file()]
        self.contents = {str(path.relative_to(self.run.path)): path.read_bytes() for path in files}
        np.savez(folder / "data.npz", X=np.ones((9, 3)), y=np.arange(9) % 3)
        self.archive = (folder / "data.npz").read_bytes()
        launch.start_supervisor = lambda run: run.wanted_config()  # type: ignore[assignment, return-value]

    def _write(self, name: str, values: dict[str, Any]) -> None:
        (self.run.path / name).write_text(json.dumps(values) + "\n")

    def targets(self) -> dict[str, tuple[Callable[..., None], st.SearchStrategy[Any]]]:
        """Return the functions that take bad input, and the strategies of their inputs."""
        toml = Config().to_toml().encode()
        control = b'{"action": "set", "settings": {"zeta": 0.2, "epsilon": 3}, "id": "a1", "time": 1.5}\n'
        files = st.sampled_from(sorted(self.contents)).flatmap(
            lambda name: st.tuples(st.just(name), damaged(self.contents[name]))
        )
        return {
            "settings": (self.settings, st.dictionaries(names, values, min_size=1, max_size=3)),
            "configurations": (self.configuration, st.one_of(damaged(toml), st.binary(max_size=60))),
            "commands": (self.commands, st.one_of(damaged(control), st.dictionaries(
                st.sampled_from([*LIVE_SETTINGS, "x"]), scalars).map(_command))),
            "run directories": (self.directory, files),
            "tables": (self.table, tables()),
            "archives": (self.npz, damaged(self.archive)),
            "addresses": (self.address, addresses(self.run.id, 3)),
        }  # fmt: skip

    def settings(self, changes: dict[Any, Any]) -> None:
        """Change settings, by name and as nested tables."""
        attempt(Config().replace, changes)
        attempt(Config.from_dict, changes)
        attempt(changed_config, Config(), changes)

    def configuration(self, content: bytes) -> None:
        """Read a configuration file."""
        path = self.folder / "config.toml"
        path.write_bytes(content)
        attempt(Config.from_toml, path)

    def commands(self, content: bytes) -> None:
        """Read commands for a run."""
        (self.run.path / "control.jsonl").write_bytes(content)
        for command in ControlReader(self.run).poll():
            attempt(changed_config, Config(), command.settings)

    def directory(self, damage: tuple[str, bytes]) -> None:
        """Read a run directory with a damaged file in each way that its viewers do."""
        name, content = damage
        (self.run.path / name).write_bytes(content)
        try:
            self._read(self.run)
        finally:
            for name, content in self.contents.items():
                (self.run.path / name).write_bytes(content)

    def _read(self, run: Run) -> None:
        store = RunStore(run.path.parent)
        known = Catalog(store)
        known.refresh()
        table([result(run)])
        for function in (to_csv, Run.records, Run.meta, Run.config, Run.wanted_config, launch.prepare_resume):
            attempt(function, run)
        attempt(read_checkpoint, run, "sequential")
        attempt(tsnn.load_network, run.path / "weights.npz")
        attempt(run.snapshot, 1)
        follower = RunFollower(run, min_interval=0)
        follower.poll()
        follower.seconds_left()
        recorded_acks(run), recorded_before(run), run.log(), run.problem()
        attempt(queue.advance, store)
        job_outcome(run, 1, "", stop_requested=False, log_start=0)
        list(run_lines(store.list()))

    def table(self, content: bytes) -> None:
        """Load a table of text."""
        path = self.folder / "table.csv"
        path.write_bytes(content)
        attempt(lambda: load_dataset(path, rng=np.random.default_rng(0)))

    def npz(self, content: bytes) -> None:
        """Load an archive of arrays, as data and as a network."""
        path = self.folder / "other.npz"
        path.write_bytes(content)
        attempt(lambda: load_dataset(path, rng=np.random.default_rng(0)))
        attempt(tsnn.load_network, path)

    @functools.cached_property
    def page(self) -> Dashboard:
        """One page for all addresses."""
        return Dashboard(RunStore(self.run.path.parent))

    def address(self, values: dict[str, str]) -> None:
        """Open the page at an address."""
        page, location = self.page, Location(search=f"?{readable_query(urlencode(values, errors='replace'))}")
        page.param.update(**{name: page.param[name].default for name in ADDRESS})
        page.restore(location)
        location.unsync(page)
        page._show_run()
        page.many.show("compare")
        page.many.show("sweep")
        page.strip.show(page.lesson)
        page.many.__dict__.pop("runs", None)  # it takes the columns when it is made
        assert page.many.runs
        page.tick()


def _command(changes: dict[str, Any]) -> bytes:
    with contextlib.suppress(ValueError):
        return json.dumps({"action": "set", "settings": changes, "id": "2", "time": 3}).encode() + b"\n"
    return b""


def _too_long(signum: int, frame: FrameType | None) -> None:
    raise TimeoutError(f"An input takes more than {SECONDS} s")


def fuzz(function: Callable[..., None], strategy: st.SearchStrategy[Any], inputs: int, seed: int) -> tuple[int, str]:
    """Give a function inputs; returns their number, and the report of a failure or nothing."""
    count = 0

    @seeded(seed)
    @settings(max_examples=inputs, deadline=None, database=None, phases=(Phase.generate, Phase.shrink),
              suppress_health_check=list(HealthCheck))  # fmt: skip
    @given(strategy)
    def give(value: Any) -> None:
        nonlocal count
        count += 1
        signal.alarm(SECONDS)
        try:
            function(value)
        finally:
            signal.alarm(0)

    try:
        give()
    except BaseException as error:
        notes = "\n".join(getattr(error, "__notes__", []))[:1500]
        return count, "".join(traceback.format_exception(error)[-6:]) + notes
    return count, ""


def main() -> int:
    """Run the campaign."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--inputs", type=int, default=20_000)
    parser.add_argument("--only", choices=WEIGHTS)
    parser.add_argument("--seed", type=int, default=time.time_ns() % 10**6)
    options = parser.parse_args()
    signal.signal(signal.SIGALRM, _too_long)
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    print(f"seed {options.seed}", flush=True)
    folder, failed = Path(tempfile.mkdtemp(prefix="tsnn-fuzz-")), False
    try:
        for name, (function, strategy) in Fuzzer(folder).targets().items():
            if options.only in (None, name):
                share = 1 if options.only else WEIGHTS[name] / sum(WEIGHTS.values())
                started = time.monotonic()
                count, report = fuzz(function, strategy, max(1, round(share * options.inputs)), options.seed)
                failed |= bool(report)
                text = f"{'FAILED' if report else 'ok':<8}{time.monotonic() - started:6.0f} s"
                print(f"{name:<18}{count:>8,}  {text}", flush=True)
                sys.stdout.write(report and f"{report}\n")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
