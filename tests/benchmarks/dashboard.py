"""Response times of the dashboard: a real server, a real browser, and a fake engine that replays a long run.

Prints a table of measurements and their limits. The server's CPU time is read from outside, so it includes
files, figures and serialisation. Memory is observed for a few minutes and extrapolated to an hour.

Run ``python -m tests.benchmarks.dashboard [--soak MINUTES] [--part NAME ...] [--tab NAME]``; needs ``.[test]`` and a
Chromium.
"""

import argparse
import contextlib
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

from tests.support import fake_engine
from tests.support.dashboard import ROOT, Server, chromium
from tests.support.waiting import wait_until
from tsnn.config import Config
from tsnn.runs import Run, RunStore
from tsnn.views.live.ticker import PERIOD

PARTS = ("frame", "race", "tick", "click", "sessions", "hidden", "soak", "stores", "sweeps")
EPOCHS, SECONDS_PER_EPOCH = 2000, 0.5
WINDOWS, CLICKS = 12, 10
#: Networks whose drawing is measured: one that is drawn completely, and large ones.
NETWORKS = {
    "digits, 702 connections": {"data.name": "digits", "training.epochs": 30},
    "Fashion-MNIST, 125,680": {"data.name": "fashion_mnist", "data.size": "small", "training.epochs": 6},
    "Madelon, 2 million": {"data.name": "madelon", "training.epochs": 3, "network.hidden": (10_000, 10_000),
                           "network.epsilon": 50.0},
}  # fmt: skip
ROW = ".tabulator-cell[tabulator-field=name]"


class Bench:
    """Server, browser and results."""

    def __init__(self, folder, playwright):
        self.folder = Path(folder)
        self.browser = chromium(playwright, "--js-flags=--expose-gc", "--enable-precise-memory-info")
        self.window = self.browser.new_context(viewport={"width": 1280, "height": 800})
        self.rows = []

    def report(self, name, value, limit, unit, form=".1f"):
        """Print one measurement and whether its limit is met."""
        verdict = "" if limit is None else "yes" if value <= limit else "NO"
        target = "" if limit is None else f"{limit:g} {unit}"
        self.rows.append(f"| {name} | {value:{form}} {unit} | {target} | {verdict} |")
        print(self.rows[-1], flush=True)

    @contextlib.contextmanager
    def server(self, name):
        """Serve a folder of runs; yields the server and its process."""
        server = Server(self.folder / name / "runs")
        server.runs.mkdir(parents=True, exist_ok=True)
        server.start()
        try:
            yield server, psutil.Process(server.process.pid)
        finally:
            server.stop()

    @contextlib.contextmanager
    def live_run(self, store):
        """Replay a run of 2000 epochs, 10 curves in each view, that continues to train."""
        config = Config.preset("fashion_mnist").replace({"training.epochs": 10 * EPOCHS})
        run = store.create(config)
        command = [sys.executable, "-m", fake_engine.__name__, str(run.path), str(SECONDS_PER_EPOCH), str(EPOCHS)]
        process = subprocess.Popen(command, cwd=ROOT)
        try:
            wait_until(lambda: run.status().get("epoch", 0) > EPOCHS, 120, "the fake engine trains")
            yield run
        finally:
            process.kill()
            process.wait()

    def open(self, server, query, ready=None):
        """Open a page and return it when it is ready."""
        page = self.window.new_page()  # one browser, with one cache
        page.set_default_timeout(120_000)
        page.received = 0

        def count(frame):
            page.received += len(frame)

        page.on("websocket", lambda socket: socket.on("framereceived", count))
        page.goto(f"{server.url}?{query}")
        (page.get_by_role("button", name="Start", exact=True) if ready is None else ready(page)).wait_for()
        return page


def cpu_per_tick(process, sessions, windows=WINDOWS, seconds=1.0):
    """Return the median over windows of CPU milliseconds per session and tick; the clock counts in steps of 10 ms."""
    figures = []
    for _ in range(windows):
        before, begun = cpu(process), time.monotonic()
        time.sleep(seconds)
        ticks = (time.monotonic() - begun) * 1000 / PERIOD * max(1, sessions)
        figures.append(1000 * (cpu(process) - before) / ticks)
    return statistics.median(figures)


