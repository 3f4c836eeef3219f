"""Haystack's hybrid pipeline over its document store in memory, saved to a file and loaded from it.

The pipeline of its documentation: embedder and embedding retriever beside the BM25 retriever (BM25L, its default),
joined by reciprocal rank fusion. Batches of 32 are the embedder's default.
"""

from pathlib import Path
from typing import Any

from haystack import Document, Pipeline
from haystack.components.joiners import DocumentJoiner
from haystack.components.retrievers.in_memory import InMemoryBM25Retriever, InMemoryEmbeddingRetriever
from haystack.document_stores.in_memory import InMemoryDocumentStore
from haystack.utils import ComponentDevice
from haystack_integrations.components.embedders.sentence_transformers import (
    SentenceTransformersDocumentEmbedder,
    SentenceTransformersTextEmbedder,
)
from protocol import DEPTH, Documents, Search, main, model_folder

STORE = "store.json"


def load(_folder: Path) -> Any:
    embedder = SentenceTransformersDocumentEmbedder(
        model=model_folder(), device=ComponentDevice.from_str("cpu"), progress_bar=False
    )
    embedder.warm_up()
    return embedder


def index(embedder: Any, documents: Documents, folder: Path) -> None:
    embedded = embedder.run([Document(id=id, content=text) for id, text in documents])["documents"]
    store = InMemoryDocumentStore()
    store.write_documents(embedded)
    store.save_to_disk(str(folder / STORE))


def opened(folder: Path) -> Search:
    store = InMemoryDocumentStore.load_from_disk(str(folder / STORE))
    embedder = SentenceTransformersTextEmbedder(
        model=model_folder(), device=ComponentDevice.from_str("cpu"), progress_bar=False
    )
    pipeline = Pipeline()
    pipeline.add_component("embedder", embedder)
    pipeline.add_component("dense", InMemoryEmbeddingRetriever(store, top_k=DEPTH))
    pipeline.add_component("bm25", InMemoryBM25Retriever(store, top_k=DEPTH))
    pipeline.add_component("joiner", DocumentJoiner(join_mode="reciprocal_rank_fusion", top_k=DEPTH))
    pipeline.connect("embedder.embedding", "dense.query_embedding")
    pipeline.connect("dense", "joiner")
    pipeline.connect("bm25", "joiner")
    pipeline.warm_up()

    def search(question: str, k: int) -> list[str]:
        found = pipeline.run({"embedder": {"text": question}, "bm25": {"query": question}})
        return [document.id for document in found["joiner"]["documents"][:k]]

    return search


if __name__ == "__main__":
    main(load, index, opened)
