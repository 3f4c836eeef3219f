"""Errors as problem documents (RFC 9457)."""

from __future__ import annotations

import json
from functools import partial
from http import HTTPStatus

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from rag.errors import BackendFailed, Busy, IndexUnusable, NotFound, QuestionError, UserError
from rag.serve.state import State
from rag.serve.web.site import Site, wants_page


def problem(status: int, detail: str, headers: dict[str, str] | None = None, **more: object) -> Response:
    """A problem document."""
    value = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status, "detail": detail, **more}
    return Response(json.dumps(value), status, headers, media_type="application/problem+json")


def add_handlers(app: FastAPI, state: State, site: Site) -> None:
    """Every error as a problem document, or as a page for a browser; one that nobody foresaw is `rag.serve.edge`'s."""

    async def refuse(
        request: Request, status: int, detail: str, headers: dict[str, str] | None = None, **more: object
    ) -> Response:
        if wants_page(request):
            return await site.error(status, detail, headers)
        return problem(status, detail, {"cache-control": "no-store", "vary": "accept"} | (headers or {}), **more)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        errors = [{"field": ".".join(map(str, e["loc"])), "detail": str(e["msg"])} for e in error.errors()]
        told = (f"{e['field'].removeprefix('query.')}: {e['detail'].removeprefix('Value error, ')}" for e in errors[:5])
        detail = "; ".join(told)
        return await refuse(request, 422, detail, errors=errors[:100])

    @app.exception_handler(HTTPException)
    async def refused(request: Request, error: HTTPException) -> Response:
        return await refuse(request, error.status_code, str(error.detail), dict(error.headers or {}))

    async def user(status: int, request: Request, error: Exception) -> Response:
        return await refuse(request, status, str(error))

    for kind, status in ((UserError, 400), (QuestionError, 422), (NotFound, 404), (BackendFailed, 503)):
        app.add_exception_handler(kind, partial(user, status))

    @app.exception_handler(Busy)
    async def busy(request: Request, error: Busy) -> Response:
        if wants_page(request):
            return site.busy(str(error))
        return await refuse(request, 503, str(error), {"retry-after": "1"})

    @app.exception_handler(IndexUnusable)
    async def unusable(request: Request, error: IndexUnusable) -> Response:
        loading = state.opened is None and state.failed is None
        return await refuse(request, 503, str(error), {"retry-after": "1"} if loading or error.retry else None)
