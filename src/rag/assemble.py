"""Settings -> objects; the only file that chooses an implementation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rag.settings import Settings

if TYPE_CHECKING:
    from rag.answer.answerer import Answerer
    from rag.errors import CorpusError
    from rag.index.build import BuildReport
    from rag.index.encode import Progress
    from rag.index.library import IndexLibrary
    from rag.ports import Retriever


@dataclass(frozen=True, slots=True)
class Service:
    """One opened index and what answers from it."""

    library: IndexLibrary
    retriever: Retriever
    answerer: Answerer
    id_pattern: str


def open_service(settings: Settings) -> Service:
    """Open the index that serves. Raises IndexUnusable."""
    import numpy as np

    from rag.answer.answerer import Answerer
    from rag.corpus.split import index_text
    from rag.errors import IndexUnusable
    from rag.index.build import ENCODER, KEYS, VECTORS
    from rag.index.dense import FILE, DenseRetriever
    from rag.index.encode import OnnxEncoder, RememberedEncoder
    from rag.index.library import IndexLibrary
    from rag.index.sparse import FOLDER, RankBM25Retriever, TantivyRetriever
    from rag.index.store import IndexFolder
    from rag.records import IndexInfo
    from rag.search.compose import Distinct, Hybrid
    from rag.search.fuse import convex, rrf

    folder, manifest = IndexFolder(settings.index).checked()
    if manifest.encoder.precision != settings.encoder.precision or not _names(manifest.encoder.name, settings):
        raise IndexUnusable(
            f"{settings.index} was built with {manifest.encoder.name} ({manifest.encoder.precision}), the settings say "
            f"{settings.encoder.model} ({settings.encoder.precision}); build it with `rag index`"
        )
    library = IndexLibrary(folder, IndexInfo(manifest.generation, manifest.passages, manifest.encoder.name))
    encoder = RememberedEncoder(
        OnnxEncoder(folder / ENCODER), np.load(folder / KEYS, mmap_mode="r"), np.load(folder / VECTORS, mmap_mode="r")
    )
    dense = DenseRetriever(folder / FILE, library, encoder)
    sparse: TantivyRetriever | RankBM25Retriever = TantivyRetriever(folder / FOLDER, library)
    if "rank-bm25" in (settings.search.sparse, settings.search.retriever):
        texts = (index_text(library.passage(row), manifest.id_pattern) for row in range(len(library)))
        sparse = RankBM25Retriever(texts, library)
    weight = settings.search.dense_weight
    fusion = rrf() if settings.search.fusion == "rrf" else convex({"dense": weight, sparse.name: 1 - weight})
    retrievers: dict[str, Retriever] = {
        "hybrid": Hybrid([dense, sparse], fusion, settings.search.depth),
        "dense": dense,
        "bm25": sparse,
        "rank-bm25": sparse,
    }
    retriever = Distinct(retrievers[settings.search.retriever], sparse)
    answerer = Answerer(retriever, encoder, sparse, library, id_pattern=manifest.id_pattern)
    return Service(library, retriever, answerer, manifest.id_pattern)


def _names(encoder: str, settings: Settings) -> bool:
    return settings.encoder.model.rstrip("/").rsplit("/", 1)[-1] == encoder.rsplit("/", 1)[-1]


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

    return build(
        load(settings.corpus, id_pattern=settings.id_pattern, on_bad=on_bad),
        IndexFolder(settings.index),
        encoder=EncoderChoice(**settings.encoder.model_dump()),
        values=SplitValues(**settings.split.model_dump()),
        id_pattern=settings.id_pattern,
        rebuild=rebuild,
        progress=progress,
        say=say,
    )
