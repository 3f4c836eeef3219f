"""Whose requests are answered: not those that a page from elsewhere makes a reader's browser send.

A page may have its own name lead to this machine (DNS rebinding), and then read what is served here alone; so a server
answers only to names that are known to be its own. An address in numbers is no such name.
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_address
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from rag.serve.problems import problem


class Named:
    """Refuses a Host that is neither this machine nor one of `names` (421), and what other pages send (403).

    Pages of `origins` are not refused.
    """

    def __init__(self, app: ASGIApp, names: Sequence[str] = (), origins: Sequence[str] = ()) -> None:
        self._app = app
        self._origins = frozenset(origins)
        self._names = frozenset({"localhost", *(name.lower().rstrip(".") for name in names)})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request, or refuse it."""
        refusal = None
        if scope["type"] == "http":
            headers = Headers(scope=scope)
            host, origin = headers.get("host"), headers.get("origin")
            named = origin in self._origins
            if host is not None and not self._own(_hostname(host)):
                refusal = problem(421, f"this server is not called {host[:100]!r}; `rag serve --name NAME` adds a name")
            elif not named and origin is not None and not self._same(origin, host):
                refusal = problem(403, f"a page of {origin[:100]!r} may not ask here; `rag serve --origin URL` lets it")
            elif (
                not named
                and headers.get("sec-fetch-site") == "cross-site"
                and headers.get("sec-fetch-mode") != "navigate"
            ):
                refusal = problem(403, "another site's page may link to this one, not load it")
        await (refusal or self._app)(scope, receive, send)

    def _own(self, name: str | None) -> bool:
        return name is not None and (name in self._names or _numeric(name))

    def _same(self, origin: str, host: str | None) -> bool:
        """Whether a page of that origin is of this server, or of one that has one of the names given."""
        try:
            netloc = urlsplit(origin).netloc
        except ValueError:
            return False
        return netloc.lower() == (host or "").lower() or _hostname(netloc) in self._names - {"localhost"}


def _hostname(netloc: str) -> str | None:
    """The name without a port; None where it is none.

    >>> _hostname("LocalHost:8000"), _hostname("[::1]:80"), _hostname("a b"), _hostname("user@host")
    ('localhost', '::1', None, None)
    """
    try:
        parts = urlsplit(f"//{netloc}")
        _ = parts.port
    except ValueError:
        return None
    plain = parts.netloc == netloc and not any(c in netloc for c in "@/\\?# ")
    return parts.hostname.rstrip(".") if plain and parts.hostname else None


def _numeric(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True
