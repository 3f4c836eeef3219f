"""The document's journey: load, split, encode, write."""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from rag.corpus.markers import DEFAULT_PATTERN, plain
from rag.corpus.split import SplitValues, index_text, split, term_text
from rag.errors import CorpusError, IndexUnusable
from rag.index.dense import PASSAGES, SENTENCES, Kind, write_vectors
from rag.index.encode import ENCODER, EncoderCard, OnnxEncoder, Progress, silent
from rag.index.export import EncoderChoice, export, source_of
from rag.index.library import PLACES, IndexLibrary, LibraryWriter
from rag.index.plane import MOST, TSNE, place, spread
from rag.index.sparse import FOLDER as SPARSE
from rag.index.sparse import write_terms
from rag.index.store import IndexFolder, Manifest
from rag.index.vectors import ENCODED, KEYS, VECTORS, Gathered, Spoken, keep_vectors
from rag.records import Document, IndexInfo, Passage

if TYPE_CHECKING:
    from rag.index.plane import Places
    from rag.ports import Encoder


@dataclass(frozen=True, slots=True)
class BuildReport:
    """What a build did. `reused` and `encoded` count passages; `changed` is False where all was up to date."""

    generation: str
    documents: int
    passages: int
    reused: int
    encoded: int
    changed: bool
    seconds: float


def build(
    documents: Iterable[Document],
    folder: IndexFolder,
    *,
    encoder: EncoderChoice = EncoderChoice(),
    values: SplitValues = SplitValues(),
    id_pattern: str = DEFAULT_PATTERN,
    sentence_vectors: bool = True,
    places: bool = True,
    rebuild: bool = False,
    donors: Sequence[IndexFolder] = (),
    questions: Iterable[str] = (),
    vectors: Kind = "auto",
    opened: Callable[[Path], Encoder] = OnnxEncoder,
    at_once: int = ENCODED,
    progress: Progress = silent,
    say: Callable[[str], None] = lambda _: None,
) -> BuildReport:
    """Build a new generation and let it serve.

    `sentence_vectors` keeps a vector of each sentence too, for choosing evidence; `places` gives passages a place in
    the plane, for a map, near to the one that the same text had in the old generation unless `rebuild`. `donors` are
    other index folders whose encoder may be copied, and unless `rebuild` the vectors of the first that serves. Raises
    IndexBusy, CorpusError, and SettingsError; the old generation then serves on.

    `questions` are texts that will be asked over and over; a build that changes anything keeps their vectors too.
    `vectors` is how FAISS keeps them, and changing it encodes nothing again; `opened` opens the encoder that the index
    carries, which is given `at_once` texts a call. Documents may come in any order and are not held: memory holds
    FAISS's index and some numbers a passage.
    """
    began = time.perf_counter()
    with folder.writing() as building:
        with LibraryWriter(building) as writer:
            read = read_documents(documents, values, id_pattern, writer)
        old = None if rebuild else serving(folder)
        card = encoder_into(encoder, building / ENCODER, chain([old], map(serving, donors)), say)
        manifest = replace(read, encoder=card, sentence_vectors=sentence_vectors, vectors=vectors)
        if old is not None and same(old[1], manifest) and bool(old[1].places) == places:
            return BuildReport(
                old[1].generation, read.documents, len(writer), len(writer), 0, False, time.perf_counter() - began
            )
        writer.finish()
        library = IndexLibrary(building, IndexInfo(manifest.generation, len(writer), card.name))
        held_by = old or (None if rebuild else next(filter(None, map(serving, donors)), None))
        known = vectors_of(held_by, card)
        spoken = partial(spoken_of, id_pattern=id_pattern, titled=values.titled, sentences=sentence_vectors)
        model = opened(building / ENCODER)
        kept = keep_vectors(library, spoken, model, known, building, questions, progress, at_once)
        every = np.load(building / VECTORS, mmap_mode="r")
        write_vectors(every, kept.passages[0], building / PASSAGES, kept.passages[1], vectors)
        if sentence_vectors:
            write_vectors(every, kept.sentences[0], building / SENTENCES, kept.sentences[1], vectors)
        if places:
            own = Gathered(every, kept.passages[1][: len(library)])
            at, method = place(own, _places_before(old, library))
            np.save(building / PLACES, at)
            manifest = replace(manifest, places=method)
        passages = map(library.read, range(len(library)))
        terms = partial(term_text, id_pattern=id_pattern, titled=values.titled)
        write_terms(progress(passages, len(library), "indexing"), terms, building / SPARSE)
        folder.publish(building, manifest)
        return BuildReport(
            manifest.generation,
            read.documents,
            len(library),
            kept.reused,
            len(library) - kept.reused,
            True,
            time.perf_counter() - began,
        )


