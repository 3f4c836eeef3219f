"""How often somebody may ask: a token bucket for each key or address."""

from __future__ import annotations

import math
import sqlite3
import time
from collections.abc import Callable
from ipaddress import ip_address, ip_network
from pathlib import Path

from starlette.types import ASGIApp, Receive, Scope, Send

from rag.serve.keys import BEARER, OPEN
from rag.serve.problems import problem

MOST = 10_000
"""Askers that are remembered; whoever has asked least is forgotten first, and then has a full minute again."""


class Rate:
    """At most `minute` requests a minute for each asker (429), on average; a silent minute may be spent at once.

    Health, readiness, measures and the page's files count for nothing. Processes that are given the same `file` count
    together, by a `clock` in seconds that is the same for all.
    """

    def __init__(
        self, app: ASGIApp, minute: int, clock: Callable[[], float] = time.monotonic, file: Path | None = None
    ) -> None:
        self._app, self._minute, self._clock = app, minute, clock
        self._paid = _opened(file)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request, or refuse it."""
        wait = 0 if scope["type"] != "http" or _free(scope["path"]) else self._wait(_asker(scope))
        if wait:
            told = f"more than {self._minute} requests a minute; ask again in {wait} s"
            await problem(429, told, {"retry-after": str(wait), "cache-control": "no-store"})(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    def _wait(self, asker: str) -> int:
        """Whole seconds until the next request is served; 0 serves this one."""
        self._paid.execute("BEGIN IMMEDIATE")
        try:
            now = self._clock()
            [(before,)] = self._paid.execute("SELECT max(until) FROM paid WHERE asker = ?", [asker])
            paid = max(before or now, now) + 60 / self._minute
            wait = max(math.ceil(paid - (now + 60) - 1e-6), 0)
            if not wait:
                self._paid.execute("REPLACE INTO paid VALUES (?, ?)", [asker, paid])
            if before is None:
                self._paid.execute(_FORGET, [MOST])
        finally:
            self._paid.execute("COMMIT")
        return wait


# A request is worth a share of a minute. Asker -> until when what was asked is paid for: at most a minute ahead (the
# generic cell rate algorithm, a token bucket of one number).
_TABLE = """
PRAGMA journal_mode = WAL;
PRAGMA synchronous = OFF;
CREATE TABLE IF NOT EXISTS paid (asker TEXT PRIMARY KEY, until REAL NOT NULL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS by_until ON paid (until);
"""
_FORGET = """
DELETE FROM paid WHERE asker IN
    (SELECT asker FROM paid ORDER BY until LIMIT max(0, (SELECT count(*) FROM paid) - ?))
"""


def _opened(file: Path | None) -> sqlite3.Connection:
    # Made in one thread and used in another, which is the server's; never in two at once.
    held = sqlite3.connect(file or ":memory:", isolation_level=None, check_same_thread=False)
    held.executescript(_TABLE)
    return held


def _free(path: str) -> bool:
    return path in OPEN or path == "/metrics" or path.startswith("/static/")


def _asker(scope: Scope) -> str:
    """The name of the key, else the address; of IPv6, the /64 that one subscriber has.

    >>> _asker({"client": ("2001:db8::1", 1)}), _asker({"client": ("10.0.0.7", 1)}), _asker({BEARER: "ada"})
    ('2001:db8::/64', '10.0.0.7', 'key ada')
    """
    if name := scope.get(BEARER):
        return f"key {name}"
    host = (scope.get("client") or ("",))[0]
    try:
        address = ip_address(host)
    except ValueError:
        return str(host)[:100]
    if address.version == 6 and address.ipv4_mapped is None:
        return str(ip_network((int(address) >> 64 << 64, 64)))
    return str(address)
