"""Settings -> objects; the only file that chooses an implementation."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypedDict

from msgspec import structs

from rag.errors import NotFound, SettingsError, UserError
from rag.search.query import named_episodes
from rag.settings import NO_MODEL, Settings

if TYPE_CHECKING:
    from rag.answer.answerer import Answerer
    from rag.errors import CorpusError
    from rag.evals.datasets import Collection
    from rag.index.build import BuildReport
    from rag.index.encode import OnnxEncoder, Progress, RememberedEncoder
    from rag.index.milvus.client import Address
    from rag.index.milvus.published import Generations
    from rag.index.store import Manifest
    from rag.ports import Encoder, Generator, Retriever, Scorer, TermRetriever, VectorRetriever, WholeLibrary
    from rag.records import Document, Filters, Passage


WHOLE = 1_000_000_000
"""Characters of a passage that is a whole document."""
SENTENCES_UP_TO = 20_000
"""Documents of a collection whose sentences are encoded too: that takes longer than the documents themselves."""
PATIENCE = 30.0
"""Seconds for which a build waits for a Milvus that does not answer; it goes on later from where it was."""
NO_EPISODES = r"(?!)"
"""An ID pattern that matches nothing: "E2F1" is a protein in somebody else's abstracts."""


@dataclass(frozen=True, slots=True)
class Service:
    """One opened index and what answers from it."""

    library: WholeLibrary
    retriever: Retriever
    answerer: Answerer
    id_pattern: str
    k: int = 10
    generator: Generator | None = None
    by_default: Literal["extractive", "llm"] = "extractive"
    check: Callable[[], None] = lambda: None
    """Reads the index's large files whole, which opening did not. Raises IndexUnusable."""
    vectors: Callable[[], tuple[int, int]] = lambda: (0, 0)
    """How often a question's vector was at hand, and how often it was made."""
    answers: Callable[[], tuple[int, int]] = lambda: (0, 0)
    """The same of answers."""
    reach: Callable[[], object] = lambda: None
    """Asks the engine for a sign of life. Raises IndexAway."""

    def drafter(self, name: str | None = None) -> Generator | None:
        """The generator of that name ("llm", or None for "extractive"). Raises UserError where there is none."""
        if (name or self.by_default) != "llm":
            return None
        if self.generator is None:
            raise UserError(NO_MODEL)
        return self.generator

    def episode(self, name: str) -> str | None:
        """The episode of that name, however its letters are typed, as the corpus writes it."""
        return next((e for e in self.library.episodes() if e.casefold() == name.casefold()), None)

    def find(self, name: str) -> Document | str:
        """A document by its ID, else an episode, whose ID it is: by its own, or by a mention that is all of the name.

        Raises NotFound, and UserError for several episodes.
        """
        episode = self.episode(name)
        try:
            document = self.library.document(name)
            if episode is None or document.episode != episode:  # or its file is named by its ID
                return document
        except NotFound:
            mentioned = () if episode or "/" in name else named_episodes(name, self.library.episodes())
            if len(mentioned) > 1:
                raise UserError(f"{name!r} names {' and '.join(mentioned)}; give one") from None
            if re.fullmatch(r"[^\W\d_]*[\s.#-]*\d+", name.strip()):
                episode = next((e for e in mentioned if e in self.library.episodes()), episode)
        if episode is None:
            raise NotFound(f"no document {name!r}; give an episode (E026) or a document (reviews/NAME)")
        return episode

    def known(self, filters: Filters) -> Filters:
        """The filters, their episodes as the corpus writes them. Raises UserError for one that it does not have."""
        found = {name: self.episode(name) for name in filters.episodes}
        if unknown := [name for name, episode in found.items() if episode is None]:
            raise UserError(f"the corpus has no episode {', '.join(unknown)}")
        return replace(filters, episodes=tuple(e for e in found.values() if e is not None))


class Encoding(TypedDict, total=False):
    """The parameters of a build that say who encodes, and how many texts at once."""

    opened: Callable[[Path], Encoder]
    at_once: int


