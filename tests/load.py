"""Load campaign: many viewers of one run, long metrics. Prints a table, which README quotes.

Run ``python -m tests.load [--short] [--part viewers|metrics] [--viewers N] [--seconds S] [--epochs N]``.

Viewers are clients that speak Bokeh's protocol: each loads the page, opens its websocket, pulls the document, and
answers like a page that needs 50 ms to draw. Fifty pages of a real browser would measure the browser, which needs more
than two cores for them; tests in ``tests/e2e`` use a real one.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import numpy as np
import psutil
from tornado.httpclient import AsyncHTTPClient, HTTPRequest
from tornado.websocket import websocket_connect

from tests.support import fake_engine
from tests.support.dashboard import ROOT, Server
from tests.support.waiting import wait_until
from tsnn.config import Config
from tsnn.jobs import launch
from tsnn.runs import Run, RunStore
from tsnn.runs.writer import RunWriter

DRAWING_SECONDS = 0.05
_READY = {
    "kind": "MessageSent", "msg_type": "bokeh_event",
    "msg_data": {"type": "event", "name": "document_ready", "values": {"type": "map", "entries": []}},
}  # fmt: skip


class Viewer:
    """A page of the dashboard without a browser.

    Parameters
    ----------
    server
        The dashboard.
    query
        Address of the page behind ``?``.

    Attributes
    ----------
    epoch
        Newest epoch in the curves; -1 before the first.
    moves
        Number of updates of the curves.
    received
        Bytes received since the page was opened.
    """

    def __init__(self, server: Server, **query: str):
        self._url = f"{server.url}?{urlencode(query)}"
        self._origin = f"http://127.0.0.1:{server.port}"
        self.epoch, self.moves, self.received = -1, 0, 0
        self._buffers: dict[str, bytes] = {}
        self._socket: Any = None
        self._asked = self._answer = ""

    async def watch(self) -> None:
        """Load the page and follow it until the task is cancelled."""
        page = await AsyncHTTPClient().fetch(HTTPRequest(self._url, request_timeout=600, connect_timeout=600))
        token = re.search(r'"token":\s*"([^"]+)"', page.body.decode())
        assert token, "the page has a token"
        address = f"{self._url.partition('?')[0].replace('http', 'ws', 1)}/ws"
        request = HTTPRequest(address, headers={"Origin": self._origin}, connect_timeout=600, request_timeout=600)
        self._socket = await websocket_connect(request, subprotocols=["bokeh", token[1]], max_message_size=2**28)
        await self._receive()
        await self._send("PULL-DOC-REQ", {})
        while (message := await self._receive())[0] != "PULL-DOC-REPLY":
            pass
        for model in _models(message[1]):
            tags = model.get("attributes", {}).get("tags") or ()
            self._asked = model["id"] if "asked" in tags else self._asked
            self._answer = model["id"] if "answer" in tags else self._answer
            self._take(model.get("attributes", {}).get("data"))
        assert "" not in (self._asked, self._answer), "the page has a throttle"
        await self._send("PATCH-DOC", {"events": [_READY]})
        while True:
            name, content = await self._receive()
            if name == "PATCH-DOC":
                await self._apply(content["events"])

    async def _apply(self, events: list[dict[str, Any]]) -> None:
        for event in events:
            if event["kind"] == "ColumnDataChanged":
                self._take(event["data"])
            if event["kind"] == "ModelChanged" and (event["model"]["id"], event["attr"]) == (self._asked, "value"):
                await asyncio.sleep(DRAWING_SECONDS)
                answer = {"kind": "ModelChanged", "model": {"id": self._answer}, "attr": "value", "new": event["new"]}
                await self._send("PATCH-DOC", {"events": [answer]})

    def _take(self, data: Any) -> None:
        """Note the newest epoch of a source's curves."""
        columns = dict(data["entries"]) if isinstance(data, dict) and "entries" in data else {}
        epochs = columns.get("epoch")
        if isinstance(epochs, dict):  # an array
            content = epochs["array"]["data"]
            raw = self._buffers[content["id"]] if isinstance(content, dict) else base64.b64decode(content)
            epochs = [float(np.frombuffer(raw, epochs["dtype"])[-1])]
        if "test_accuracy" in columns and epochs:
            self.moves += epochs[-1] > self.epoch
            self.epoch = int(max(self.epoch, epochs[-1]))

    async def _send(self, name: str, content: dict[str, Any]) -> None:
        for part in ({"msgid": os.urandom(8).hex(), "msgtype": name}, {}, content):
            await self._socket.write_message(json.dumps(part))

    async def _receive(self) -> tuple[str, dict[str, Any]]:
        parts = [json.loads(await self._read()) for _ in range(3)]
        self._buffers = {}
        for _ in range(parts[0].get("num_buffers", 0)):
            header = json.loads(await self._read())
            self._buffers[header["id"]] = await self._read()
        return parts[0]["msgtype"], parts[2]

    async def _read(self) -> Any:
        fragment = await self._socket.read_message()
        assert fragment is not None, "the server has closed the connection"
        self.received += len(fragment)
        return fragment


