"""What a reader found -> a Document."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from rag.corpus.source import Source
from rag.corpus.values import (
    asked_questions,
    document_id,
    episode_id,
    iso_date,
    json_safe,
    sound,
    topic_names,
    web_address,
    word,
)
from rag.errors import CorpusError
from rag.records import Document, Paragraph


@dataclass(frozen=True, slots=True)
class Draft:
    """A document as its format gives it.

    `fields` are the values as written (kind, title, episode, topics, date, questions, url); `lines` says where each
    stands, and `line` where the document does. `id` overrides the path; `heading` is the first heading, a title of last
    resort; `kind` is what the format itself knows.
    """

    text: str
    paragraphs: tuple[Paragraph, ...]
    fields: Mapping[str, object] = field(default_factory=dict)
    metadata: Mapping[str, object] = field(default_factory=dict)
    lines: Mapping[str, int] = field(default_factory=dict)
    line: int = 1
    id: str | None = None
    episode: str | None = None
    heading: str | None = None
    kind: str | None = None


def finish(draft: Draft, source: Source, id_pattern: str) -> Document:
    """The document, or CorpusError naming the line of the value that cannot be."""
    key = "text"
    try:
        sound(draft.text, "the text")
        if not draft.text.strip():
            raise ValueError("no text; write some, or remove it")
        key = "id"
        name = document_id(draft.id or source.id)
        key = "kind"
        kind = (word(draft.fields, key) or draft.kind or singular(source.folder) or "document").lower()
        key = "title"
        title = word(draft.fields, key)
        if title is None:
            title = "" if draft.fields.get(key) == "" else draft.heading or source.stem.replace("-", " ")
        key = "episode"
        episode = episode_id(word(draft.fields, key), id_pattern) or draft.episode
        if (
            episode is None
            and draft.id is None
            and (kind == "episode" or source.folder == "episodes")
            and re.fullmatch(id_pattern, source.stem)
        ):
            episode = source.stem
        key = "topics"
        topics = topic_names(draft.fields.get(key))
        key = "date"
        day = iso_date(draft.fields.get(key))
        key = "questions"
        questions = asked_questions(draft.fields.get(key), draft.text, draft.paragraphs)
        key = "url"
        url = web_address(word(draft.fields, key))
        metadata: dict[str, object] = {}
        for key, value in draft.metadata.items():
            if value is not None:
                metadata[key] = day if key == "date" else json_safe(value)
    except ValueError as error:
        what = "" if key == "text" else f"{key}: "
        raise refused(source.path, draft.lines.get(key, draft.line), error, what) from error
    return Document(name, kind, title, draft.text, draft.paragraphs, episode, topics, day, url, metadata, questions)


def refused(path: str, line: int, error: ValueError, what: str = "") -> CorpusError:
    """The error for a value at a line, of a ValueError that says "FOUND; MEND"."""
    found, sep, mend = str(error).rpartition("; ")  # the last: what was found may quote others
    return CorpusError(path, line, what + (found if sep else mend), mend if sep else "write it in another way")


def singular(folder: str) -> str:
    """What a document in a folder is, "" where the name does not say: only plurals do.

    >>> [singular(name) for name in ("episodes", "reviews", "summaries", "corpus", "news", "2024")]
    ['episode', 'review', 'summary', '', '', '']
    """
    name = folder.lower()
    if name in {"news", "series"} or not name.endswith("s") or name.endswith(("ss", "us", "is")):
        return ""
    return name[:-3] + "y" if name.endswith("ies") else name[:-1]