def index_token(settings: Settings) -> object:
    """Another one whenever another index serves."""
    if settings.engine == "milvus":
        return _milvus(_address(settings)).token()
    from rag.index.store import IndexFolder

    return IndexFolder(settings.index).token()


def opening(settings: Settings, workers: int = 1, *, answers: int = 0) -> Callable[[], Service]:
    """What opens the service, however often, with one language model. Raises UserError, as where "llm" has none.

    Of `workers` processes each has its share of the drafts that are written at once, and at least one. The last
    `answers` are kept.
    """
    most = max(1, settings.llm.concurrency // workers)
    shared = structs.replace(settings, llm=structs.replace(settings.llm, concurrency=most))
    generator = open_generator(shared)
    return lambda: open_service(settings, generator=generator, answers=answers)


def _address(settings: Settings) -> Address:
    from rag.index.milvus.client import Address

    milvus = settings.milvus
    return Address(
        milvus.uri,
        milvus.token.value if milvus.token else "",
        milvus.database or "",
        milvus.prefix,
        milvus.timeout,
        milvus.ca,
        milvus.certificate,
        milvus.key,
        milvus.server_name,
    )


@lru_cache(maxsize=8)
def _milvus(address: Address, patience: float = 0.0) -> Generations:
    """A connection, one for all that this process asks of a Milvus."""
    from rag.index.milvus.client import Engine
    from rag.index.milvus.published import Generations

    return Generations(Engine(address, patience))


def open_generator(settings: Settings) -> Generator | None:
    """The language model of the settings, None where there is none. Raises UserError, as where "llm" is to answer."""
    from rag.answer.limit import Limited

    llm = settings.llm
    if llm.base_url:
        from rag.answer.generate import OpenAIGenerator

        key = llm.api_key.value if llm.api_key else None
        endpoint = OpenAIGenerator(llm.base_url, llm.model or "", key, llm.context, llm.timeout, llm.retries)
        return Limited(endpoint, llm.concurrency)
    if llm.gguf:
        from rag.answer.local import LlamaGenerator, packaged

        path = packaged() if llm.gguf == "smollm2" else Path(llm.gguf)
        return Limited(LlamaGenerator(path, llm.context, llm.timeout), 1)
    if settings.generator == "llm":
        raise UserError(NO_MODEL)
    return None


def open_service(
    settings: Settings, *, distinct: bool = True, generator: Generator | None = None, answers: int = 0
) -> Service:
    """Open the index that serves; `distinct` moves repetitions behind what they repeat. Raises IndexUnusable.

    `generator` drafts answers where it is asked to; the last `answers` that none drafted are kept. Builds that publish
    meanwhile may sweep away what is being opened; then what serves now is opened, once.
    """
    from rag.errors import IndexUnusable

    before = index_token(settings)
    try:
        return _open_service(settings, distinct, generator, answers)
    except (IndexUnusable, OSError):
        if index_token(settings) == before:
            raise
        return _open_service(settings, distinct, generator, answers)


@dataclass(frozen=True, slots=True)
class _Opened:
    """What an engine gives to answer from."""

    manifest: Manifest
    library: WholeLibrary
    inner: OnnxEncoder
    encoder: RememberedEncoder
    dense: VectorRetriever
    sentences: Scorer
    sparse: TermRetriever
    check: Callable[[], None]
    reach: Callable[[], object] = lambda: None


def _embedded(settings: Settings) -> _Opened:
    from concurrent.futures import ThreadPoolExecutor

    import numpy as np

    from rag.index import libraries
    from rag.index.dense import PASSAGES, SENTENCES, DenseRetriever
    from rag.index.encode import ENCODER, OnnxEncoder, RememberedEncoder
    from rag.index.library import IndexLibrary
    from rag.index.sparse import FOLDER, TantivyRetriever
    from rag.index.store import IndexFolder, reading, verify
    from rag.index.vectors import KEYS, VECTORS
    from rag.records import IndexInfo

    with ThreadPoolExecutor(1) as beside:
        checked = beside.submit(IndexFolder(settings.index).checked, whole=False)
        libraries.load()
        folder, manifest = checked.result()
    same_encoder(settings, manifest)
    library = IndexLibrary(folder, IndexInfo(manifest.generation, manifest.passages, manifest.encoder.name))
    with reading(folder):
        keys, vectors = (np.load(folder / name, mmap_mode="r") for name in (KEYS, VECTORS))
    inner = OnnxEncoder(folder / ENCODER)
    encoder = RememberedEncoder(inner, keys, vectors)
    dense = DenseRetriever(folder / PASSAGES, library, encoder, vectors=vectors)
    sentences = dense
    if manifest.sentence_vectors:
        sentences = DenseRetriever(folder / SENTENCES, library, encoder, "sentences", vectors)
    sparse = TantivyRetriever(folder / FOLDER, library)
    check = partial(verify, folder, manifest, whole=True)
    return _Opened(manifest, library, inner, encoder, dense, sentences, sparse, check)


def in_milvus(settings: Settings) -> Manifest:
    """What the generation in Milvus that serves was built with. Raises IndexUnusable."""
    return _milvus(_address(settings)).serving().manifest


def _in_milvus(settings: Settings) -> _Opened:
    import numpy as np

    from rag.index.encode import OnnxEncoder, RememberedEncoder
    from rag.index.milvus.encoder import HeldVectors, encoder_of
    from rag.index.milvus.library import MilvusLibrary
    from rag.index.milvus.retrieve import MilvusDense, MilvusSparse

    generations = _milvus(_address(settings))
    published = generations.serving()
    same_encoder(settings, published.manifest)
    lineage = generations.lineage(published.lineage)
    library = MilvusLibrary(published, lineage)
    inner = OnnxEncoder(encoder_of(published, lineage, settings.index))
    nothing = np.empty(0, dtype=np.uint64), np.empty((0, inner.dimension), dtype=np.float32)
    encoder = RememberedEncoder(HeldVectors(inner, lineage), *nothing)
    dense, sentences = (MilvusDense(library, encoder, name) for name in ("dense", "sentences"))
    check = partial(generations.check, published)
    return _Opened(
        published.manifest, library, inner, encoder, dense, sentences, MilvusSparse(library), check, generations.reach
    )


def _open_service(settings: Settings, distinct: bool, generator: Generator | None, answers: int) -> Service:
    from rag.answer.answerability import Answerability
    from rag.answer.drafting import DraftValues
    from rag.answer.remember import RememberingAnswerer
    from rag.corpus.split import index_text, term_text
    from rag.search.compose import Distinct, Feedback, Hybrid, Neighbourly, Tempered
    from rag.search.fuse import convex, rrf, weighted

    opened = _in_milvus(settings) if settings.engine == "milvus" else _embedded(settings)
    manifest, library, encoder, dense = opened.manifest, opened.library, opened.encoder, opened.dense

    def searched(passage: Passage) -> str:
        return index_text(passage, manifest.id_pattern, manifest.titled)

    sparse = opened.sparse
    if "rank-bm25" in (settings.search.sparse, settings.search.retriever):
        from rag.index.library import IndexLibrary
        from rag.index.sparse import RankBM25Retriever

        if not isinstance(library, IndexLibrary):
            raise SettingsError("rank-bm25 scores every passage in this process; over Milvus, give bm25")
        texts = (term_text(passage, manifest.id_pattern, manifest.titled) for passage in library.all_passages())
        sparse = RankBM25Retriever(texts, library)
    search = settings.search
    parts: list[Scorer] = [dense, sparse]
    if search.fusion == "weighted":
        parts[1] = Tempered(sparse, sparse)
        weights = {"dense": 1.0, sparse.name: search.sparse_weight}
        if manifest.sentence_vectors and search.sentence_weight > 0:
            parts.append(opened.sentences)
            weights |= {"dense": 1 - search.sentence_weight, "sentences": search.sentence_weight}
        fusion = weighted(weights)
    elif search.fusion == "convex":
        fusion = convex({"dense": search.dense_weight, sparse.name: 1 - search.dense_weight})
    else:
        fusion = rrf()
    hybrid: Retriever = Hybrid(parts, fusion, library, search.depth)
    if search.feedback > 0:
        parts[0] = Feedback(dense, hybrid, encoder, searched, search.feedback)
        hybrid = Hybrid(parts, fusion, library, search.depth)
    retriever = {"hybrid": hybrid, "dense": dense, "bm25": sparse, "rank-bm25": sparse}[search.retriever]
    if search.neighbours > 0:
        retriever = Neighbourly(retriever, library, search.neighbours)
    if distinct:
        retriever = Distinct(retriever, sparse)
    answerability = Answerability(encoder, opened.inner.tokens, sparse, id_pattern=manifest.id_pattern)
    answerer = RememberingAnswerer(
        retriever,
        encoder,
        sparse,
        library,
        id_pattern=manifest.id_pattern,
        answerability=answerability,
        draft=DraftValues(settings.llm.answer),
        most=answers,
    )
    return Service(
        library,
        retriever,
        answerer,
        manifest.id_pattern,
        settings.search.k,
        generator,
        settings.generator,
        opened.check,
        lambda: (encoder.hits, encoder.misses),
        lambda: (answerer.hits, answerer.misses),
        opened.reach,
    )


def same_encoder(settings: Settings, manifest: Manifest) -> None:
    """Raises IndexUnusable where an index was built with another encoder than the settings name."""
    from rag.errors import IndexUnusable

    found, wanted = manifest.encoder, settings.encoder
    if found.precision != wanted.precision or found.name.rsplit("/", 1)[-1] != _last(wanted.model):
        what = f"the index in Milvus at {settings.milvus.uri}" if settings.engine == "milvus" else settings.index
        raise IndexUnusable(
            f"{what} was built with {found.name} ({found.precision}), the settings say "
            f"{wanted.model} ({wanted.precision}); build it with `rag index`"
        )


def _last(model: str) -> str:
    return model.rstrip("/").rsplit("/", 1)[-1]


def build_index(
    settings: Settings,
    *,
    rebuild: bool,
    progress: Progress,
    say: Callable[[str], None],
    on_bad: Callable[[CorpusError], None] | None,
) -> BuildReport:
    """Build the index of the corpus. Raises UserError and IndexBusy; the index that serves then stays."""
    from rag.corpus.load import load
    from rag.corpus.split import SplitValues
    from rag.index.build import build
    from rag.index.export import EncoderChoice
    from rag.index.store import IndexFolder

    with _encoding(settings) as how:
        if settings.engine == "milvus":
            from rag.index.milvus import build as milvus

            return milvus.build(
                load(settings.corpus, id_pattern=settings.id_pattern, on_bad=on_bad, apart=settings.index),
                _milvus(_address(settings), PATIENCE),
                settings.index,
                encoder=EncoderChoice(**structs.asdict(settings.encoder)),
                values=SplitValues(**structs.asdict(settings.split)),
                id_pattern=settings.id_pattern,
                sentence_vectors=settings.sentence_vectors,
                vectors=settings.milvus.index,
                shards=settings.milvus.shards,
                rebuild=rebuild,
                progress=progress,
                say=say,
                **how,
            )
        return build(
            load(settings.corpus, id_pattern=settings.id_pattern, on_bad=on_bad, apart=settings.index),
            IndexFolder(settings.index),
            encoder=EncoderChoice(**structs.asdict(settings.encoder)),
            values=SplitValues(**structs.asdict(settings.split)),
            id_pattern=settings.id_pattern,
            sentence_vectors=settings.sentence_vectors,
            vectors=settings.vectors,
            rebuild=rebuild,
            progress=progress,
            say=say,
            **how,
        )


@contextmanager
def _encoding(settings: Settings) -> Iterator[Encoding]:
    """What of a build says where texts are encoded. Raises UserError for a cluster that cannot be joined."""
    if settings.ray is None:
        yield {}
        return
    from rag.index.spread import AT_ONCE, cluster

    with cluster(settings.ray) as opened:
        yield {"opened": opened, "at_once": AT_ONCE}


def open_collection(
    settings: Settings, collection: Collection, progress: Progress, say: Callable[[str], None]
) -> Service:
    """An index of a judged collection, opened."""
    return open_service(index_collection(settings, collection, progress, say), distinct=False)


def index_collection(
    settings: Settings, collection: Collection, progress: Progress, say: Callable[[str], None]
) -> Settings:
    """An index of a judged collection, one passage a document, kept below the index folder for the next time.

    The settings come back with that index, to be opened.
    """
    from hashlib import sha256

    from rag.corpus.split import SplitValues
    from rag.index.build import build
    from rag.index.export import EncoderChoice
    from rag.index.store import IndexFolder
    from rag.records import Document, Paragraph

    titles = sha256("\n".join(id for id, _, _ in collection.documents).encode()).hexdigest()[:8]
    documents = (
        Document(id, "document", title, text or title, (Paragraph(0, len(text or title)),))
        for id, title, text in collection.documents
        if (text or title).strip()
    )
    folder = settings.index / "collections" / f"{collection.name}-{titles}"
    if settings.engine == "milvus":
        from rag.index.milvus import build as milvus

        prefix = re.sub(r"\W", "_", f"{settings.milvus.prefix}_{collection.name}_{titles}")
        held = folder if (folder / "CURRENT").exists() else settings.index  # whose vectors are then not made again
        settings = structs.replace(settings, index=held, milvus=structs.replace(settings.milvus, prefix=prefix))
        milvus.build(
            documents,
            _milvus(_address(settings), PATIENCE),
            settings.index,
            encoder=EncoderChoice(**structs.asdict(settings.encoder)),
            values=SplitValues(max_chars=WHOLE, min_chars=WHOLE),
            id_pattern=NO_EPISODES,
            sentence_vectors=len(collection.documents) <= SENTENCES_UP_TO,
            vectors=settings.milvus.index,
            shards=settings.milvus.shards,
            progress=progress,
            say=say,
        )
        return settings
    build(
        documents,
        IndexFolder(folder),
        encoder=EncoderChoice(**structs.asdict(settings.encoder)),
        values=SplitValues(max_chars=WHOLE, min_chars=WHOLE),
        id_pattern=NO_EPISODES,
        sentence_vectors=len(collection.documents) <= SENTENCES_UP_TO,
        places=False,
        vectors=settings.vectors,
        donors=[IndexFolder(settings.index)],
        questions=collection.queries.values(),
        progress=progress,
        say=say,
    )
    return structs.replace(settings, index=folder, engine="embedded")


def index_again(
    settings: Settings,
    library: WholeLibrary,
    id_pattern: str,
    folder: Path,
    progress: Progress,
    say: Callable[[str], None],
) -> Settings:
    """An index of a library's documents in a folder of its own, split as the settings say.

    The settings come back with that index, to be opened.
    """
    from rag.corpus.split import SplitValues
    from rag.index.build import build
    from rag.index.export import EncoderChoice
    from rag.index.store import IndexFolder

    names = dict.fromkeys(passage.document for passage in library.all_passages())
    build(
        map(library.document, names),
        IndexFolder(folder),
        encoder=EncoderChoice(**structs.asdict(settings.encoder)),
        values=SplitValues(**structs.asdict(settings.split)),
        id_pattern=id_pattern,
        places=False,
        vectors=settings.vectors,
        donors=[IndexFolder(settings.index)],
        progress=progress,
        say=say,
    )
    return structs.replace(settings, index=folder, engine="embedded")
