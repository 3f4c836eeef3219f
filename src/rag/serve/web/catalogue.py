"""What can be browsed in an index."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rag.records import Answer, Document

if TYPE_CHECKING:
    from rag.assemble import Service
    from rag.ports import WholeLibrary

EXAMPLES = 4
"""Questions that the first page proposes."""
_TRIED = 24  # questions that are asked to find those
_LONGEST_EXAMPLE = 90  # characters


@dataclass(frozen=True, slots=True)
class Entry:
    """A document, or an episode, in a list; `citing` counts passages of others that cite it.

    `document` is None for an episode that is only cited, `episode` for a document that is about none.
    """

    id: str
    title: str
    topics: tuple[str, ...] = ()
    date: str | None = None
    document: str | None = None
    episode: str | None = None
    citing: int = 0

    @property
    def searched(self) -> str:
        """What a reader may type to find it."""
        return " ".join((self.id, self.title, *self.topics)).casefold()


@dataclass(frozen=True, slots=True)
class Catalogue:
    """Episodes, sorted by ID, and all other documents by kind, sorted by title."""

    episodes: tuple[Entry, ...]
    documents: Mapping[str, tuple[Entry, ...]]
    related: Mapping[str, tuple[str, ...]]
    """Episode -> the episodes that its document's front matter names as related."""

    def entry(self, episode: str) -> Entry | None:
        """The episode's."""
        return next((e for e in self.episodes if e.id == episode), None)


def read_catalogue(library: WholeLibrary) -> Catalogue:
    """Read every document once."""
    citing = library.citing_counts()
    episodes = {id: Entry(id, id, episode=id, citing=citing.get(id, 0)) for id in library.episodes()}
    documents: dict[str, list[Entry]] = {}
    related: dict[str, tuple[str, ...]] = {}
    for document in library.documents():
        if document.episode is not None:
            id = document.episode
            episodes[id] = _entry(document, id, citing.get(id, 0))
            related[id] = tuple(_names(document.metadata.get("related"), episodes))
        else:
            documents.setdefault(document.kind, []).append(_entry(document, document.id))
    return Catalogue(
        tuple(episodes[id] for id in sorted(episodes)),
        {kind: tuple(sorted(of, key=lambda e: e.title.casefold())) for kind, of in sorted(documents.items())},
        related,
    )


def _entry(document: Document, id: str, citing: int = 0) -> Entry:
    title = document.title or document.id
    return Entry(id, title, document.topics, document.date, document.id, document.episode, citing)


def _names(value: object, known: Iterable[str]) -> Iterator[str]:
    names = value if isinstance(value, Sequence) and not isinstance(value, str) else ()
    held = set(known)
    return (str(name) for name in names if str(name) in held)


def matching(
    entries: Sequence[Entry], words: str, topic: str | None, since: str | None, until: str | None
) -> tuple[Entry, ...]:
    """The entries with every word somewhere, on the topic, dated from one day to another, both inclusive."""
    wanted = words.casefold().split()
    folded = topic.casefold() if topic else None
    return tuple(
        e
        for e in entries
        if all(word in e.searched for word in wanted)
        and (folded is None or folded in map(str.casefold, e.topics))
        and (not since or (e.date is not None and e.date >= since))
        and (not until or (e.date is not None and e.date <= until))
    )


def examples(service: Service) -> tuple[str, ...]:
    """Questions to propose: a few that documents say they answer, and that are in fact answered."""
    asked = [_asked(d) for d in service.library.documents()]
    held = [question for question in asked if question]
    tried = held[:: max(1, len(held) // _TRIED)][:_TRIED]
    out: list[str] = []
    for question in tried:
        answer: Answer = service.answerer.ask(question)
        if not answer.abstained:
            out.append(question)
        if len(out) == EXAMPLES:
            break
    return tuple(out)


def _asked(document: Document) -> str | None:
    """The first question of a document that reads as one."""
    texts = (q.text.strip() for q in document.questions)
    found = next((t for t in texts if t.endswith("?") and len(t) <= _LONGEST_EXAMPLE), None)
    return found and found[0].upper() + found[1:]
