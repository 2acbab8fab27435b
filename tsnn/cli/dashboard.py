"""Command ``tsnn dashboard``: serves the page in ``app/``. Also its tile in JupyterLab and JupyterHub."""

from __future__ import annotations

import argparse
import errno
import functools
import getpass
import logging
import os
import secrets
import socket
import sys
import webbrowser
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil

from tsnn.cli.places import folder
from tsnn.errors import ConfigError, TsnnError
from tsnn.extras import require
from tsnn.runs import default_root

PORT = 5006
_NEXT_PORTS = 20  # tried in order, before any free one
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_EVERY_ADDRESS = ("0.0.0.0", "::")


def dashboard(options: argparse.Namespace) -> int:
    """Serve the dashboard until Ctrl-C."""
    runs = Path(options.runs or default_root()).expanduser().resolve()
    os.environ["TSNN_RUNS"] = str(runs)  # for the page, and for the processes that it starts
    try:
        password = _password(options.password)
        server = _start(options, password)
    except KeyboardInterrupt:
        return 130
    if not options.unix_socket:
        url = _url(options, server.port)
        print(f"Dashboard: {url}")
        if options.address not in _LOOPBACK and not password:
            print("Warning: those who can open this address can start and delete runs. Consider --password.")
        if not options.no_browser and _has_display():
            server.io_loop.run_in_executor(None, webbrowser.open, url)
    print(f"Runs: {runs}\nPress Ctrl-C to end the dashboard; training runs continue.", flush=True)
    server.run_until_shutdown()
    return 0


def _password(ask: bool) -> str:
    """Return the password of TSNN_PASSWORD, or ask for one; empty for none."""
    password = os.environ.pop("TSNN_PASSWORD", "")  # not for the processes that the page starts
    if ask and not password:
        if not sys.stdin.isatty():
            raise ConfigError("--password asks for a password, but there is no terminal. Set TSNN_PASSWORD instead.")
        password = getpass.getpass("Password of the dashboard: ")
        if not password:
            raise ConfigError("The password is empty. Type at least one character, or leave --password out.")
    if os.path.isfile(password):  # noqa: PTH113 (any text is fine); Panel would read the users from it
        raise ConfigError("The password is also the name of a file here. Choose another one.")
    return password


def _start(options: argparse.Namespace, password: str) -> Any:
    """Return the server, which listens but does not answer yet."""
    serve = _server_factory()
    logging.basicConfig(format="%(asctime)s %(message)s")
    chosen: dict[str, Any] = {"prefix": options.prefix}
    if password:
        secret = os.environ.get("PANEL_COOKIE_SECRET") or secrets.token_hex(32)
        chosen |= {"basic_auth": password, "cookie_secret": secret}
    if options.unix_socket:  # reached only through a proxy, which checks origins
        logging.getLogger("bokeh.server.util").setLevel(logging.ERROR)  # it warns of "*"
        return serve(unix_socket=options.unix_socket, websocket_origin=["*"], **chosen)
    for file in filter(None, (options.ssl_certfile, options.ssl_keyfile)):
        open(file, "rb").close()  # the server's error would not name it
    if options.ssl_certfile:
        chosen |= {"ssl_certfile": options.ssl_certfile, "ssl_keyfile": options.ssl_keyfile}
    for port in _ports(options):
        origins = [*options.allow_origin, *(f"{name}:{port}" for name in _names(options.address))]
        try:
            server = serve(port=port, address=options.address, websocket_origin=origins, **chosen)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise _refusal(options.address, port, error) from error
        else:
            if options.port not in (0, port):
                print(f"Port {options.port} is busy: using {port}.")
            return server
    raise TsnnError(f"No port of {options.address} is free. End other servers, or name a free one with --port.")


def _server_factory() -> Callable[..., Any]:
    """Return the function that creates the server of the page; it has the settings of ``panel serve app/``."""
    for module in ("holoviews", "panel_material_ui"):
        require(module, "tsnn dashboard")
    server = require("panel.io.server", "tsnn dashboard")
    return functools.partial(server.get_server, {"app": folder("app") / "main.py"})


def _ports(options: argparse.Namespace) -> Iterator[int]:
    """Yield the ports to try."""
    if not 0 <= options.port <= 65535:
        raise ConfigError(f"--port is {options.port}; expected a number from 0 (any free port) to 65535.")
    if options.port:
        yield from range(options.port, min(options.port + _NEXT_PORTS, 65536))
    for _ in range(_NEXT_PORTS):
        with socket.socket() as free:
            free.bind(("", 0))
            port = free.getsockname()[1]
        yield port


def _refusal(address: str, port: int, error: OSError) -> Exception:
    """Return a clear error for an address or port that cannot be used."""
    if isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL:
        return ConfigError(
            f"--address {address} is not an address of this machine. Try 127.0.0.1 (this machine only) or 0.0.0.0."
        )
    if isinstance(error, PermissionError):
        return ConfigError(f"Port {port} needs more rights than yours. Try --port {PORT}.")
    return error


def _names(address: str) -> list[str]:
    """Return the names under which browsers may open an address: pages of other origins cannot steer runs."""
    names = {"127.0.0.1", "localhost"}
    if address in _EVERY_ADDRESS:
        addresses = (a for interface in psutil.net_if_addrs().values() for a in interface)
        names |= {a.address for a in addresses if a.family == socket.AF_INET}
        names |= {socket.gethostname(), socket.getfqdn()}
    else:
        names.add(address)
    return sorted(name.lower() for name in names if ":" not in name)


def _url(options: argparse.Namespace, port: int) -> str:
    address = options.address
    if address in _EVERY_ADDRESS:
        address = socket.gethostname()
    elif ":" in address:
        address = "localhost" if address in _LOOPBACK else f"[{address}]"
    prefix = "".join(f"/{part}" for part in options.prefix.split("/") if part)
    return f"http{'s' if options.ssl_certfile else ''}://{address}:{port}{prefix}/app"


def _has_display() -> bool:
    """Report whether a browser can open a window; without one, Python would start a text browser in this terminal."""
    return sys.platform in ("win32", "darwin") or any(map(os.environ.get, ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER")))


def jupyter_server() -> dict[str, Any]:
    """Return the tile of the dashboard in Jupyter's launcher, for jupyter-server-proxy.

    Jupyter starts the server on the tile's first click, with a socket in a folder that only its user can enter, and
    forwards requests to it after its own login. Windows has no such sockets, and no tile.
    """
    command = [sys.executable, "-P", "-m", "tsnn", "dashboard", "--unix-socket", "{unix_socket}"]
    return {
        "command": [*command, "--prefix", "{base_url}tsnn"],
        "environment": {"TSNN_PASSWORD": ""},
        "unix_socket": True,
        "absolute_url": True,
        "timeout": 120,
        "launcher_entry": {
            "enabled": hasattr(socket, "AF_UNIX") and sys.platform != "win32",
            "title": "tsnn dashboard",
            "icon_path": str(folder("app") / "icon.svg"),
            "path_info": "tsnn/app",
        },
    }
