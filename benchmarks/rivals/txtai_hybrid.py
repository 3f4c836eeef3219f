"""txtai's hybrid index: `hybrid=True` is BM25 beside vectors, both normalised, in equal parts.

It takes ten times as many candidates of each half as are asked for. `content` stays off, so that it keeps vectors and
terms but no texts: less to load and to look up. `maxlength=True` cuts texts where the model says (256 tokens, as
sentence-transformers does); without it they are cut at 512, which takes longer.
"""

from pathlib import Path

from protocol import Documents, Search, main, model_folder
from txtai import Embeddings


def load(_folder: Path) -> Embeddings:
    return Embeddings(path=model_folder(), hybrid=True, maxlength=True, gpu=False)


def index(embeddings: Embeddings, documents: Documents, folder: Path) -> None:
    embeddings.index(documents)
    embeddings.save(str(folder))


def opened(folder: Path) -> Search:
    embeddings = Embeddings()
    embeddings.load(str(folder))

    def search(question: str, k: int) -> list[str]:
        return [id for id, _ in embeddings.search(question, k)]

    return search


if __name__ == "__main__":
    main(load, index, opened)
