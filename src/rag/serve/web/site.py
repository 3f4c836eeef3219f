"""What every page shares."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from anyio.to_thread import run_sync
from fastapi import Request, Response

from rag.errors import RagError
from rag.serve.state import State
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
    """Whether whoever asks would rather have a page than JSON, as browsers say."""
    return "text/html" in request.headers.get("accept", "")


class Site:
    """The service that answers now, and how its pages look."""

    def __init__(self, state: State) -> None:
        self.state, self.templates = state, Templates()

    @property
    def catalogue(self) -> Catalogue:
        """What can be browsed. Raises IndexUnusable."""
        return self.state.made(_catalogue)

    def shared(self) -> dict[str, Any]:
        """What every template is given."""
        service = self.state.opened
        kinds = tuple(self.catalogue.documents) if service else ()
        return {"index": service.library.info if service else None, "kinds": kinds}

    async def page(self, make: Callable[[], Response]) -> Response:
        """What is made off the event loop; what nobody foresaw is logged, and said calmly."""
        try:
            return await run_sync(make)
        except RagError:
            raise
        except Exception:
            _log.exception("a page failed")
            return await self.error(500, "The server's log says more. Try again, or ask otherwise.")

    def show(self, name: str, status: int = 200, **values: Any) -> Response:
        """A template as a response."""
        return _html(self.templates.render(name, **self.shared(), **values), status)

    async def error(self, status: int, detail: str, headers: dict[str, str] | None = None) -> Response:
        """A page that says what went wrong; where waiting helps, it asks again by itself."""
        values = {
            "status": status,
            "heading": _HEADINGS.get(status, "Something went wrong here" if status >= 500 else "That cannot be done"),
            "detail": detail[:1].upper() + detail[1:],
            "again": (headers or {}).get("retry-after"),
        }
        try:
            shared = await run_sync(self.shared)
        except Exception:  # what is wrong may be the index itself
            _log.exception("a page failed")
            shared = {"index": None, "kinds": ()}
        page = _html(self.templates.render("error.html", **shared, **values), status)
        page.headers.update(headers or {})
        return page


def _catalogue(service: Service) -> Catalogue:
    return read_catalogue(service.library)


def _html(text: str, status: int) -> Response:
    # As in the API, one "?" for a lone surrogate, which has no UTF-8.
    return Response(
        text.encode("utf-8", "replace"), status, {"cache-control": "no-cache"}, media_type="text/html; charset=utf-8"
    )
