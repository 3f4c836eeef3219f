"""How often somebody may ask: a token bucket for each key or address."""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable
from ipaddress import ip_address, ip_network

from starlette.types import ASGIApp, Receive, Scope, Send

from rag.serve.keys import BEARER, OPEN
from rag.serve.problems import problem

MOST = 10_000
"""Askers that are remembered; whoever was silent longest is forgotten first, and then has a full minute again."""


class Rate:
    """At most `minute` requests a minute for each asker (429), on average; a silent minute may be spent at once.

    Health, readiness, measures and the page's files count for nothing.
    """

    def __init__(self, app: ASGIApp, minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._app, self._minute, self._clock = app, minute, clock
        # A request is worth a share of a minute. Asker -> until when what was asked is paid for: at most a minute ahead
        # (the generic cell rate algorithm, a token bucket of one number).
        self._paid: OrderedDict[str, float] = OrderedDict()

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
        now = self._clock()
        paid = max(self._paid.pop(asker, now), now)
        over = paid + 60 / self._minute - (now + 60)
        wait = math.ceil(over - 1e-6)
        self._paid[asker] = paid if wait > 0 else paid + 60 / self._minute
        if len(self._paid) > MOST:
            self._paid.popitem(last=False)
        return max(wait, 0)


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
