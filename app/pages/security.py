"""Protection of the server against web pages of strangers: names of hosts, origins, addresses, headers.

A page of a stranger can send requests to a server on this machine from the browser of its visitor, also under a name of
its own that it lets point to this machine (DNS rebinding). So a request is answered only if its Host is this machine or
was allowed, and a websocket only if it was opened by a page of that host or of an allowed origin. ``SECURITY.md``
describes what this protects.
"""

from __future__ import annotations

import contextlib
import functools
import ipaddress
import os
import re
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from bokeh.server.tornado import BokehTornado
from bokeh.server.util import check_allowlist
from bokeh.settings import settings
from panel.util import parse_query
from tornado.httputil import HTTPServerRequest
from tornado.web import Application, RequestHandler

#: Environment variable: "1" accepts websockets without an origin, as programs open them, but never browsers.
NO_ORIGIN = "TSNN_ALLOW_NO_ORIGIN"
#: Bokeh needs inline scripts and styles, and compiles the code of its callbacks; icons are data, modules are blobs.
_POLICY = (
    "default-src 'self'", "script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:", "style-src 'self' 'unsafe-inline'",
    "img-src 'self' data: blob:", "font-src 'self' data:", "worker-src 'self' blob:", "object-src 'none'",
    "base-uri 'none'", "form-action 'self'",
)  # fmt: skip
#: Pages of this machine, such as JupyterLab's, may contain the dashboard.
_FRAMES = ("'self'", "http://localhost:*", "http://127.0.0.1:*")
_HOST = re.compile(r"[a-z0-9.\-]+(:\d+)?|\[[0-9a-f:.]+\](:\d+)?")


def protect() -> None:
    """Add :func:`refusal` and the security headers to every server of this process."""
    application: Any = BokehTornado
    if hasattr(application, "protected"):
        return
    find = application.find_handler

    def find_handler(self: BokehTornado, request: HTTPServerRequest, **options: Any) -> Any:
        origins = settings.allowed_ws_origin() or self.websocket_origins
        if reason := refusal(request, set(origins)):
            return self.get_handler_delegate(request, _secured(_Refused), {"reason": reason})
        if request.method == "GET" and (query := readable_query(request.query)) != request.query:
            return self.get_handler_delegate(request, _secured(_Elsewhere), {"query": query})
        delegate = find(self, request, **options)
        delegate.handler_class = _secured(delegate.handler_class)
        return delegate

    application.find_handler, application.protected = find_handler, True


def refusal(request: HTTPServerRequest, allowed: set[str]) -> str:
    """Return why a request is not answered; empty if it is.

    Parameters
    ----------
    request : HTTPServerRequest
        The request.
    allowed : set of str
        Hosts that ``--allow-websocket-origin`` names; without it the server's own port on localhost.
    """
    host = request.host.lower()
    if not _HOST.fullmatch(host) or not (_is_here(host, request) or check_allowlist(host, list(allowed))):
        return f"This server does not answer under the name of the address. {_allow(host)}"
    socket = request.headers.get("Upgrade", "").lower() == "websocket"
    origin = request.headers.get("Origin")
    if origin is None:
        missing = socket and os.environ.get(NO_ORIGIN) != "1"
        return f"A websocket needs an Origin. To let programs connect, set {NO_ORIGIN}=1." if missing else ""
    if not socket and request.method in ("GET", "HEAD", "OPTIONS"):
        return ""
    source = urlsplit(origin).netloc.lower()
    if source == host or (source and check_allowlist(source, list(allowed))):
        return ""
    return f"Pages of other origins may not use this server. {_allow(source)}"


def readable_query(query: str) -> str:
    """Return the query of an address without the values at which Panel raises an error; the same if there are none."""
    kept = []
    for name, value in (pairs := parse_qsl(query, keep_blank_values=True)):
        with contextlib.suppress(Exception):
            parse_query("?" + urlencode({name: value}))
            kept.append((name, value))
    return query if len(kept) == len(pairs) else urlencode(kept)


def _allow(host: str) -> str:
    return f"To allow it: --allow-websocket-origin={host}" if _HOST.fullmatch(host) else ""


def _is_here(host: str, request: HTTPServerRequest) -> bool:
    """Return whether a host is a loopback name, or the address that the connection came in on."""
    name = urlsplit(f"//{host}").hostname or ""
    if name == "localhost":
        return True
    with contextlib.suppress(ValueError):
        address = ipaddress.ip_address(name)
        return address.is_loopback or str(address) == _own_address(request)
    return False


def _own_address(request: HTTPServerRequest) -> str:
    with contextlib.suppress(AttributeError, OSError, IndexError):
        return str(request.connection.stream.socket.getsockname()[0])  # type: ignore[union-attr]
    return ""


class _Refused(RequestHandler):
    """Answer 403."""

    def initialize(self, reason: str) -> None:
        """Keep the reason."""
        self._reason_text = reason

    def prepare(self) -> None:
        """Answer any method."""
        self.set_status(403)
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        self.finish(self._reason_text)


class _Elsewhere(RequestHandler):
    """Redirect to the same path, also behind a proxy, with another query."""

    def initialize(self, query: str) -> None:
        """Keep the query."""
        self._query = query

    def get(self, *_args: str) -> None:
        """Redirect."""
        self.set_status(302)
        self.set_header("Location", f"?{self._query}")


@functools.cache
def _secured(handler: type[RequestHandler]) -> type[RequestHandler]:
    """Return a handler that sends the security headers, too."""

    def set_default_headers(self: Any) -> None:
        handler.set_default_headers(self)
        for name, value in security_headers(self.request, self.application).items():
            self.set_header(name, value)

    return type(handler.__name__, (handler,), {"set_default_headers": set_default_headers})


def security_headers(request: HTTPServerRequest, application: Application) -> dict[str, str]:
    """Return the security headers of an answer."""
    host = request.host.lower()
    sockets = f" ws://{host} wss://{host}" if _HOST.fullmatch(host) else ""
    origins = sorted(getattr(application, "websocket_origins", ()))
    frames = [*_FRAMES, *(origin.removesuffix(":80") for origin in origins)]
    policy = "; ".join((*_POLICY, f"connect-src 'self' blob: data:{sockets}", f"frame-ancestors {' '.join(frames)}"))
    return {
        "Content-Security-Policy": policy,
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "same-origin",
    }