def _models(value: Any) -> Iterator[dict[str, Any]]:
    """Yield the models in a document."""
    if isinstance(value, dict):
        if value.get("type") == "object" and "id" in value:
            yield value
        for part in value.values():
            yield from _models(part)
    elif isinstance(value, list):
        for part in value:
            yield from _models(part)


class Clock:
    """Times at which the epochs of a run were recorded."""

    def __init__(self, run: Run):
        self._run, self._offset = run, 0
        self.times: list[float] = []

    def read(self) -> None:
        """Note the time of new epochs."""
        lines, self._offset = self._run.lines(self._offset)
        self.times += [time.monotonic() for line in lines if line.get("type") == "epoch"]

    def behind(self, viewer: Viewer) -> float:
        """Return the seconds for which an epoch that a viewer has not drawn has been recorded."""
        newer = self.times[max(0, viewer.epoch) :]
        return time.monotonic() - newer[0] if newer else 0.0

    async def speed(self, seconds: float) -> float:
        """Return the epochs per second in this time."""
        self.read()
        before, begun = len(self.times), time.monotonic()
        while time.monotonic() - begun < seconds:
            await asyncio.sleep(0.1)
            self.read()
        return (len(self.times) - before) / (time.monotonic() - begun)


class Table:
    """Measurements with their limits, printed as lines of a table."""

    def __init__(self) -> None:
        self.failed: list[str] = []
        print("| measurement | value | limit | met |\n|---|---|---|---|", flush=True)

    def add(self, name: str, value: float, limit: float | None, unit: str) -> None:
        """Print a measurement; the limit is the largest value allowed."""
        met = limit is None or value <= limit
        self.failed += [] if met else [name]
        text = "" if limit is None else f"{limit:g} {unit} | {'yes' if met else 'NO'}"
        print(f"| {name} | {value:.3g} {unit} | {text or ' | '} |", flush=True)


