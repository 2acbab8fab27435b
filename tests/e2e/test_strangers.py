"""Runs of strangers in a browser: damaged files, and texts that would run as a script."""

from __future__ import annotations

import json
import shutil
import socket
from typing import Any
from urllib.parse import quote

import pytest

from tests.support import fake_engine
from tests.support.dashboard import Server, column, open_page
from tests.support.waiting import wait_until
from tsnn.runs.notes import annotate

pytestmark = [pytest.mark.xdist_group("browser"), pytest.mark.timeout(900), pytest.mark.compiled]

SCRIPT = "<img src=x onerror='window.stranger = 1'><script>window.stranger = 1</script>"
SETTINGS = {"data.name": "madelon", "training.epochs": 3}


def damage(server: Server, name: str) -> str:
    """Copy a finished run with one damaged file; returns its id."""
    run = fake_engine.finished_run(server.store, SETTINGS, 3)
    meta, metrics = run.path / "meta.json", run.path / "metrics.jsonl"
    if name == "missing meta":
        meta.unlink()
    elif name == "newer meta":
        meta.write_text(json.dumps({**json.loads(meta.read_text()), "format": 99}))
    elif name == "strange status":
        (run.path / "status.json").write_text(
            json.dumps({"state": SCRIPT, "process": {"host": "elsewhere"}, "time": 9e9})
        )
    elif name == "strange epoch":
        lines = metrics.read_text().splitlines()
        lines[2] = lines[2].replace('"seconds_evaluate": 0.2', '"seconds_evaluate": "x"')
        metrics.write_text("\n".join(lines) + "\n")
    elif name == "no snapshots":
        shutil.rmtree(run.path / "snapshots")
    return run.id


def is_calm(page: Any) -> bool:
    return bool(page.evaluate("window.stranger === undefined"))


def test_page__shows_every_damaged_run(page, server):
    names = ("missing meta", "newer meta", "strange status", "strange epoch", "no snapshots")
    runs = [damage(server, name) for name in names]
    for run in runs:
        page.goto(f"{server.url}?run={run}&tab=neurons&epoch=²")
        page.locator(".head .id", has_text=run).wait_for()
        assert is_calm(page)
    page.get_by_role("tab", name="Runs").click()
    page.get_by_text(f"{len(runs)} runs.").wait_for()
    page.get_by_role("gridcell", name="unreadable").first.wait_for()
    assert is_calm(page)


def answer(server: Server, query: bytes) -> bytes:
    """Answer to a request with this query, whose bytes are sent as they are."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=120) as connection:
        head = f" HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\nConnection: close\r\n\r\n"
        connection.sendall(b"GET /app?" + query + head.encode())
        with connection.makefile("rb") as content:
            return content.read()


def test_address__strange_ones_cause_no_error(page, server):
    run = fake_engine.finished_run(server.store, SETTINGS, 3).id
    log = server.runs.parent / "server.log"
    before = log.stat().st_size
    script = quote(SCRIPT)
    strange = (
        b"%ff%fe%", b"run=%ff\xfe&layer=1e999", f"run=../{run}&tab=neurons".encode(), b"epoch=" + b"9" * 5000,
        f"run={run}&epoch=%5B{'%5B' * 2000}&layer=NaN&large=null".encode(), f"columns={script}&tab=runs".encode(),
        f"lesson={script}&large=%7B%7D&tab={script}".encode(),
        f"compare={script},{run}&tab=compare&layer={run}".encode(),
    )  # fmt: skip
    for query in strange:
        content = answer(server, query)
        assert content[9:10] in (b"2", b"3", b"4"), content[:200]
        assert SCRIPT.encode() not in content
    assert b"Traceback" not in log.read_bytes()[before:]
    for name in ("run", "lesson", "compare", "columns"):
        page.goto(f"{server.url}?{name}={script}&tab={'compare' if name == 'compare' else 'runs'}")
        page.get_by_role("tab", name="Runs").wait_for()
        page.wait_for_timeout(1000)
        assert is_calm(page), name


def test_page__runs_no_script_from_a_run(page, server):
    run = fake_engine.finished_run(server.store, SETTINGS, 3)
    meta = json.loads((run.path / "meta.json").read_text())
    n = meta["data"]["n_features"]
    meta["data"] |= {"name": SCRIPT, "source": SCRIPT, "class_names": [SCRIPT, f"{SCRIPT}2"],
                     "feature_names": [f"{SCRIPT}{i}" for i in range(n)]}  # fmt: skip
    (run.path / "meta.json").write_text(json.dumps(meta))
    annotate(run, title=SCRIPT, tags=("<script>x=1</script>",))
    status = json.loads((run.path / "status.json").read_text())
    (run.path / "status.json").write_text(json.dumps(status | {"state": "failed", "message": SCRIPT}))
    (run.path / "log.txt").write_text(f"Traceback\n{SCRIPT}\n")
    with open(run.path / "metrics.jsonl", "a") as file:
        for kind in ("data_warning", "setting", "workers"):
            file.write(json.dumps({"type": "event", "epoch": 2, "kind": kind, "message": SCRIPT}) + "\n")
    open_page(page, server, run.id)
    page.locator(".head .note", has_text="<script>").first.wait_for()
    wait_until(lambda: len(column(page, "message")) == 1, what="the change is marked")
    for tab in ("Connectivity", "Neurons", "Workers", "Compare", "Runs"):
        page.get_by_role("tab", name=tab).click()
        page.wait_for_timeout(1000)
        assert is_calm(page), tab
    page.get_by_role("gridcell", name=SCRIPT).first.wait_for()
