"""The document's journey into Milvus."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from rag.corpus.markers import DEFAULT_PATTERN
from rag.corpus.split import SplitValues, term_text
from rag.errors import IndexUnusable
from rag.index.build import BuildReport, encoder_into, read_documents, same, serving, spoken_of, vectors_of
from rag.index.encode import ENCODER, OnnxEncoder, Progress, silent, text_key
from rag.index.export import EncoderChoice
from rag.index.library import IndexLibrary, LibraryWriter
from rag.index.milvus.encoder import encoder_of, encoder_rows, keep, vectors_by_text
from rag.index.milvus.published import Generations, Published
from rag.index.milvus.tables import (
    ASKED,
    FORMAT,
    OWN,
    PASSAGES,
    ROWS,
    SENTENCE,
    TERMS,
    TEXTS,
    VECTORS,
    Lineage,
    Row,
    filtered_by,
    hexed,
    key_of,
    keyed,
    sweep,
    text_rows,
)
from rag.index.milvus.tables import ENCODER as FILES
from rag.index.milvus.terms import weights
from rag.index.store import IndexFolder
from rag.index.terms import terms
from rag.records import Document, IndexInfo

if TYPE_CHECKING:
    from rag.index.store import Manifest
    from rag.ports import Encoder

EXACT_UP_TO = 200_000
"""Vectors that Milvus scans one by one; its own choice, HNSW, misses some of the best."""
_DRIFT = 0.1
"""How far the mean length of passages may move before all of them are weighted anew: 1 is by all of it."""


def build(
    documents: Iterable[Document],
    generations: Generations,
    index: Path,
    *,
    encoder: EncoderChoice = EncoderChoice(),
    values: SplitValues = SplitValues(),
    id_pattern: str = DEFAULT_PATTERN,
    sentence_vectors: bool = True,
    rebuild: bool = False,
    vectors: str = "auto",
    shards: int = 1,
    opened: Callable[[Path], Encoder] = OnnxEncoder,
    at_once: int = ROWS,
    progress: Progress = silent,
    say: Callable[[str], None] = lambda _: None,
) -> BuildReport:
    """Build a new generation in Milvus and let it serve; what served before does until then.

    Rows go by what they say, so that only what changed is encoded and written, and a build that was killed goes on
    where it was. `index` is a folder of this machine: the encoder is kept there, and the index in it, where there is
    one, gives its encoder and its vectors. `vectors` is the kind of Milvus's index of them, in a new lineage: "auto" is
    exact for as many as can be scanned, and Milvus's own choice beyond. `shards` is what the writing of each table
    that grows with the corpus is spread over, in a new lineage. `opened` opens the encoder, which is given
    `at_once` texts a call; a build that was killed encodes as many again at most. Raises IndexBusy, IndexAway,
    IndexUnwritable, CorpusError and SettingsError.
    """
    began = time.perf_counter()
    with generations.building(index) as builder, _temporary(index) as folder:
        with LibraryWriter(folder) as writer:
            read = read_documents(documents, values, id_pattern, writer)
            writer.finish()
        old = _current(generations)
        here = None if rebuild else serving(IndexFolder(index))
        donors = () if rebuild else chain(_carried(generations, old, index), [here])
        card = encoder_into(encoder, folder / ENCODER, donors, say)
        kept = keep(folder / ENCODER, index, card)
        manifest = replace(read, encoder=card, sentence_vectors=sentence_vectors)
        if old is not None and not rebuild and same(old.manifest, manifest) and _whole(generations, old):
            return _report(old.manifest, 0, began, changed=False)
        ours = old is not None and not rebuild and old.manifest.encoder.digest == card.digest
        name = old.lineage if old is not None and ours else f"{text_key(card.digest + str(FORMAT)):016x}"
        lineage = generations.lineage(os.urandom(8).hex() if rebuild else name)
        sweep(lineage.engine, {lineage.name, *([old.lineage] if old else ())})
        exact = manifest.passages + manifest.sentences * sentence_vectors <= EXACT_UP_TO
        lineage.create(card.dimension, vectors if vectors != "auto" else "FLAT" if exact else "AUTOINDEX", shards)
        library = IndexLibrary(folder, IndexInfo(manifest.generation, manifest.passages, card.name))
        known = vectors_of(here, card)
        rows = _Rows(library, manifest, old.average if old and ours else None)
        fill = _Filler(lineage, partial(opened, kept), known, builder.hold)
        number = old.number + 1 if old else 1
        put = partial(lineage.sync, generation=number, filled=fill.held)
        counts = {
            FILES: put(FILES, encoder_rows(kept)),
            TEXTS: put(TEXTS, rows.texts()),
            TERMS: put(TERMS, rows.terms()),
            PASSAGES: put(PASSAGES, progress(rows.passages(), len(library), "indexing")),
            VECTORS: sum(
                put(
                    VECTORS,
                    rows.vectors(whose, progress),
                    partition=whose,
                    filled=partial(fill.vectors, whose),
                    at_once=at_once,
                )
                for whose in (OWN, SENTENCE, ASKED)
            ),
        }
        builder.publish(Published(number, lineage.name, manifest, rows.average, rows.asked, counts))
        return _report(manifest, fill.encoded[OWN], began, changed=True)


def _report(manifest: Manifest, encoded: int, began: float, *, changed: bool) -> BuildReport:
    reused, seconds = manifest.passages - encoded, time.perf_counter() - began
    return BuildReport(manifest.generation, manifest.documents, manifest.passages, reused, encoded, changed, seconds)


@contextmanager
def _temporary(index: Path) -> Iterator[Path]:
    """A folder to build in; those of builds that were killed go."""
    prefix = ".milvus-building-"
    for left in index.glob(f"{prefix}*"):
        shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(dir=index, prefix=prefix, ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def _current(generations: Generations) -> Published | None:
    """The generation that serves; of one in another format nothing can be used."""
    try:
        return generations.current()
    except IndexUnusable as error:
        if error.retry:
            raise
        return None


def _whole(generations: Generations, published: Published) -> bool:
    try:
        generations.check(published)
    except IndexUnusable as error:
        if error.retry:
            raise
        return False
    return True


def _carried(generations: Generations, old: Published | None, index: Path) -> Iterator[tuple[Path, Manifest]]:
    """The encoder that the index in Milvus carries, in a folder as a generation has it."""
    if old is not None:
        yield encoder_of(old, generations.lineage(old.lineage), index).parent, old.manifest


class _Rows:
    """What Milvus is to hold of a library, read from it anew for each table."""

    def __init__(self, library: IndexLibrary, manifest: Manifest, average: float | None) -> None:
        self._library, self._manifest = library, manifest
        self._text = partial(term_text, id_pattern=manifest.id_pattern, titled=manifest.titled)
        self._holding: Counter[str] = Counter()
        self.asked, length = False, 0
        for row in range(len(library)):
            passage = library.read(row)
            found = terms(self._text(passage))
            self._holding.update(set(found))
            length += len(found)
            self.asked |= any(s.asked for s in passage.sentences)
        now = length / len(library)
        kept = average is not None and abs(average - now) <= _DRIFT * now
        self.average = average if average is not None and kept else now

    def texts(self) -> Iterator[Row]:
        """Documents, passages and the list of episodes."""
        library = self._library
        for document in library.documents():
            yield from text_rows(f"d:{hexed(document.id)}", json.dumps(asdict(document)))
        for row in range(len(library)):
            passage = library.read(row)
            yield from text_rows(f"p:{hexed(key_of(passage))}", json.dumps(asdict(passage)))
        citing = library.citing_counts()
        about = {episode: library.about(episode) for episode in library.episodes()}
        episodes = [[name, document.id if document else None, citing[name]] for name, document in about.items()]
        yield from text_rows("episodes", json.dumps(episodes))

    def terms(self) -> Iterator[Row]:
        """How many passages hold each term."""
        for term, passages in self._holding.items():
            yield keyed({"name": hexed(term), "passages": passages, "unused": [0.0, 0.0]})

    def passages(self) -> Iterator[Row]:
        """The terms of each passage, weighted."""
        for row in range(len(self._library)):
            passage = self._library.read(row)
            weighted = weights(terms(self._text(passage)), self.average)
            named = {"passage": key_of(passage), **filtered_by(passage), "start": passage.start}
            yield keyed(named | {"terms": weighted})

    def vectors(self, whose: str, progress: Progress) -> Iterator[Row]:
        """What speaks for each passage of one kind, each with its text, which has no vector yet."""
        manifest = self._manifest
        passages = map(self._library.read, range(len(self._library)))
        for passage in progress(passages, len(self._library), f"encoding ({whose})"):
            spoken = spoken_of(
                passage, id_pattern=manifest.id_pattern, titled=manifest.titled, sentences=manifest.sentence_vectors
            )
            said = {OWN: (spoken.own,), SENTENCE: spoken.sentences, ASKED: spoken.asked}[whose]
            filters = filtered_by(passage)
            for text in dict.fromkeys(said):
                yield keyed({"passage": key_of(passage), "text": hexed(text), **filters}, whose) | {"vector": text}


class _Filler:
    """Gives rows their vectors: this machine's, those that Milvus had when the build began, or new ones."""

    def __init__(
        self,
        lineage: Lineage,
        opened: Callable[[], Encoder],
        known: tuple[np.ndarray, np.ndarray],
        hold: Callable[[], None],
    ) -> None:
        self._lineage, self._opened, self._hold = lineage, opened, hold
        self._begun = lineage.count(VECTORS) > 0
        self._keys, self._vectors = known
        self._encoder: Encoder | None = None
        self.encoded: Counter[str] = Counter()

    def held(self, rows: list[Row]) -> list[Row]:
        """The rows as they are."""
        self._hold()
        return rows

    def vectors(self, whose: str, rows: list[Row]) -> list[Row]:
        """The rows, each text a vector."""
        self._hold()
        texts = {row["text"]: row["vector"] for row in rows}
        found = {key: vector for key in texts if (vector := self._here(key)) is not None}
        if self._begun:
            found |= vectors_by_text(self._lineage, [key for key in texts if key not in found])
        if new := {key: text for key, text in texts.items() if key not in found}:
            self._encoder = self._encoder or self._opened()
            found |= zip(new, self._encoder.encode(list(new.values())), strict=True)
        self.encoded[whose] += len(new)
        return [row | {"vector": found[row["text"]].tolist()} for row in rows]

    def _here(self, key: str) -> np.ndarray | None:
        wanted = np.uint64(int(key, 16))
        at = int(np.searchsorted(self._keys, wanted))
        return self._vectors[at] if at < len(self._keys) and self._keys[at] == wanted else None
