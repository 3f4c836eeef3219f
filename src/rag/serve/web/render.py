"""Templates -> HTML. Whatever is put into one is escaped."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from importlib.resources import files
from typing import Any
from urllib.parse import urlencode

from jinja2 import Environment, PackageLoader, StrictUndefined

from rag.serve.web.views import document_href, episode_href
from rag.serve.web.wording import plural

FLUSH = "<!--flush-->"
"""A piece of a page with this in it is sent at once, and what comes before it too."""
STATIC = files("rag.serve.web") / "static"


class Templates:
    """The package's templates."""

    def __init__(self) -> None:
        digests = {path.name: hashlib.sha256(path.read_bytes()).hexdigest()[:12] for path in STATIC.iterdir()}

        def static(name: str) -> str:
            return f"/static/{name}?v={digests[name]}"

        self._environment = Environment(
            loader=PackageLoader("rag.serve.web"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.globals.update(static=static, document_href=document_href, episode_href=episode_href)
        self._environment.filters.update(plural=plural, query=query)

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


def query(values: dict[str, Any]) -> str:
    """The query of an address; lists give their name several times, what is empty is left out.

    >>> query({"q": "what & why", "after": ["a", "b"], "topic": None})
    'q=what+%26+why&after=a&after=b'
    """
    return urlencode([(name, value) for name, value in values.items() if value], doseq=True, errors="replace")
