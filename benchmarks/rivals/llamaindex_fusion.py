"""LlamaIndex's QueryFusionRetriever over a FAISS index and its BM25 retriever, by reciprocal rank fusion.

`num_queries=1` asks the question as it is: more would have a language model rewrite it. The FAISS index is of inner
products: the fusion sorts by falling score, which L2 distances would turn round. Its own default of 10 texts a batch is
slower than sentence-transformers' 32, which is taken. A document is one node.
"""

from pathlib import Path

import faiss
from llama_index.core import StorageContext, VectorStoreIndex, load_index_from_storage
from llama_index.core.llms import MockLLM
from llama_index.core.retrievers import QueryFusionRetriever
from llama_index.core.schema import TextNode
from llama_index.embeddings.huggingface import HuggingFaceEmbedding
from llama_index.retrievers.bm25 import BM25Retriever
from llama_index.vector_stores.faiss import FaissVectorStore
from protocol import DEPTH, Documents, Search, main, model_folder

DIMENSION = 384


def load(_folder: Path) -> HuggingFaceEmbedding:
    return HuggingFaceEmbedding(model_name=model_folder(), device="cpu", embed_batch_size=32)


def index(encoder: HuggingFaceEmbedding, documents: Documents, folder: Path) -> None:
    nodes = [TextNode(id_=id, text=text) for id, text in documents]
    store = FaissVectorStore(faiss_index=faiss.IndexFlatIP(DIMENSION))
    context = StorageContext.from_defaults(vector_store=store)
    VectorStoreIndex(nodes, storage_context=context, embed_model=encoder).storage_context.persist(str(folder))
    BM25Retriever.from_defaults(nodes=nodes, similarity_top_k=DEPTH).persist(str(folder / "bm25"))


def opened(folder: Path) -> Search:
    store = FaissVectorStore.from_persist_dir(str(folder))
    context = StorageContext.from_defaults(vector_store=store, persist_dir=str(folder))
    held = load_index_from_storage(context, embed_model=load(folder))
    fusion = QueryFusionRetriever(
        [held.as_retriever(similarity_top_k=DEPTH), BM25Retriever.from_persist_dir(str(folder / "bm25"))],
        llm=MockLLM(),  # never asked; without one it looks for OpenAI's
        mode="reciprocal_rerank",
        similarity_top_k=DEPTH,
        num_queries=1,
        use_async=False,
    )

    def search(question: str, k: int) -> list[str]:
        return [found.node.node_id for found in fusion.retrieve(question)[:k]]

    return search


if __name__ == "__main__":
    main(load, index, opened)
