"""The documents and passages of a generation in Milvus, read as they are asked for."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import islice
from threading import Lock
from typing import TypeVar

import msgspec

from rag.errors import IndexAway, NotFound
from rag.index.milvus.published import Published
from rag.index.milvus.tables import (
    PASSAGES,
    ROWS,
    TEXTS,
    Lineage,
    among,
    hexed,
    key_of,
    leaves,
    read_texts,
    visible,
)
from rag.records import Document, Filters, IndexInfo, Key, Passage

_KEPT = 4096
"""Passages that stay in memory, the latest read."""

Kind = TypeVar("Kind", Document, Passage)


class MilvusLibrary:
    """What a generation in Milvus holds besides rankings. Raises IndexAway."""

    def __init__(self, published: Published, lineage: Lineage) -> None:
        manifest = published.manifest
        self.info = IndexInfo(manifest.generation, manifest.passages, manifest.encoder.name)
        self.generation, self.lineage = published.number, lineage
        rows = json.loads(read_texts(lineage, self.generation, ["episodes"]).get("episodes", "[]"))
        self._episodes = tuple(name for name, _, _ in rows)
        self._about = {name: document for name, document, _ in rows if document is not None}
        self._citing = {name: count for name, _, count in rows}
        self._held: dict[str, Passage] = {}
        self._locked = Lock()
        self.document = lru_cache(maxsize=256)(self._document)

    def __len__(self) -> int:
        """How many passages there are."""
        return self.info.passages

    def passages(self, keys: Sequence[Key]) -> Sequence[Passage]:
        """The passages of the keys, in the order given. Raises IndexAway where Milvus lacks one, as a replica may."""
        names = {key: hexed(str(key)) for key in keys}
        with self._locked:
            found = {name: self._held[name] for name in names.values() if name in self._held}
        if new := [name for name in names.values() if name not in found]:
            texts = read_texts(self.lineage, self.generation, [f"p:{name}" for name in new])
            if len(texts) < len(new):
                raise IndexAway(f"{self.lineage.collection(TEXTS)} lacks {len(new) - len(texts)} passages; try again")
            read = {name.removeprefix("p:"): _record(text, Passage) for name, text in texts.items()}
            found |= read
            with self._locked:
                self._held |= read
                for name in list(islice(self._held, max(0, len(self._held) - _KEPT))):
                    del self._held[name]
        return [found[names[key]] for key in keys]

    def _document(self, id: str) -> Document:
        name = f"d:{hexed(id)}"
        text = read_texts(self.lineage, self.generation, [name]).get(name)
        if text is None or (document := _record(text, Document)).id != id:
            raise NotFound(f"no document {id!r}")
        return document

    def documents(self) -> Iterator[Document]:
        """Every document, each read as it is asked for, in the order of their keys."""
        for text in self._texts("d:"):
            yield _record(text, Document)

    def all_passages(self) -> Iterator[Passage]:
        """Every passage, each read as it is asked for, in the order of their keys."""
        for text in self._texts("p:"):
            yield _record(text, Passage)

    def _texts(self, prefix: str) -> Iterator[str]:
        where = f'{visible(self.generation)} and part == 0 and name like "{prefix}%"'
        rows = self.lineage.engine.rows(self.lineage.collection(TEXTS), where, ["name"])
        while some := [row["name"] for row in islice(rows, ROWS)]:
            yield from read_texts(self.lineage, self.generation, some).values()

    def episodes(self) -> Sequence[str]:
        """Every episode ID that a document is about or a sentence is attributed to, sorted."""
        return self._episodes

    def about(self, episode: str) -> Document | None:
        """The document that is about an episode, where there is one."""
        held = self._about.get(episode)
        return None if held is None else self.document(held)

    def citing(self, episode: str) -> Sequence[Passage]:
        """Passages of other documents with a sentence attributed to the episode, by id."""
        where = leaves(Filters(episodes=(episode,)), self.generation)
        if episode in self._about:
            where += f' and document != "{hexed(self._about[episode])}"'
        rows = self.lineage.engine.rows(self.lineage.collection(PASSAGES), where, ["passage"])
        return self.passages(sorted(row["passage"] for row in rows))

    def citing_counts(self) -> Mapping[str, int]:
        """Of each of `episodes()`, how many passages `citing` gives; no passage is read for it."""
        return self._citing

    def neighbours(self, passage: Passage, n: int = 1) -> Sequence[Passage]:
        """Up to n passages before and n after it in its document, in reading order, without itself."""
        where = f"{visible(self.generation)} and {among('document', [hexed(passage.document)])}"
        rows = self.lineage.engine.rows(self.lineage.collection(PASSAGES), where, ["passage", "start"])
        keys = [row["passage"] for row in sorted(rows, key=lambda row: int(row["start"]))]
        if (own := key_of(passage)) not in keys:
            return []
        at = keys.index(own)
        return self.passages([*keys[max(0, at - n) : at], *keys[at + 1 : at + 1 + n]])

    def place(self, passage: Passage) -> None:
        """None: there is no map of what Milvus holds."""

    def placed(self, most: int) -> list[tuple[Passage, tuple[float, float]]]:  # noqa: ARG002
        """Nothing: there is no map of what Milvus holds."""
        return []


def _record(text: str, kind: type[Kind]) -> Kind:
    try:
        return msgspec.json.decode(text, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError):  # a lone surrogate, which a corpus may hold
        return msgspec.convert(json.loads(text), kind)
