"""What every page shares."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from anyio.to_thread import run_sync
from fastapi import Request, Response

from rag.errors import IndexUnusable, RagError
from rag.serve.state import Current, State
from rag.serve.web.catalogue import Catalogue, read_catalogue
from rag.serve.web.render import Templates

if TYPE_CHECKING:
    from rag.assemble import Service

_log = logging.getLogger("rag.serve")
_HEADINGS = {
    404: "There is no such page",
    422: "That cannot be read",
    503: "Not ready yet",
}


def wants_page(request: Request) -> bool:
    """Whether whoever asks would rather have a page than JSON, as browsers say; of the API nobody does."""
    return not request.url.path.startswith("/v1/") and "text/html" in request.headers.get("accept", "").lower()


class Site:
    """The service that answers now, and how its pages look."""

    def __init__(self, state: State) -> None:
        self.state, self.templates = state, Templates()

    async def page(self, make: Callable[[Current], Response]) -> Response:
        """What is made of the index that serves now, off the event loop; what nobody foresaw is logged and said calmly.

        Raises IndexUnusable, and what else of RagError `make` raises.
        """
        current = self.state.current()
        try:
            return await run_sync(make, current)
        except RagError:
            raise
        except Exception:
            _log.exception("a page failed")
            return await self.error(500, "The server's log says more. Try again, or ask otherwise.")

    def show(self, current: Current, name: str, status: int = 200, **values: Any) -> Response:
        """A template as a response."""
        return _html(self.templates.render(name, **shared(current), **values), status)

    async def error(self, status: int, detail: str, headers: dict[str, str] | None = None) -> Response:
        """A page that says what went wrong; where waiting helps, it asks again by itself."""
        values = {
            "status": status,
            "heading": _HEADINGS.get(status, "Something went wrong here" if status >= 500 else "That cannot be done"),
            "detail": "Nothing is at this address" if detail == "Not Found" else detail[:1].upper() + detail[1:],
            "again": (headers or {}).get("retry-after"),
        }
        try:
            known = await run_sync(lambda: shared(self.state.current()))
        except Exception as error:  # what is wrong may be the index itself
            if not isinstance(error, IndexUnusable):
                _log.exception("a page failed")
            known = {"index": None, "kinds": ()}
        return self._error(status, headers or {}, known | values)

    def busy(self, detail: str) -> Response:
        """A page that asks again by itself; it needs nothing of the index, and so no thread."""
        values = {"status": 503, "heading": "Too much is asked at once", "again": "2", "index": None, "kinds": ()}
        return self._error(503, {"retry-after": "2"}, values | {"detail": detail[:1].upper() + detail[1:]})

    def _error(self, status: int, headers: dict[str, str], values: dict[str, Any]) -> Response:
        page = _html(self.templates.render("error.html", **values), status)
        page.headers.update({"cache-control": "no-store", "vary": "accept"} | headers)
        return page


def shared(current: Current) -> dict[str, Any]:
    """What every template is given."""
    return {"index": current.service.library.info, "kinds": tuple(catalogue(current).documents)}


def catalogue(current: Current) -> Catalogue:
    """What can be browsed."""
    return current.made(_catalogue)


def _catalogue(service: Service) -> Catalogue:
    return read_catalogue(service.library)


def _html(text: str, status: int) -> Response:
    # As in the API, one "?" for a lone surrogate, which has no UTF-8.
    return Response(
        text.encode("utf-8", "replace"), status, {"cache-control": "no-cache"}, media_type="text/html; charset=utf-8"
    )