def cpu(process):
    times = process.cpu_times()
    return times.user + times.system


def settle(pages):
    """Wait until the pages have loaded."""
    for page in pages:
        page.wait_for_timeout(3000)


def measure_live(bench, parts, soak_minutes, tab):
    """Measure a run that is watched while it trains, with a tab open."""
    with bench.server("live") as (server, process), bench.live_run(server.store) as run:
        query = f"run={run.id}&tab={tab}"
        pages = [bench.open(server, query)]
        settle(pages)
        if "tick" in parts:
            before = pages[0].received
            value = cpu_per_tick(process, 1)
            bench.report(f"server CPU per tick, 1 session, {tab}, curves of 2000 epochs", value, 15, "ms")
            pages[0].wait_for_timeout(100)  # counts what has arrived
            bench.report(
                "sent to the page per second", (pages[0].received - before) / WINDOWS / 1024, None, "kB", ".0f"
            )
        if "hidden" in parts:
            hidden(bench, server, process, run, pages[0])
        if "sessions" in parts or "click" in parts or "soak" in parts:
            read = {1: read_per_second(process)}
            pages += [bench.open(server, query) for _ in range(3)]
            settle(pages)
        if "tick" in parts:
            bench.report("the same, per session, 4 sessions", cpu_per_tick(process, 4), 15, "ms")
        if "click" in parts:
            click(bench, run, pages)
        if "soak" in parts:
            soak(bench, process, pages, soak_minutes)
        if "sessions" in parts:
            pages += [bench.open(server, query) for _ in range(6)]
            settle(pages)
            read[10] = read_per_second(process)
            bench.report("bytes read from files, 10 sessions / 1 session", read[10] / read[1], 1.5, "x", ".2f")
            bench.report("server CPU per tick and session, 10 sessions", cpu_per_tick(process, 10), 15, "ms")
        for page in pages:
            page.close()


def read_per_second(process, seconds=8):
    """Return the bytes that the server reads from files per second; sockets do not count."""
    before, begun = process.io_counters().read_chars, time.monotonic()
    time.sleep(seconds)
    return (process.io_counters().read_chars - before) / (time.monotonic() - begun)


def hidden(bench, server, process, run, page):
    """Display a tab without the live run: nothing of the run may be sent or computed."""
    page.get_by_role("tab", name="Compare").click()
    page.get_by_text("Nothing to compare yet").wait_for()
    page.wait_for_timeout(2000)
    before = page.received
    value, seconds = cpu_per_tick(process, 1, 5, 4.0), 20
    page.wait_for_timeout(100)  # counts what has arrived
    bench.report("server CPU per tick, every view of the live run hidden", value, 2, "ms")
    bench.report("bytes sent to that page per second", (page.received - before) / seconds, 50, "B", ".0f")
    page.get_by_role("tab").first.click()
    page.wait_for_timeout(2000)


def click(bench, run, pages):
    """Click Pause and Resume in turn; a command holds the time at which it was written."""
    control, delays = run.path / "control.jsonl", []
    for i in range(CLICKS):
        page = pages[i % len(pages)]
        page.bring_to_front()
        button = page.get_by_role("button", name="Pause" if i % 2 == 0 else "Resume", exact=True)
        button.wait_for()
        wait_until(button.is_enabled, 60, "the button can be pressed")
        size = control.stat().st_size if control.exists() else 0
        begun = time.time()
        button.dispatch_event("click")
        wait_until(lambda size=size: control.exists() and control.stat().st_size > size, 60, "the command is written")
        delays.append(1000 * (commands(run)[-1]["time"] - begun))
    bench.report("click to control file, 4 sessions, median", statistics.median(delays), 300, "ms", ".0f")
    bench.report("click to control file, 4 sessions, worst", max(delays), None, "ms", ".0f")


def commands(run):
    """Return the commands sent to a run."""
    from tsnn.files import read_lines

    return read_lines(run.path / "control.jsonl")[0]


