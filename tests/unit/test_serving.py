"""The commands ``tsnn dashboard`` and ``tsnn course``, without a browser."""

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import pytest
from tornado.httpclient import HTTPClientError, HTTPRequest
from tornado.ioloop import IOLoop
from tornado.websocket import websocket_connect

from tests.support.waiting import wait_until
from tsnn.cli import dashboard, main
from tsnn.cli.places import folder

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted(path.name for path in (ROOT / "notebooks").glob("*.ipynb"))


@pytest.fixture
def serve(tmp_path):
    """Return a function that starts ``tsnn dashboard`` in an empty folder; it returns the process and its address."""
    processes = []

    def start(*options, **environment):
        log = tmp_path / f"{len(processes)}.log"
        own = {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", "DISPLAY": "", "WAYLAND_DISPLAY": "", "BROWSER": ""}
        inherited = {name: value for name, value in os.environ.items() if name not in ("TSNN_RUNS", "TSNN_PASSWORD")}
        with open(log, "wb") as file:
            process = subprocess.Popen(
                [sys.executable, "-m", "tsnn", "dashboard", *options],
                cwd=tmp_path, env=inherited | own | environment, stdin=subprocess.DEVNULL, stdout=file, stderr=file,
            )  # fmt: skip
        processes.append(process)

        def printed():
            text = log.read_text()
            assert process.poll() is None, text
            return "Ctrl-C" in text and text

        text = wait_until(printed, what="the server reports its runs")
        return process, text

    yield start
    for process in processes:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        process.wait()


def address(text):
    return re.search(r"^Dashboard: (http\S+)$", text, re.MULTILINE)[1]


def get(url):
    with urllib.request.urlopen(url, timeout=60) as answer:
        return answer.url, answer.read().decode()


def socket_code(url, origin):
    """HTTP status of the answer to a websocket's request from a page of this origin."""

    def code():
        request = HTTPRequest(url.replace("http", "ws", 1) + "/ws", headers={"Origin": origin})
        try:
            IOLoop().run_sync(lambda: websocket_connect(request, subprotocols=["bokeh", "invalid"]))
        except HTTPClientError as error:
            return error.code
        return 101

    with ThreadPoolExecutor(1) as other:  # browser tests leave a running event loop in this thread
        return other.submit(code).result()


@pytest.mark.slow
@pytest.mark.compiled  # not again without JIT: the server trains nothing
def test_dashboard__takes_the_next_port_and_ends_with_ctrl_c(serve, tmp_path):
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        port = busy.getsockname()[1]
        process, text = serve("--port", str(port), "--runs", "here")
    url = address(text)
    taken = urllib.parse.urlsplit(url).port
    assert taken != port
    assert f"Port {port} is busy: using {taken}." in text
    assert f"Runs: {tmp_path / 'here'}\n" in text
    assert url == f"http://127.0.0.1:{taken}/app"
    assert "<title>tsnn</title>" in get(f"http://127.0.0.1:{taken}")[1]
    assert socket_code(url, f"http://localhost:{taken}") == 101
    assert socket_code(url, "http://attacker.example") == 403
    log = tmp_path / "0.log"
    before = len(log.read_text())
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 0
    assert "Traceback" not in log.read_text()[before:]


@pytest.mark.slow
@pytest.mark.compiled  # not again without JIT: the server trains nothing
def test_dashboard__asks_for_the_password_under_a_prefix_and_other_names(serve):
    _, text = serve(
        *("--port", "0", "--address", "0.0.0.0", "--prefix", "/a/b/", "--allow-origin", "hub.example"),
        TSNN_PASSWORD="correct horse",
    )
    assert "Warning" not in text
    port = urllib.parse.urlsplit(address(text)).port
    url = f"http://127.0.0.1:{port}/a/b/app"
    assert address(text) == f"http://{socket.gethostname()}:{port}/a/b/app"
    asked, page = get(url)
    assert urllib.parse.urlsplit(asked).path == "/a/b/login"
    assert "<title>tsnn</title>" not in page
    opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())

    def log_in(password):
        opener.open(url, timeout=60).read()  # remembers the page to return to
        form = urllib.parse.urlencode({"username": "x", "password": password}).encode()
        return opener.open(asked.partition("?")[0], form, timeout=60).read().decode()

    assert "<title>tsnn</title>" not in log_in("wrong")
    assert "<title>tsnn</title>" in log_in("correct horse")


@pytest.mark.slow
@pytest.mark.compiled  # not again without JIT: the server trains nothing
def test_dashboard__answers_on_a_socket_of_its_user_only(serve, tmp_path):
    path = tmp_path / "socket"
    _, text = serve("--unix-socket", str(path), "--prefix", "/user/x/tsnn")
    assert "http" not in text
    assert path.stat().st_mode & 0o077 == 0
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
        client.sendall(b"GET /user/x/tsnn/app HTTP/1.0\r\n\r\n")
        assert b" 200 OK" in client.recv(100)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--port", "70000"], "--port is 70000; expected a number from 0"),
        (["--address", "nowhere.invalid"], "--address nowhere.invalid is not an address of this machine"),
        (["--address", "192.0.2.1"], "--address 192.0.2.1 is not an address of this machine"),
        (["--password"], "Set TSNN_PASSWORD instead"),
        (["--ssl-certfile", "missing.pem"], "missing.pem"),
    ],
)
def test_dashboard__refuses_what_it_cannot_serve(options, message, capsys, monkeypatch):
    monkeypatch.setattr("sys.stdin", open(os.devnull))  # noqa: SIM115
    assert main(["dashboard", *options]) == 1
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_dashboard__refuses_a_password_that_panel_would_take_for_a_file(capsys, monkeypatch, tmp_path):
    (tmp_path / "secret").write_text("{}")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TSNN_PASSWORD", "secret")
    assert main(["dashboard"]) == 1
    assert "also the name of a file" in capsys.readouterr().err


