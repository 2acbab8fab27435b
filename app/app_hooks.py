"""Run once by ``panel serve app/``, before the server answers."""

import logging

from pages.readonly import enforce
from pages.security import protect
from tornado.websocket import WebSocketClosedError

# A page that closes while it is being sent something is no error.
logging.getLogger("asyncio").addFilter(
    lambda record: not (record.exc_info and isinstance(record.exc_info[1], WebSocketClosedError))
)
protect()
enforce()
