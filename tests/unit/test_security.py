"""Requests that the dashboard's server refuses, and the headers that it sends."""

import asyncio
import http.client
import socket
import threading

import pytest
from pages.security import readable_query
from panel.io.application import build_single_handler_application
from panel.io.server import get_server

from tests.support.dashboard import ROOT

UPGRADE = {
    "Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
}  # fmt: skip


@pytest.fixture(scope="module", params=["", "/teaching"])
def server(request, tmp_path_factory):
    """Server of the dashboard, in a thread; also with a prefix."""
    started, servers = threading.Event(), []

    def serve():
        asyncio.set_event_loop(asyncio.new_event_loop())
        application = build_single_handler_application(str(ROOT / "app"))
        server = get_server({"/app": application}, port=0, address="127.0.0.1", prefix=request.param, start=False,
                            websocket_origin=["127.0.0.1:0", "class.example", "*.lab.example:8000"])  # fmt: skip
        server.start()
        servers.append(server)
        started.set()
        server.io_loop.start()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    assert started.wait(60)
    yield servers[0].port, request.param
    loop = servers[0].io_loop
    loop.add_callback(loop.stop)
    thread.join(10)


def ask(server, path, host=None, **headers):
    """Return status, headers and text of an answer."""
    port, prefix = server
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("GET", prefix + path, headers={"Host": host or f"127.0.0.1:{port}", **headers})
        answer = connection.getresponse()
        text = "" if answer.status == 101 else answer.read().decode(errors="replace")
        return answer.status, answer.headers, text
    finally:
        connection.close()


@pytest.mark.parametrize(
    ("host", "answered"),
    [
        ("127.0.0.1", True), ("127.0.0.1:9", True), ("localhost:8888", True), ("[::1]:5006", True), ("LOCALHOST", True),
        ("class.example", True), ("a.lab.example:8000", True),
        ("rebind.example", False), ("class.example:81", False), ("class.example.evil.org", False),
        ("localhost.evil.org", False), ("127.0.0.1.evil.org", False), ("192.0.2.7", False), ("0.0.0.0", False),
        ("localhost@evil.org", False), ("[::1", False), ("evil.org#localhost", False), ("localhost.", False),
    ],
)  # fmt: skip
def test_host__only_this_machine_and_allowed_names_are_answered(server, host, answered):
    for path in ("/app/static/none", "/app/ws", "/static/js/bokeh.min.js"):
        headers = {**UPGRADE, "Origin": f"http://{host}"} if path.endswith("ws") else {}
        status, _, text = ask(server, path, host, **headers)
        assert (status not in (400, 403)) == answered, (path, status, text)  # 400: not the name of a host
        assert answered or status == 400 or "does not answer under the name" in text


@pytest.mark.parametrize(
    ("origin", "accepted"),
    [
        ("http://127.0.0.1:{port}", True), ("http://class.example", True), ("http://x.lab.example:8000", True),
        ("http://evil.example", False), ("http://127.0.0.1:1", False), ("null", False), ("", False), ("file://", False),
        ("http://class.example.evil.org", False), (None, False),
    ],
)  # fmt: skip
def test_websocket__is_opened_by_own_and_allowed_origins(server, origin, accepted):
    headers = UPGRADE | ({} if origin is None else {"Origin": origin.format(port=server[0])})
    status, _, _ = ask(server, "/app/ws", **headers, **{"Sec-Fetch-Site": "same-origin"})
    assert (status == 101) == accepted
    assert accepted or status == 403


def test_websocket__without_origin_on_request(server, monkeypatch):
    monkeypatch.setenv("TSNN_ALLOW_NO_ORIGIN", "1")
    assert ask(server, "/app/ws", **UPGRADE)[0] == 101


@pytest.mark.parametrize("path", ["/static/js/bokeh.min.js", "/nowhere", "/app/metadata"])
def test_answers__have_security_headers(server, path):
    for host in (None, "rebind.example"):
        headers = ask(server, path, host)[1]
        policy = headers["Content-Security-Policy"]
        assert "object-src 'none'" in policy
        assert "base-uri 'none'" in policy
        assert "frame-ancestors 'self'" in policy
        assert "http:" not in policy.replace("http://localhost:*", "").replace("http://127.0.0.1:*", "")
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "same-origin"


@pytest.mark.parametrize(
    "path", ["/app/static/../main.py", "/static/../../server.py", "/static/%2e%2e/%2e%2e/settings.py",
             "/static//etc/passwd", "/static/extensions/panel/../../../config.py", "/app/static/..%2fmain.py"],
)  # fmt: skip
def test_files__of_other_folders_are_not_sent(server, path):
    with socket.create_connection(
        ("127.0.0.1", server[0]), timeout=60
    ) as raw:  # http.client would keep it as it is, too
        raw.sendall(f"GET {server[1]}{path} HTTP/1.0\r\n\r\n".encode())
        answer = raw.makefile("rb").read()
    assert answer.split()[1] in (b"403", b"404"), answer[:200]


@pytest.mark.parametrize("value", ["%C2%B2", "1" * 5000, "%D9%A1%C2%B2"])
def test_address__value_that_cannot_be_read_is_left_out(server, value):
    status, headers, _ = ask(server, f"/app?run=one%20two&epoch={value}&tab=runs")
    assert (status, headers["Location"]) == (302, "?run=one+two&tab=runs")


@pytest.mark.parametrize("query", ["", "run=a&epoch=3", "run=%5B%5B%5B&tab=", "epoch=1e999", "=&&", "a=%FF"])
def test_address__is_left_alone(query):
    assert readable_query(query) == query
