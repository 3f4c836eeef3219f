"""Ours, with the default settings: what `rag index` keeps and `rag search` finds, a document one passage.

An index folder below `ours_documents` has no vectors of sentences, as the others have none.
"""

from pathlib import Path

from protocol import Documents, Search, main

WHOLE = 1_000_000_000
"""Characters of a passage that is a whole document."""
NO_EPISODES = r"(?!)"
"""An ID pattern that matches nothing."""


def load(folder: Path) -> Path:
    """An index of one word, whose encoder is taken: exporting it happens once a machine, as fetching a model does."""
    seed = folder.parent / ".encoder"
    _build([("seed", "seed")], seed, None)
    return seed


def index(seed: Path, documents: Documents, folder: Path) -> None:
    _build(documents, folder, seed)


def _build(documents: Documents, folder: Path, seed: Path | None) -> None:
    from rag.corpus.split import SplitValues
    from rag.index.build import build
    from rag.index.store import IndexFolder
    from rag.records import Document, Paragraph

    build(
        (Document(id, "document", "", text, (Paragraph(0, len(text)),)) for id, text in documents if text),
        IndexFolder(folder),
        values=SplitValues(max_chars=WHOLE, min_chars=WHOLE),
        id_pattern=NO_EPISODES,
        sentence_vectors="ours_documents" not in folder.parts,
        places=False,  # the map of the page
        donors=[IndexFolder(seed)] if seed else [],
    )


def opened(folder: Path) -> Search:
    from rag.assemble import open_service
    from rag.search.query import understand
    from rag.settings import read_settings

    service = open_service(read_settings(None, {}, {"index": str(folder)}))
    episodes = service.library.episodes()

    def search(question: str, k: int) -> list[str]:
        found = service.retriever.retrieve(understand(question, episodes), k)
        return [hit.passage.document for hit in found]

    return search


if __name__ == "__main__":
    main(load, index, opened)
