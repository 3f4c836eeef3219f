"""Ordinary implementations of the ports, small and discriminating."""

import re
from collections.abc import Callable, Generator, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple
from zlib import crc32

import numpy as np

from rag.answer.answerability import Answerability
from rag.answer.answerer import Answerer
from rag.answer.logistic import Logistic
from rag.assemble import Service
from rag.corpus.load import load
from rag.corpus.markers import DEFAULT_PATTERN
from rag.corpus.split import SplitValues, split
from rag.index.library import PLACES, IndexLibrary, write_library
from rag.index.sparse import RankBM25Retriever
from rag.index.terms import terms
from rag.records import Document, IndexInfo, Message

CORPUS = Path(__file__).resolve().parents[1] / "corpus"


class HashedWords:
    """A discriminating fake: a text's vector is the sum of its terms' fixed directions."""

    name, dimension = "hashed", 256

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        rows = [sum((self._direction(t) for t in terms(text)), np.full(256, 1e-6)) for text in texts]
        return np.array([row / np.linalg.norm(row) for row in rows], dtype=np.float32)

    @staticmethod
    def _direction(term: str) -> np.ndarray:
        return np.random.default_rng(crc32(term.encode())).standard_normal(256)


class Rarity:
    """Every term is as rare as another."""

    def terms(self, text: str) -> list[str]:
        return terms(text)

    def idf(self, term: str) -> float:
        return 1.0


class Tokens(NamedTuple):
    """What `HashedTokens` gives for a text."""

    spans: np.ndarray
    vectors: np.ndarray


class HashedTokens(HashedWords):
    """A vector for each word too: its stem's fixed direction, whatever stands beside it."""

    def tokens(self, text: str) -> Tokens:
        found = list(re.finditer(r"\w+", text))
        rows = [self._direction((terms(m.group()) or [m.group().casefold()])[0]) for m in found]
        vectors = np.array([row / np.linalg.norm(row) for row in rows], dtype=np.float32).reshape(-1, self.dimension)
        return Tokens(np.array([m.span() for m in found], dtype=np.int64).reshape(-1, 2), vectors)


class Writes:
    """A generator that writes what it is given, and remembers what it was told; a piece may be an error to raise."""

    name = "writes"

    def __init__(self, *pieces: str | Exception, context: int = 4096) -> None:
        self._pieces, self.context = pieces, context
        self.told: list[Sequence[Message]] = []
        self.closed = False

    def tokens(self, text: str) -> int:
        return len(text.split())

    def stream(self, messages: Sequence[Message], limit: int, stop: Callable[[], bool]) -> Generator[str, None, None]:
        self.told.append(messages)
        try:
            for piece in self._pieces:
                if isinstance(piece, Exception):
                    raise piece
                yield piece
        finally:
            self.closed = True


def one_episode(folder: Path, *, estimating: bool) -> Answerer:
    documents = list(load(CORPUS / "episodes" / "E026.md"))
    passages = [p for d in documents for p in split(d, SplitValues())]
    write_library(documents, passages, folder)
    library = IndexLibrary(folder, IndexInfo("g", len(passages), "e"))
    sparse = RankBM25Retriever((p.text for p in passages), library)
    encoder = HashedTokens()
    model = Logistic({"near": 20.0, "valueless": -9.0}, -2.0), 0.5  # a hashed word is near to itself alone
    answerability = Answerability(encoder, encoder.tokens, sparse, model=model) if estimating else None
    return Answerer(sparse, encoder, sparse, library, answerability=answerability)


def service_of(
    documents: Iterable[Document], folder: Path, generation: str = "generation-1", *, mapped: bool = False
) -> Service:
    """A service over documents, written to a folder: a real library and BM25, hashed words for an encoder."""
    folder.mkdir(exist_ok=True)
    held = sorted(documents, key=lambda d: d.id)
    passages = sorted((p for d in held for p in split(d, SplitValues())), key=lambda p: p.id)
    write_library(held, passages, folder)
    if mapped:
        np.save(folder / PLACES, np.random.default_rng(0).random((len(passages), 2), dtype=np.float32))
    library = IndexLibrary(folder, IndexInfo(generation, len(passages), "hashed"))
    sparse = RankBM25Retriever((p.text for p in passages), library)
    return Service(library, sparse, Answerer(sparse, HashedTokens(), sparse, library), DEFAULT_PATTERN)
