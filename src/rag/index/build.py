"""The document's journey: load, split, encode, write."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from rag.corpus.markers import DEFAULT_PATTERN, plain
from rag.corpus.split import SplitValues, index_text, split, term_text
from rag.errors import CorpusError, IndexUnusable
from rag.index.dense import PASSAGES, SENTENCES, write_vectors
from rag.index.encode import EncoderCard, OnnxEncoder, Progress, RememberedEncoder, silent, text_key
from rag.index.export import EncoderChoice, export, source_of
from rag.index.library import PLACES, IndexLibrary, write_library
from rag.index.plane import MOST, TSNE, place
from rag.index.sparse import FOLDER as SPARSE
from rag.index.sparse import write_terms
from rag.index.store import IndexFolder, Manifest
from rag.records import Document, IndexInfo, Passage

if TYPE_CHECKING:
    from rag.index.plane import Places
    from rag.ports import Vectors

ENCODER, KEYS, VECTORS = "encoder", "keys.npy", "vectors.npy"


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
    progress: Progress = silent,
    say: Callable[[str], None] = lambda _: None,
) -> BuildReport:
    """Build a new generation and let it serve.

    `sentence_vectors` keeps a vector of each sentence too, for choosing evidence; `places` gives passages a place in
    the plane, for a map, near to the one that the same text had in the old generation unless `rebuild`. `donors` are
    other index folders whose encoder may be copied, and unless `rebuild` the vectors of the first that serves. Raises
    IndexBusy, CorpusError, and SettingsError; the old generation then serves on.

    `questions` are texts that will be asked over and over; a build that changes anything keeps their vectors too.
    """
    began = time.perf_counter()
    with folder.writing() as building:
        held = sorted(documents, key=lambda d: d.id)
        passages = sorted((p for d in held for p in split(d, values, id_pattern)), key=lambda p: p.id)
        if not passages:
            raise CorpusError("corpus", 1, "no document has a sentence", "give it documents with text")
        corpus_digest = _digest(held, passages)
        old = None if rebuild else _serving(folder)
        card = _encoder(encoder, building / ENCODER, chain([old], map(_serving, donors)), say)
        manifest = Manifest(
            generation=f"{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}-{corpus_digest[:8]}-{os.urandom(2).hex()}",
            corpus_digest=corpus_digest,
            encoder=card,
            max_chars=values.max_chars,
            min_chars=values.min_chars,
            titled=values.titled,
            id_pattern=id_pattern,
            sentence_vectors=sentence_vectors,
            documents=len(held),
            passages=len(passages),
            sentences=sum(len(p.sentences) for p in passages),
        )
        if old is not None and _same(old[1], manifest) and bool(old[1].places) == places:
            return BuildReport(
                old[1].generation, len(held), len(passages), len(passages), 0, False, time.perf_counter() - began
            )
        model = OnnxEncoder(building / ENCODER)
        held_by = old or (None if rebuild else next(filter(None, map(_serving, donors)), None))
        known = RememberedEncoder(model, *_remembered(held_by, card))
        texts = [index_text(p, id_pattern, values.titled) for p in passages]
        reused = int((known.known(texts) >= 0).sum())
        sentences = [(row, s) for row, passage in enumerate(passages) for s in passage.sentences]
        asked = [(row, ask) for row, s in sentences for ask in s.asked]
        speaking = {PASSAGES: [*enumerate(texts), *asked]}
        if sentence_vectors:
            speaking[SENTENCES] = [*((row, plain(s.text, id_pattern)) for row, s in sentences), *asked]
        wanted = [*(text for of in speaking.values() for _, text in of), *questions]
        vector_of = _vectors(known, model, wanted, building, progress)
        for name, of in speaking.items():
            write_vectors(np.stack([vector_of[text] for _, text in of]), [row for row, _ in of], building / name)
        if places:
            at, method = place(np.stack([vector_of[text] for text in texts]), _places_before(old, passages))
            np.save(building / PLACES, at)
            manifest = replace(manifest, places=method)
        write_terms((term_text(p, id_pattern, values.titled) for p in passages), building / SPARSE)
        write_library(held, passages, building)
        folder.publish(building, manifest)
        return BuildReport(
            manifest.generation,
            len(held),
            len(passages),
            reused,
            len(passages) - reused,
            True,
            time.perf_counter() - began,
        )


def _same(old: Manifest, new: Manifest) -> bool:
    """Built from and with the same, whichever method placed the passages: that depends on what is installed."""

    def what(m: Manifest) -> dict[str, object]:
        return {k: v for k, v in asdict(m).items() if k not in ("generation", "files", "places")}

    return what(old) == what(new)


def _serving(folder: IndexFolder) -> tuple[Path, Manifest] | None:
    try:
        return folder.checked()
    except IndexUnusable:  # damaged, of another format or not there: build all of it anew
        return None


def _digest(documents: list[Document], passages: list[Passage]) -> str:
    """Of the documents and of what was read out of them, so that a new rule of attribution is a new index."""
    digest = hashlib.sha256()
    for row in (*map(asdict, documents), *map(asdict, passages)):
        digest.update(json.dumps(row, sort_keys=True, ensure_ascii=True).encode() + b"\n")
    return digest.hexdigest()


def _encoder(
    choice: EncoderChoice,
    target: Path,
    donors: Iterable[tuple[Path, Manifest] | None],
    say: Callable[[str], None],
) -> EncoderCard:
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


def _remembered(old: tuple[Path, Manifest] | None, card: EncoderCard) -> tuple[np.ndarray, np.ndarray]:
    if old is None or old[1].encoder.digest != card.digest:
        return np.empty(0, dtype=np.uint64), np.empty((0, card.dimension), dtype=np.float32)
    return np.load(old[0] / KEYS), np.load(old[0] / VECTORS, mmap_mode="r")


def _places_before(old: tuple[Path, Manifest] | None, passages: Sequence[Passage]) -> Places | None:
    """The place that each passage's text has in an old generation, NaN for a new text; None where t-SNE gave none."""
    if old is None or old[1].places != TSNE:
        return None
    library = IndexLibrary(old[0], IndexInfo(old[1].generation, old[1].passages, old[1].encoder.name))
    places = {passage.text: at for passage, at in library.placed(MOST)}
    return np.array([places.get(p.text, (np.nan, np.nan)) for p in passages], dtype=np.float32)


def _vectors(
    known: RememberedEncoder,
    model: OnnxEncoder,
    wanted: list[str],
    building: Path,
    progress: Progress,
) -> dict[str, Vectors]:
    """Text -> vector; every one is kept beside its key, for questions and for the next build."""
    unique = list(dict.fromkeys(wanted))
    rows = known.known(unique)
    new = [text for text, row in zip(unique, rows, strict=True) if row < 0]
    fresh = dict(zip(new, model.encode(new, progress), strict=True))
    old = iter(known.encode([text for text, row in zip(unique, rows, strict=True) if row >= 0]))
    vector_of = {text: fresh[text] if text in fresh else next(old) for text in unique}
    keys = np.array([text_key(text) for text in unique], dtype=np.uint64)
    order = np.argsort(keys)
    np.save(building / KEYS, keys[order])
    np.save(building / VECTORS, np.stack([vector_of[text] for text in unique])[order])
    return vector_of
