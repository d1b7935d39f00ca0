"""The local server of the page."""

from __future__ import annotations

import asyncio
import socket
import warnings
from typing import Any

import panel as pn
from tornado.websocket import WebSocketClosedError

from ..models.activations import SaturationWarning
from .page import Page, warm_up
from .state import Settings

TITLE = "rfspec explorer"


def server_of(start: Settings, *, port: int = 0, show: bool = False) -> Any:
    """A server of the page on this machine alone, which runs once its loop does.

    `port` is 0 for any that is free, and ``show`` opens a browser. Raises a ValueError where the
    port is taken.
    """
    port = _free(port)
    # the page tells it
    warnings.simplefilter("ignore", SaturationWarning)
    server = _server(start, port, show)
    # a visitor who leaves is no error
    server.io_loop.asyncio_loop.set_exception_handler(_unless_left)
    warm_up(start)
    return server


def _server(start: Settings, port: int, show: bool) -> Any:
    return pn.serve(
        lambda: Page(start).view(),
        port=port,
        address="127.0.0.1",
        websocket_origin=[f"127.0.0.1:{port}", f"localhost:{port}"],
        show=show,
        start=False,
        title=TITLE,
        verbose=False,
    )


def _unless_left(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    if not isinstance(context.get("exception"), WebSocketClosedError):
        loop.default_exception_handler(context)


def _free(port: int) -> int:
    if isinstance(port, bool) or not 0 <= port < 2**16:
        raise ValueError(f"port must be an integer from 0 to 65535, got {port!r}")
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as e:
            raise ValueError(f"port must be free, got {port}: {e.strerror}; 0 finds one") from e
        return int(probe.getsockname()[1])