def read_documents(
    documents: Iterable[Document], values: SplitValues, id_pattern: str, writer: LibraryWriter
) -> Manifest:
    """Split documents and write them; what the index will be of, its encoder and vectors not yet known.

    Raises CorpusError where there is nothing to be found.
    """
    digests, sentences = [], 0
    for document in documents:
        passages = split(document, values, id_pattern)
        sentences += sum(len(p.sentences) for p in passages)
        digests.append((document.id, writer.add(document, passages)))
    if not len(writer):
        raise CorpusError("corpus", 1, "no document has a sentence", "give it documents with text")
    corpus_digest = hashlib.sha256(b"".join(digest for _, digest in sorted(digests))).hexdigest()
    return Manifest(
        generation=f"{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}-{corpus_digest[:8]}-{os.urandom(2).hex()}",
        corpus_digest=corpus_digest,
        encoder=EncoderCard("", "", "", 0, 0),
        max_chars=values.max_chars,
        min_chars=values.min_chars,
        titled=values.titled,
        id_pattern=id_pattern,
        sentence_vectors=False,
        documents=len(digests),
        passages=len(writer),
        sentences=sentences,
    )


def same(old: Manifest, new: Manifest) -> bool:
    """Built from and with the same, whichever method placed the passages: that depends on what is installed."""

    def what(m: Manifest) -> dict[str, object]:
        return {k: v for k, v in asdict(m).items() if k not in ("generation", "files", "sizes", "places")}

    return what(old) == what(new)


def serving(folder: IndexFolder) -> tuple[Path, Manifest] | None:
    """The generation that serves, None where none is whole."""
    try:
        return folder.checked()
    except IndexUnusable:  # damaged, of another format or not there: build all of it anew
        return None


def encoder_into(
    choice: EncoderChoice,
    target: Path,
    donors: Iterable[tuple[Path, Manifest] | None],
    say: Callable[[str], None],
) -> EncoderCard:
    """Put the encoder into a folder: a donor's, where one has it, else exported anew."""
    source = source_of(choice)
    for serving in donors:
        if serving and (serving[1].encoder.source, serving[1].encoder.precision) == (source, choice.precision):
            shutil.copytree(serving[0] / ENCODER, target, copy_function=_link)
            return serving[1].encoder
    say(f"exporting {choice.model} to ONNX ({choice.precision}), once")
    return export(choice, source, target)


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def vectors_of(old: tuple[Path, Manifest] | None, card: EncoderCard) -> tuple[np.ndarray, np.ndarray]:
    """The vectors of a generation, and the keys of their texts; none where another encoder made them."""
    if old is None or old[1].encoder.digest != card.digest:
        return np.empty(0, dtype=np.uint64), np.empty((0, card.dimension), dtype=np.float32)
    return np.load(old[0] / KEYS), np.load(old[0] / VECTORS, mmap_mode="r")


def spoken_of(passage: Passage, *, id_pattern: str, titled: bool, sentences: bool) -> Spoken:
    """What speaks for a passage in vectors; of its sentences, their plain text."""
    return Spoken(
        index_text(passage, id_pattern, titled),
        tuple(plain(s.text, id_pattern) for s in passage.sentences) if sentences else (),
        tuple(ask for s in passage.sentences for ask in s.asked),
    )


def _places_before(old: tuple[Path, Manifest] | None, library: IndexLibrary) -> Places | None:
    """The place that each passage's text has in an old generation, NaN for a new text; None where t-SNE gave none."""
    if old is None or old[1].places != TSNE:
        return None
    before = IndexLibrary(old[0], IndexInfo(old[1].generation, old[1].passages, old[1].encoder.name))
    at = {passage.text: place for passage, place in before.placed(MOST)}
    places = np.full((len(library), 2), np.nan, dtype=np.float32)
    for row in spread(len(library)).tolist():
        places[row] = at.get(library.read(row).text, (np.nan, np.nan))
    return places
