"""The process that serves."""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import uvicorn

from rag.serve.admission import WAITING
from rag.serve.app import create_app

if TYPE_CHECKING:
    from rag.assemble import Service


def run(
    open_service: Callable[[], Service],
    changed: Callable[[], object],
    host: str = "127.0.0.1",
    port: int = 8000,
    names: Sequence[str] = (),
    waiting: int = WAITING,
    keys: Path | None = None,
) -> None:
    """Serve until told to stop; requests under way then have ten seconds. Raises OSError where it cannot listen.

    `names` are further names that readers call this machine by, `keys` the file of those who may ask; None is everyone.
    At most `waiting` questions wait for a core.
    """
    app = create_app(open_service, changed, names=[host, *names], waiting=waiting, keys=keys)
    logging.getLogger("uvicorn.access").addFilter(_WithoutQuery())
    with listen(host, port) as listening, suppress(KeyboardInterrupt):
        uvicorn.Server(uvicorn.Config(app, timeout_graceful_shutdown=10, server_header=False)).run(sockets=[listening])


class _WithoutQuery(logging.Filter):
    """Of an address that was asked for, the log keeps the path: what stands behind it is somebody's question."""

    def filter(self, record: logging.LogRecord) -> bool:
        if isinstance(record.args, tuple) and len(record.args) == 5:
            client, method, path, *more = record.args
            record.args = (client, method, str(path).partition("?")[0], *more)
        return True


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens. Raises OSError that says what to give instead."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        found = (error.strerror or str(error)).partition(" (")[0]
        raise OSError(error.errno, f"{found}; give another --host or --port", f"{host}:{port}") from error
