"""JSON Lines: one document a line."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import NoReturn

from rag.corpus.fields import Draft, refused
from rag.corpus.page import blocks
from rag.corpus.source import Source, decode, newlines
from rag.errors import CorpusError
from rag.records import Paragraph

_KNOWN = frozenset({"text", "id", "_id", "kind", "title", "episode", "topics", "date", "url", "metadata"})


def read(source: Source, id_pattern: str) -> Iterator[Draft | CorpusError]:
    """A draft a row, or the error of a bad one; blank lines count and are passed over.

    The text is plain, its paragraphs stand between blank lines. Keys that are not ours go into the metadata, as do
    those under BEIR's `metadata`; `_id` is `id`, and a row without either is "PATH#LINE". A title of "" stays empty.
    """
    for line, written in enumerate(decode(source.data, source.path).split("\n"), start=1):
        if written.strip():
            try:
                yield _draft(_row(written), source, line, id_pattern)
            except ValueError as error:
                yield refused(source.path, line, error)


def _row(written: str) -> dict[str, object]:
    try:
        row = json.loads(written, parse_constant=_no_number)
    except json.JSONDecodeError as error:
        raise ValueError(f"no JSON: {error.msg} at column {error.colno}; write one object a line") from error
    except RecursionError as error:
        raise ValueError("nested too deeply; flatten it") from error
    if not isinstance(row, dict):
        raise ValueError('not an object; write {"text": …} on a line')
    return row


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON; write null")


def _draft(row: dict[str, object], source: Source, line: int, id_pattern: str) -> Draft:
    text = row.get("text")
    if not isinstance(text, str) or not text.strip():
        raise ValueError('no text; give the row a "text" of words')
    text = newlines(text)
    name = row.get("id", row.get("_id"))
    if name is not None and (isinstance(name, bool) or not isinstance(name, str | int) or name == ""):
        raise ValueError(f"id: {name!r:.60} is no text; write it in quotes")
    inner = row.get("metadata")
    more = inner if isinstance(inner, dict) else {"metadata": inner} if inner is not None else {}
    return Draft(
        text=text,
        paragraphs=tuple(Paragraph(start, end) for start, end in blocks(text)),
        fields=row,
        metadata={**more, **{key: value for key, value in row.items() if key not in _KNOWN}},
        line=line,
        id=f"{source.id}#{line}" if name is None else str(name),
        episode=str(name) if re.fullmatch(id_pattern, str(name)) else None,
    )
