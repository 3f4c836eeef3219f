"""Templates -> HTML. Whatever is put into one is escaped."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from rag.serve.web.links import document_href, episode_href, query
from rag.serve.web.wording import counted, plural

FLUSH = "<!--flush-->"
"""A piece of a page with this in it is sent at once, and what comes before it too."""


def digests() -> dict[str, str]:
    """The files that pages load, each with a digest of what it holds."""
    folder = files("rag.serve.web") / "static"
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest()[:12] for path in folder.iterdir()}


class Templates:
    """The package's templates."""

    def __init__(self) -> None:
        held = digests()

        def static(name: str) -> str:
            return f"/static/{name}?v={held[name]}"

        self._environment = Environment(
            loader=PackageLoader("rag.serve.web"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.globals.update(static=static, document_href=document_href, episode_href=episode_href)
        self._environment.filters.update(plural=plural, query=query, counted=counted)

    def render(self, name: str, **values: Any) -> str:
        """A whole page."""
        return self._environment.get_template(name).render(values)

    def stream(self, name: str, **values: Any) -> Iterator[str]:
        """A page piece by piece, cut where its template says FLUSH."""
        held: list[str] = []
        for piece in self._environment.get_template(name).generate(values):
            held.append(piece)
            if FLUSH in piece:
                yield "".join(held)
                held.clear()
        yield "".join(held)
