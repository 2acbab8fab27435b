"""A run of hours: a setting changes each minute, two pages watch. Is anything lost, does memory grow?"""

from __future__ import annotations

import asyncio
import contextlib
import csv
import os
import random
import statistics
import time
from pathlib import Path
from typing import Any

import psutil

from tests.load import Viewer
from tests.support.dashboard import Server
from tests.support.processes import ended
from tests.support.waiting import wait_until
from tsnn.config import Config
from tsnn.jobs import launch
from tsnn.runs import OVER, Run
from tsnn.runs.control import request

PAGES = 2
CHANGES = {"zeta": (0.1, 0.5), "dropout": (0.1, 0.4), "epsilon": (10, 30), "learning_rate": (0.005, 0.02)}
MAX_GROWTH = 20.0  #: of the memory of a process between the middle and the end, in MiB per hour


class Endurance:
    """A long run with its pages.

    Parameters
    ----------
    folder : Path
        Where its server and ``samples.csv`` lie: memory in MiB and the pages' delay in epochs, each minute.
    chance : random.Random
        Source of the changes.
    """

    def __init__(self, folder: Path, chance: random.Random):
        self.chance, self.samples = chance, list[dict[str, Any]]()
        self.table, self.server = folder / "samples.csv", Server(folder / "runs")
        self.changes, self.lost_pages = 0, 0

    def last(self, hours: float) -> list[str]:
        """Train for a time; return the problems found."""
        self.server.runs.mkdir(parents=True)
        config = Config.preset("fashion_mnist").replace({"data.size": "small", "training.epochs": 10**7})
        os.environ["TSNN_RUNS"] = str(self.server.runs)
        run = launch.start(config, self.server.store)
        try:
            self.server.start()
            wait_until(lambda: len(run.records()) > 0, 600, "the run trains")
            asyncio.run(self._watch(run, time.monotonic() + 3600 * hours))
        finally:
            with contextlib.suppress(Exception):
                launch.stop(run, wait=600)
            self.server.stop()
        ended(run)
        return self._problems(run)

    async def _watch(self, run: Run, until: float) -> None:
        viewers = [Viewer(self.server, run=run.id) for _ in range(PAGES)]
        pages = [asyncio.create_task(viewer.watch()) for viewer in viewers]
        while time.monotonic() < until:
            await asyncio.sleep(min(60, max(0, until - time.monotonic())))
            if run.status()["state"] in OVER:
                break
            self._sample(run, viewers)
            name = self.chance.choice(list(CHANGES))
            request(run, "set", **{name: self.chance.uniform(*CHANGES[name])})
            self.changes += 1
        await asyncio.sleep(10)  # the last change
        self.lost_pages = sum(page.done() for page in pages)
        for page in pages:
            page.cancel()
        await asyncio.gather(*pages, return_exceptions=True)

    def _sample(self, run: Run, viewers: list[Viewer]) -> None:
        status, server = run.status(), self.server.process
        assert server is not None
        self.samples.append({
            "seconds": round(time.monotonic()), "epoch": status["epoch"], "engine": _mib(status["pid"]),
            "supervisor": _mib(status["process"]["pid"]), "server": _mib(server.pid),
            **{f"page_{n}_behind": max(0, status["epoch"] - viewer.epoch) for n, viewer in enumerate(viewers)},
        })  # fmt: skip
        with open(self.table, "w", newline="") as file:
            writer = csv.DictWriter(file, self.samples[0])
            writer.writeheader()
            writer.writerows(self.samples)

    def _problems(self, run: Run) -> list[str]:
        lines, _ = run.lines()
        epochs = [line["epoch"] for line in lines if line["type"] == "epoch"]
        acks = {line["command"] for line in lines if line["type"] == "ack" and line["accepted"] and "settings" in line}
        problems = [] if epochs == list(range(1, len(epochs) + 1)) else ["epochs are missing"]
        problems += [] if run.status()["state"] == "stopped" else [f"it is {run.status()}"]
        problems += [] if len(acks) == self.changes else [f"{self.changes} changes, {len(acks)} applied"]
        problems += [f"{self.lost_pages} pages lost their connection"] if self.lost_pages else []
        print(f"{len(epochs)} epochs, {self.changes} changes, {PAGES} pages: {', '.join(problems) or 'nothing lost'}")
        print(f"Samples: {self.table}")
        for name in ("engine", "supervisor", "server"):
            growth = self.growth(name)
            print(f"{name:<12}{self.samples[-1][name]:6.0f} MiB, {growth:+.1f} MiB/h", flush=True)
            problems += [f"memory of the {name}"] if growth > MAX_GROWTH else []
        return problems

    def growth(self, name: str) -> float:
        """Return the growth of a process's memory in the second half, by the medians of its thirds, in MiB per hour."""
        half = self.samples[len(self.samples) // 2 :]
        third = max(1, len(half) // 3)
        first, last = half[:third], half[-third:]
        hours = (statistics.median(s["seconds"] for s in last) - statistics.median(s["seconds"] for s in first)) / 3600
        change = statistics.median(s[name] for s in last) - statistics.median(s[name] for s in first)
        return change / hours if hours else 0.0


def _mib(pid: int) -> float:
    return round(psutil.Process(pid).memory_info().rss / 2**20, 1)
