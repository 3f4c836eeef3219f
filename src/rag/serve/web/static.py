"""The files that pages load."""

from __future__ import annotations

from urllib.parse import parse_qs

from fastapi import Response
from fastapi.staticfiles import StaticFiles
from starlette.types import Scope

from rag.serve.web.render import digests


class Static(StaticFiles):
    """Kept for good by whoever asks for the file that is there, by its digest."""

    def __init__(self) -> None:
        super().__init__(packages=[("rag.serve.web", "static")])
        self._digests = digests()

    async def get_response(self, path: str, scope: Scope) -> Response:
        """The file. Raises HTTPException."""
        response = await super().get_response(path, scope)
        wanted = parse_qs(scope["query_string"].decode("latin-1")).get("v")
        kept = wanted == [self._digests.get(path)]
        response.headers["cache-control"] = "public, max-age=31536000, immutable" if kept else "no-cache"
        return response