def test_dashboard__names_the_extra_where_panel_is_missing(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "panel_material_ui", None)
    assert main(["dashboard"]) == 1
    assert "pip install 'tsnn[app]'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "environment", "opens", "warns"),
    [
        ([], {}, False, False),
        ([], {"DISPLAY": ":0"}, True, False),
        (["--no-browser", "--address", "::1"], {"DISPLAY": ":0"}, False, False),
        (["--address", "0.0.0.0"], {"WAYLAND_DISPLAY": "w"}, True, True),
        (["--address", "0.0.0.0"], {"TSNN_PASSWORD": "secret"}, False, False),
    ],
)
def test_dashboard__opens_a_browser_on_a_display_and_warns_of_others(
    options, environment, opens, warns, monkeypatch, capsys
):
    opened = []
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER", "TSNN_PASSWORD"):
        monkeypatch.delenv(name, raising=False)
    for name, value in ({"TSNN_RUNS": "runs"} | environment).items():
        monkeypatch.setenv(name, value)
    loop = SimpleNamespace(run_in_executor=lambda _executor, function, url: function(url))
    server = SimpleNamespace(port=1234, io_loop=loop, run_until_shutdown=lambda: None)
    monkeypatch.setattr(dashboard, "_start", lambda options, password: server)
    monkeypatch.setattr("webbrowser.open", opened.append)
    monkeypatch.setattr(sys, "platform", "linux")
    assert main(["dashboard", *options]) == 0
    printed = capsys.readouterr().out
    assert opened == ([address(printed)] if opens else [])
    assert ("Warning" in printed) == warns
    assert "TSNN_PASSWORD" not in os.environ


@pytest.mark.parametrize(
    ("given", "names", "foreign"),
    [
        ("127.0.0.1", {"127.0.0.1", "localhost"}, {socket.gethostname().lower()} - {"localhost"}),
        ("0.0.0.0", {"127.0.0.1", "localhost", socket.gethostname().lower()}, {"0.0.0.0"}),
        ("Host.Example", {"127.0.0.1", "localhost", "host.example"}, set()),
        ("::1", {"127.0.0.1", "localhost"}, {"::1"}),
    ],
)
def test_dashboard__accepts_pages_under_its_own_names(given, names, foreign):
    found = set(dashboard._names(given))
    assert names <= found
    assert not foreign & found


def test_tile__names_an_icon_and_a_path_below_the_prefix():
    tile = dashboard.jupyter_server()
    assert Path(tile["launcher_entry"]["icon_path"]).read_text().startswith("<svg")
    assert tile["command"][-2:] == ["--prefix", "{base_url}tsnn"]
    assert tile["launcher_entry"]["path_info"] == "tsnn/app"
    assert tile["unix_socket"] is True


def test_course__keeps_what_the_learner_changed(tmp_path, capsys):
    target = tmp_path / "my course"
    assert main(["course", str(target), "--no-open"]) == 0
    assert f"jupyter lab {target}" in capsys.readouterr().out
    assert sorted(path.name for path in target.glob("*.ipynb")) == NOTEBOOKS
    assert sorted(path.name for path in (target / "solutions").iterdir()) == NOTEBOOKS
    assert sorted(path.name for path in target.iterdir() if path.suffix != ".ipynb") == ["INSTRUCTOR.md", "solutions"]
    changed, deleted = target / NOTEBOOKS[1], target / NOTEBOOKS[2]
    changed.write_text("mine")
    deleted.unlink()
    assert main(["course", str(target), "--no-open"]) == 0
    printed = capsys.readouterr().out
    assert changed.read_text() == "mine"
    assert deleted.read_bytes() == (ROOT / "notebooks" / deleted.name).read_bytes()
    assert "(1 file copied)" in printed
    assert f"Kept, since they differ from this version's: {changed.name}." in printed


def test_course__refuses_a_file_as_folder(tmp_path, capsys):
    (tmp_path / "taken").write_text("")
    assert main(["course", str(tmp_path / "taken"), "--no-open"]) == 1
    assert "Name a folder" in capsys.readouterr().err


def test_course__names_the_extra_where_jupyterlab_is_missing(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "jupyterlab", None)
    assert main(["course", str(tmp_path / "course")]) == 1
    assert "pip install 'tsnn[notebooks]'" in capsys.readouterr().err
    assert not (tmp_path / "course").exists()


@pytest.mark.parametrize("before", [[], ["elsewhere"]])
def test_course__passes_options_to_jupyterlab(before, tmp_path, monkeypatch):
    labapp = pytest.importorskip("jupyterlab.labapp")
    started = []
    monkeypatch.setattr(labapp.LabApp, "launch_instance", started.append)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TSNN_RUNS", raising=False)
    assert main(["course", *before, "--no-browser", "--lab-options=--port=9999 --allow-root"]) == 0
    target = tmp_path / (before or ["tsnn-course"])[0]
    assert started == [["--no-browser", "--port=9999", "--allow-root", str(target)]]
    assert os.environ.pop("TSNN_RUNS") == str(target / "runs")


def test_places__are_those_of_the_checkout():
    assert folder("app") == ROOT / "app"
    assert folder("notebooks") == ROOT / "notebooks"
