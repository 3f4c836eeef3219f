"""What one would write instead: sentence-transformers, faiss, rank_bm25 and reciprocal rank fusion in one script.

Batches of 32 are sentence-transformers' own default. BM25 is pickled, which opens sooner than counting words anew.
"""

import json
import pickle
from pathlib import Path

import faiss
import numpy as np
from protocol import DEPTH, Documents, Search, main, model_folder
from rank_bm25 import BM25Okapi
from sentence_transformers import SentenceTransformer

RRF = 60


def load(_folder: Path) -> SentenceTransformer:
    return SentenceTransformer(model_folder(), device="cpu")


def index(encoder: SentenceTransformer, documents: Documents, folder: Path) -> None:
    ids, texts = zip(*documents, strict=True)
    vectors = encoder.encode(list(texts), normalize_embeddings=True, show_progress_bar=False)
    flat = faiss.IndexFlatIP(vectors.shape[1])
    flat.add(vectors)
    faiss.write_index(flat, str(folder / "vectors.faiss"))
    (folder / "bm25.pickle").write_bytes(pickle.dumps(BM25Okapi([text.lower().split() for text in texts])))
    (folder / "documents.json").write_text(json.dumps([ids, texts]))


def opened(folder: Path) -> Search:
    encoder = load(folder)
    flat = faiss.read_index(str(folder / "vectors.faiss"))
    bm25 = pickle.loads((folder / "bm25.pickle").read_bytes())  # noqa: S301 - written above
    ids, _texts = json.loads((folder / "documents.json").read_text())

    def search(question: str, k: int) -> list[str]:
        vector = encoder.encode([question], normalize_embeddings=True, show_progress_bar=False)
        _, dense = flat.search(vector, min(DEPTH, len(ids)))
        sparse = np.argsort(-bm25.get_scores(question.lower().split()))[:DEPTH]
        scores: dict[int, float] = {}
        for found in (dense[0].tolist(), sparse.tolist()):
            for rank, row in enumerate(found, start=1):
                scores[row] = scores.get(row, 0.0) + 1 / (RRF + rank)
        return [ids[row] for row in sorted(scores, key=lambda row: -scores[row])[:k]]

    return search


if __name__ == "__main__":
    main(load, index, opened)
