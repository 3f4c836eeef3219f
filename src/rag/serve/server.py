"""The process that serves."""

from __future__ import annotations

import signal
import socket
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import uvicorn
from starlette.types import ASGIApp

from rag.serve import log
from rag.serve.admission import WAITING
from rag.serve.app import create_app
from rag.serve.workers import Worker, keep

if TYPE_CHECKING:
    from rag.assemble import Service
    from rag.serve.traces import Traces


def run(
    opening: Callable[[], Callable[[], Service]],
    changed: Callable[[], object],
    host: str = "127.0.0.1",
    port: int = 8000,
    names: Sequence[str] = (),
    workers: int = 1,
    waiting: int = WAITING,
    keys: Path | None = None,
    rate: int = 0,
    proxies: Sequence[str] = (),
    origins: Sequence[str] = (),
    log_format: log.Format = "text",
    log_questions: bool = False,
    traces: str | None = None,
) -> None:
    """Serve until told to stop; requests under way then have ten seconds. Raises OSError where it cannot listen.

    `opening` gives what opens the service, once a process; with more than one of `workers`, it and `changed` go to each
    by pickle. `names` are further names that readers call this machine by, `keys` the file of those who may ask; None
    is everyone. At most `waiting` questions wait for a core, in each. `rate` is in requests a minute, 0 without limit.
    `proxies` are believed whom they forward for, and nobody else is. Pages of `origins` may ask too. The log goes to
    stderr, and holds what was asked only with `log_questions`. Spans go to the collector at `traces`; None is nowhere.
    Raises UserError where there is one and the extra `otel` is missing.
    """
    application = partial(
        create_app,
        changed=changed,
        names=[host, *names],
        waiting=waiting,
        keys=keys,
        rate=rate,
        origins=origins,
        log_questions=log_questions,
    )
    if traces:
        import_module("rag.serve.traces")  # says what is missing
    serve = partial(_serve, opening, application, proxies, traces, log_format, log_questions)
    log.configure(log_format, log_questions)
    with listen(host, port) as listening:
        if workers == 1:
            serve(listening)
        else:
            application(opening())  # what cannot be served is said here, once
            keep(serve, listening, workers)


def _serve(
    opening: Callable[[], Callable[[], Service]],
    application: Callable[..., ASGIApp],
    proxies: Sequence[str],
    traces: str | None,
    log_format: log.Format,
    log_questions: bool,
    listening: socket.socket,
    worker: Worker | None = None,
) -> None:
    """Serve in this process, which may be a worker's."""
    log.configure(log_format, log_questions)
    app = application(opening(), traces=_traces(traces) if traces else None, worker=worker)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())  # uvicorn, once it has drained, raises the signal again
    with listening, suppress(KeyboardInterrupt):
        uvicorn.Server(configured(app, proxies)).run(sockets=[listening])


def _traces(address: str) -> Traces:
    from rag.serve.traces import Traces, collector

    return Traces(collector(address))


def configured(app: ASGIApp, proxies: Sequence[str]) -> uvicorn.Config:
    """How the application is served."""
    return uvicorn.Config(
        app,
        timeout_graceful_shutdown=10,
        server_header=False,
        log_config=None,
        access_log=False,  # our own line says more, and less
        # By itself uvicorn believes whatever runs on this machine, and the environment (FORWARDED_ALLOW_IPS).
        proxy_headers=bool(proxies),
        forwarded_allow_ips=list(proxies),
    )


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens. Raises OSError that says what to give instead."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        made = socket.create_server((host, port), family=family)
    except OSError as error:
        found = (error.strerror or str(error)).partition(" (")[0]
        raise OSError(error.errno, f"{found}; give another --host or --port", f"{host}:{port}") from error
    # It has to say that it is TCP, for asyncio to send each piece at once; else the kernel keeps the second one, the
    # body, until the first is acknowledged, which takes the other side 40 ms.
    return socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP, fileno=made.detach())