def soak(bench, process, pages, minutes):
    """Measure the memory growth of server and page, after a warm-up."""
    heap = "() => { if (window.gc) gc(); return performance.memory ? performance.memory.usedJSHeapSize : 0 }"
    time.sleep(20)
    begun, server, page = time.monotonic(), [process.memory_info().rss], [pages[0].evaluate(heap)]
    while time.monotonic() - begun < 60 * minutes:
        pages[0].wait_for_timeout(5000)
        server.append(process.memory_info().rss)
        page.append(pages[0].evaluate(heap))
    scale = 3600 / (time.monotonic() - begun) / 2**20
    for process_name, values in (("server", server), ("page", page)):
        third = max(1, len(values) // 3)
        growth = (min(values[-third:]) - min(values[:third])) * 1.5 * scale  # between the middles of the thirds
        name = f"growth of the {process_name}'s memory per hour, extrapolated from {minutes:g} min, 4 sessions"
        bench.report(name, growth, 100, "MiB", ".0f")


def measure_race(bench):
    """Measure a race of three runs that train, with its networks, curves and sentence."""
    with bench.server("race") as (server, process), contextlib.ExitStack() as stack:
        for method in ("set", "fixed", "dense"):
            run = server.store.create(Config.preset("fashion_mnist").replace({"training.method": method}))
            command = [sys.executable, "-m", fake_engine.__name__, str(run.path), str(SECONDS_PER_EPOCH)]
            engine = subprocess.Popen(command, cwd=ROOT)
            stack.callback(engine.wait)
            stack.callback(engine.kill)
        ids = ",".join(run.id for run in server.store.list())
        wait_until(lambda: all(run.status().get("epoch", 0) > 2 for run in server.store.list()), 120, "all train")
        page = bench.open(server, f"tab=compare&compare={ids}")
        settle([page])
        bench.report("server CPU per tick, a race of three live runs", cpu_per_tick(process, 1), 12, "ms")
        page.close()


def measure_frame(bench):
    """Measure the server's time for one frame of the drawing: read, compare, draw, serialise; without the browser."""
    from bokeh.document import Document
    from bokeh.protocol.messages.patch_doc import patch_doc

    from tsnn.views.live.follower import RunFollower
    from tsnn.views.tabs.run import RunView

    for name, settings in NETWORKS.items():
        run = recorded(RunStore(bench.folder / "frames"), settings)
        view = RunView(RunFollower(run))
        view.tick("network")
        figure, document, events = view.tabs["network"].plot.figure, Document(), []
        document.add_root(figure)
        document.on_change(events.append)
        frames, sizes = [], []
        for epoch in run.snapshot_epochs():
            events.clear()
            begun = time.process_time()
            view.replay.go(epoch)
            message = patch_doc.create(events)
            content = message.content_json
            frames.append(1000 * (time.process_time() - begun))
            sizes.append((len(content) + sum(len(b.to_bytes()) for b in message.buffers)) / 1024)
        bench.report(f"server time of a frame, {name}: median", statistics.median(frames), 20, "ms")
        bench.report(f"server time of a frame, {name}: worst", max(frames), None, "ms")
        bench.report(f"sent to the browser for it, {name}: median", statistics.median(sizes), None, "kB", ".0f")
        kept = [(run.path / "snapshots" / f"{epoch:07d}.npz").stat().st_size for epoch in run.snapshot_epochs()]
        bench.report(f"bytes of a snapshot, {name}: largest", max(kept) / 1024, 110, "kB", ".0f")


def recorded(store, settings):
    """Return a run of a real network, trained here."""
    from tsnn.execution.engine import execute

    run = store.create(Config.preset(settings["data.name"]).replace(settings))
    for _ in execute(run):
        pass
    return run


def measure_stores(bench):
    """Measure how long the list takes for 1, 500 and 10,000 runs."""
    for n, limit in ((1, None), (500, 2.0), (10_000, None)):
        fill(bench.folder / f"store{n}" / "runs", n)
        with bench.server(f"store{n}") as (server, _):
            times = []
            for _ in range(3):
                begun = time.monotonic()
                page = bench.open(server, "tab=runs", lambda page: page.locator(ROW).first)
                times.append(time.monotonic() - begun)
                if n > 1 and not times[1:]:
                    page.get_by_text(f"{n:,} runs").wait_for()
                    bench.report(f"{n:,} runs: complete list, first visit", time.monotonic() - begun, None, "s", ".2f")
                page.close()
            bench.report(f"{n:,} run(s): list displayed, first visit", times[0], None, "s", ".2f")
            bench.report(f"{n:,} run(s): list displayed, median", statistics.median(times), limit, "s", ".2f")


def fill(root, n):
    """Make a folder of runs by copying one."""
    first = fake_engine.finished_run(RunStore(root), {"data.name": "madelon", "training.epochs": 30}, 30)
    shutil.rmtree(first.path / "snapshots")
    for i in range(n - 1):
        shutil.copytree(first.path, root / f"20250101-{i:06d}-madelon-{i:04x}", copy_function=os.link)
    assert len(RunStore(root).list()) == n
    assert Run(first.path).status()["state"] == "finished"


def measure_sweeps(bench):
    """Measure the Sweep tab with 75 and 2,000 runs: reading them, the first view, and an update without any change."""
    for values, text in ((5, "75"), (80, "2,000")):
        sweep = fill_sweep(bench.folder / f"sweep{values}" / "runs", values)
        figures = {}
        for name in ("first", "unchanged"):
            before = time.process_time()
            results = sweep.results()
            figures[name] = 1000 * (time.process_time() - before)
        bench.report(
            f"sweep of {text} runs: CPU per run, read at first", figures["first"] / len(results), 4, "ms", ".2f"
        )
        bench.report(f"sweep of {text} runs: CPU of an update without any change", figures["unchanged"], 30, "ms")
        with bench.server(f"sweep{values}") as (server, process):
            before, begun = cpu(process), time.monotonic()
            page = bench.open(
                server,
                f"tab=sweep&sweep={sweep.id}",
                lambda page, text=text: page.get_by_text(f"{text} of {text} trials"),
            )
            bench.report(f"sweep of {text} runs: first view", time.monotonic() - begun, None, "s")
            page.get_by_text("Best by").first.wait_for()
            settle([page])
            wait_until(lambda p=process: cpu_per_tick(p, 1, 3) < 20, 300, "all runs are read")
            bench.report(f"sweep of {text} runs: CPU until all are shown", cpu(process) - before, None, "s")
            bench.report(f"sweep of {text} runs: server CPU per tick, all shown", cpu_per_tick(process, 1), 25, "ms")
            page.close()


def fill_sweep(root, values):
    """Make a sweep of zeta by epsilon with five seeds, all finished after 30 epochs, by copying one run."""
    from tsnn.jobs.planning import plan_sweep
    from tsnn.runs.sweep_plan import trial_name
    from tsnn.runs.sweeps import create_sweep

    epsilons = [1, 2, 3] if values < 10 else [1, 2, 3, 4, 5]
    grid = {"zeta": [i / 1000 for i in range(values)], "epsilon": epsilons}
    plan = plan_sweep(Config.preset("madelon").replace(epochs=30), grid, seeds=5)
    sweep = create_sweep(RunStore(root), plan)
    first = fake_engine.finished_run(RunStore(root), {"data.name": "madelon", "training.epochs": 30}, 30)
    shutil.rmtree(first.path / "snapshots")
    for number, (settings, seed) in enumerate(plan.trials):
        path = sweep.path / trial_name(number)
        shutil.copytree(first.path, path, copy_function=os.link)
        (path / "config.toml").unlink()
        (path / "config.toml").write_text(plan.base.replace({**settings, "run.seed": seed}).to_toml())
    return sweep


def main(arguments=None):
    """Measure and print."""
    from playwright.sync_api import sync_playwright

    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.dashboard", description=__doc__)
    parser.add_argument("--soak", type=float, default=3.0, metavar="MINUTES")
    parser.add_argument("--part", action="append", choices=PARTS)
    parser.add_argument("--tab", default="overview", help="tab of the live run that is open")
    options = parser.parse_args(arguments)
    parts = options.part or PARTS
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # its child processes end with it
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        bench = Bench(folder, playwright)
        print("| measurement | value | limit | met |\n|---|---|---|---|", flush=True)
        if "frame" in parts:
            measure_frame(bench)
        if "race" in parts:
            measure_race(bench)
        if set(parts) - {"stores", "frame", "race", "sweeps"}:
            measure_live(bench, parts, options.soak, options.tab)
        if "stores" in parts:
            measure_stores(bench)
        if "sweeps" in parts:
            measure_sweeps(bench)
        bench.browser.close()


if __name__ == "__main__":
    main()