async def measure_viewers(table: Table, folder: Path, n: int, seconds: float, fake: bool) -> None:
    """Let many viewers watch one run."""
    server = Server(folder / "runs")
    server.runs.mkdir(parents=True)
    engine = None
    config = Config.preset("fashion_mnist").replace({"data.size": "small", "training.epochs": 1_000_000})
    try:
        server.start()
        if fake:
            run = server.store.create(config)
            engine = subprocess.Popen([sys.executable, "-m", fake_engine.__name__, str(run.path), "0.2"], cwd=ROOT)
        else:
            os.environ["TSNN_RUNS"] = str(server.runs)
            run = launch.start(config, server.store)
        await asyncio.to_thread(wait_until, lambda: run.status().get("epoch", 0) > 20, 120, "the run trains")
        assert server.process is not None
        process = psutil.Process(server.process.pid)
        clock = Clock(run)
        alone = [await clock.speed(seconds)]
        await _open(server, run, 1)  # what the first page loads stays
        memory = process.memory_info().rss
        viewers, tasks = await _open(server, run, n)
        used, begun = sum(process.cpu_times()[:2]), time.monotonic()
        lags: list[list[float]] = [[] for _ in viewers]
        before = [viewer.moves for viewer in viewers]
        sampling = asyncio.create_task(clock.speed(seconds))
        while not sampling.done():
            await asyncio.sleep(0.25)
            for lag, viewer in zip(lags, viewers, strict=True):
                lag.append(clock.behind(viewer))
        load = (sum(process.cpu_times()[:2]) - used) / (time.monotonic() - begun)
        memory = (process.memory_info().rss - memory) / n / 2**20
        moves = [(viewer.moves - start) / seconds for viewer, start in zip(viewers, before, strict=True)]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(2)
        alone.append(await clock.speed(seconds))
    finally:
        server.stop()
        if engine is None:
            launch.stop(run)
        else:
            engine.kill()
            engine.wait()
    table.add(f"{n} pages: pages that do not move", sum(move == 0 for move in moves), 0, "pages")
    table.add("the slowest page is behind, worst moment", max(map(max, lags)), 10, "s")
    table.add("pages are behind, median", statistics.median([x for lag in lags for x in lag]), None, "s")
    table.add("updates of a page per second, slowest", min(moves), None, "1/s")
    table.add("updates of a page per second, fastest", max(moves), None, "1/s")
    table.add("CPU of the server", 100 * load, None, "% of a core")
    table.add("memory of the server per page", memory, 6, "MiB")
    if not fake:
        slower = 100 * (1 - sampling.result() / statistics.fmean(alone))
        table.add(f"training is slower than alone ({alone[0]:.2f}, {alone[1]:.2f} epochs/s)", slower, 5, "%")


def write_metrics(run: Run, epochs: int) -> None:
    """Write the metrics of a long run: loss with a period, an event in its middle."""
    config = run.config()
    record = fake_engine.epoch_record(7, config).to_dict()
    del record["events"]
    template = json.dumps({"type": "epoch", "seq": 0, "time": 0.0, **record, "epoch": "EPOCH", "test_loss": "LOSS"})
    head, middle, tail = re.split('"EPOCH"|"LOSS"', template)
    event = json.dumps({"type": "event", "epoch": epochs // 2, "kind": "setting", "message": "zeta changed"})
    with open(run.path / "metrics.jsonl", "w") as file:
        for epoch in range(1, epochs + 1):
            file.write(f"{head}{epoch}{middle}{1 + epoch % 1000 / 1000}{tail}\n")
            if epoch == epochs // 2:
                file.write(event + "\n")


def measure_metrics(table: Table, folder: Path, epochs: int) -> None:
    """Open a run with long metrics, in a process of its own."""
    run = RunStore(folder / "runs").create(Config.preset("fashion_mnist"))
    with RunWriter(run) as writer:
        writer.meta(fake_engine.meta(run.config()))
        write_metrics(run, epochs)
        writer.update(epoch=epochs, epochs=epochs)
    (run.path / "status.json").write_text(json.dumps({"state": "finished", "epoch": epochs, "epochs": epochs}))
    size = (run.path / "metrics.jsonl").stat().st_size / 2**20
    first, again = _measured(_OPEN_LONG, run), _measured(_OPEN_LONG, run)
    assert first["done"] == again["done"] == epochs
    name = f"{epochs:,} epochs ({size:,.0f} MiB)"
    table.add(f"{name}: opened and drawn in", first["seconds"], 3, "s")
    table.add("largest memory of the process then", first["memory"], 300, "MiB")
    table.add("index built, a little at each update, after", first["indexed"], None, "s")
    table.add("longest update of the page meanwhile", 1000 * first["update"], None, "ms")
    table.add("opened again, with the index, in", again["seconds"], 3, "s")
    table.add("largest memory of the process then", again["memory"], 300, "MiB")
    index = run.path / "metrics.index"
    table.add("size of the index", index.stat().st_size / 2**20, 16, "MiB")
    index.write_bytes(index.read_bytes()[:-9])
    repaired = _measured(_OPEN_LONG, run)
    table.add("opened, with a damaged index, in", repaired["seconds"], 3, "s")
    for command in ("compare", "export"):
        found = _measured(_COMMAND, run, command)
        table.add(f"tsnn {command}", found["seconds"], None, "s")
        table.add("largest memory of the process then", found["memory"], 300, "MiB")


def _measured(script: str, run: Run, *arguments: str) -> dict[str, Any]:
    """Return the values that a script prints, in a process of its own."""
    command = [sys.executable, "-c", script, str(run.path), *arguments]
    output = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert output.returncode == 0, output.stderr
    return dict(json.loads(output.stdout.splitlines()[-1]))


_OPEN_LONG = """
import json, resource, sys, time
from pathlib import Path
from tsnn.runs import Run
from tsnn.views.live.follower import RunFollower
from tsnn.views.tabs.run import RunView
begun = time.perf_counter()
follower = RunFollower(Run(Path(sys.argv[1])), min_interval=0)
view = RunView(follower)
view.tick("overview")
seconds = time.perf_counter() - begun
memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
longest = 0.0
while follower._builder is not None:
    at = time.perf_counter()
    view.tick("overview")
    longest = max(longest, time.perf_counter() - at)
indexed = time.perf_counter() - begun
assert follower.events
print(json.dumps(
    {"seconds": seconds, "memory": memory, "indexed": indexed, "update": longest, "done": follower.history.done}
))
"""

_COMMAND = """
import json, os, resource, sys, time
from pathlib import Path
from tsnn.cli import main
run = Path(sys.argv[1])
begun = time.perf_counter()
options = ["-o", os.devnull] if sys.argv[2] == "export" else []
assert main([sys.argv[2], run.name, "--runs", str(run.parent), *options]) == 0
seconds = time.perf_counter() - begun
print(json.dumps({"seconds": seconds, "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}))
"""


async def _open(server: Server, run: Run, n: int) -> tuple[list[Viewer], list[asyncio.Task[None]]]:
    """Open pages, four at a time, and wait until each has drawn its first curves."""
    viewers = [Viewer(server, run=run.id) for _ in range(n)]
    tasks: list[asyncio.Task[None]] = []
    for i in range(0, n, 4):
        group = viewers[i : i + 4]
        tasks += [asyncio.create_task(viewer.watch()) for viewer in group]
        while not all(viewer.epoch > 0 for viewer in group):
            await asyncio.sleep(0.05)
            for task in tasks:
                if task.done():
                    task.result()
    return viewers, tasks


PARTS = ("viewers", "metrics")


def main(arguments: list[str] | None = None) -> int:
    """Measure and print; returns 1 if a limit is not met."""
    parser = argparse.ArgumentParser(prog="python -m tests.load", description=__doc__)
    parser.add_argument("--part", action="append", choices=PARTS)
    parser.add_argument("--short", action="store_true", help="few viewers of an invented run, in a minute; for CI")
    parser.add_argument("--viewers", type=int)
    parser.add_argument("--seconds", type=float)
    parser.add_argument("--epochs", type=int)
    options = parser.parse_args(arguments)
    short = options.short
    viewers, seconds = options.viewers or (12 if short else 50), options.seconds or (10 if short else 60)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # its child processes end with it
    table, parts = Table(), options.part or PARTS
    with tempfile.TemporaryDirectory() as folder:
        if "metrics" in parts:
            measure_metrics(table, Path(folder) / "metrics", options.epochs or (15_000 if short else 1_000_000))
        if "viewers" in parts:
            asyncio.run(measure_viewers(table, Path(folder) / "viewers", viewers, seconds, short))
    return int(bool(table.failed))


if __name__ == "__main__":
    sys.exit(main())
