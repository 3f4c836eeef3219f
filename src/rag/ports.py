"""The seams: what a room may ask of another, in one or two verbs. Adapters are tested on these docstrings."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from rag.records import Document, IndexInfo, Key, Message, Passage, Question, Ranking, Scores

    Vectors = NDArray[np.float32]


class Encoder(Protocol):
    """Text -> unit vector."""

    name: str
    dimension: int

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Shape (len(texts), dimension), float32, rows of length 1, in the order given.

        A row depends on its own text alone: the same text gives the same bits in any company.
        """
        ...


class TokenVectors(Protocol):
    """The n tokens of a text: start and end in characters, shape (n, 2), and unit vectors, shape (n, dimension)."""

    @property
    def spans(self) -> NDArray[np.int64]:
        """`spans[i]` is where token i starts and ends in the text."""
        ...

    @property
    def vectors(self) -> Vectors:
        """`vectors[i]` is token i in the company of the others, float32, length 1."""
        ...


class TokenEncoder(Encoder, Protocol):
    """Text -> unit vector, and a unit vector for each of its tokens."""

    def tokens(self, text: str) -> TokenVectors:
        """Tokens in the order of the text; what lies beyond the encoder's longest text is left out."""
        ...


class Entailment(Protocol):
    """Premise and hypothesis -> how surely the one follows from the other."""

    name: str

    def probability(self, premise: str, hypothesis: str) -> float:
        """In 0..1; 0.5 and above says that it follows."""
        ...


class Retriever(Protocol):
    """Question -> passages."""

    name: str

    def retrieve(self, question: Question, k: int) -> Ranking:
        """Best first, at most k, ranks from 1, ties broken by passage id. Nothing found is an empty ranking.

        `question.filters` holds for every hit, and a filter that leaves n passages loses none of the best n.
        """
        ...


class Scorer(Protocol):
    """Question -> scores of passages, none of which is read: fusion needs no more, and most of them are not shown."""

    name: str

    def scores(self, question: Question, k: int) -> Scores:
        """As a Retriever finds them: best first, at most k, ties by key, filters held."""
        ...


class VectorScorer(Scorer, Protocol):
    """Question -> scores of passages, by a vector that may be another than the question's own."""

    def nearest(self, vector: Vectors, question: Question, k: int) -> Scores:
        """As `scores`; `vector` has shape (1, dimension) and length 1."""
        ...


class Reranker(Protocol):
    """Question and passages -> scores."""

    name: str

    def score(self, question: str, texts: Sequence[str]) -> Sequence[float]:
        """One score a text, in the order given, higher is better."""
        ...


class Pieces(Iterator[str], Protocol):
    """Text as it comes; `close` ends it and whatever makes it."""

    def close(self) -> None:
        """Release what is held; once more does nothing."""
        ...


class Generator(Protocol):
    """Messages -> draft, by a language model."""

    name: str
    context: int
    """Tokens that the messages and the draft may have together."""

    def tokens(self, text: str) -> int:
        """How many tokens the text has, by the model's own tokenizer or an estimate that errs upwards."""
        ...

    def stream(self, messages: Sequence[Message], limit: int, stop: Callable[[], bool]) -> Pieces:
        """The draft, piece by piece as it is written, at most `limit` tokens; nothing in it is verified.

        Raises BackendFailed with a reason that holds none of the endpoint's own words and no key. Ends soon after
        `stop()` is true.
        """
        ...


class TermStatistics(Protocol):
    """Index terms and how rare they are."""

    def terms(self, text: str) -> list[str]:
        """The index terms of a text, in order, with repeats; the same for documents and questions."""
        ...

    def idf(self, term: str) -> float:
        """ln(1 + (N - n + 0.5) / (n + 0.5)) over N passages, n of which hold the term; largest for an unseen one."""
        ...


class VectorRetriever(Retriever, VectorScorer, Protocol):
    """An engine's own, by vectors."""


class TermRetriever(Retriever, Scorer, TermStatistics, Protocol):
    """An engine's own, by index terms."""


class Library(Protocol):
    """What the index holds besides rankings."""

    info: IndexInfo

    def passages(self, keys: Sequence[Key]) -> Sequence[Passage]:
        """The passages of the keys, in the order given."""
        ...

    def document(self, id: str) -> Document:
        """The document as it was indexed. Raises NotFound."""
        ...

    def episodes(self) -> Sequence[str]:
        """Every episode ID that a document is about or a sentence is attributed to, sorted."""
        ...

    def about(self, episode: str) -> Document | None:
        """The document that is about an episode, where there is one."""
        ...

    def neighbours(self, passage: Passage, n: int = 1) -> Sequence[Passage]:
        """Up to n passages before and n after it in its document, in reading order, without itself."""
        ...


class WholeLibrary(Library, Protocol):
    """A library that can be gone through, as whatever shows or judges a corpus does."""

    def __len__(self) -> int:
        """How many passages there are."""
        ...

    def __hash__(self) -> int:
        """By identity: what is read of a library is kept by it."""
        ...

    def documents(self) -> Iterator[Document]:
        """Every document, each read as it is asked for, in an order of the index's own."""
        ...

    def all_passages(self) -> Iterator[Passage]:
        """Every passage, each read as it is asked for, in an order of the index's own."""
        ...

    def citing(self, episode: str) -> Sequence[Passage]:
        """Passages of other documents with a sentence attributed to the episode, by id."""
        ...

    def citing_counts(self) -> Mapping[str, int]:
        """Of each of `episodes()`, how many passages `citing` gives; no passage is read for it."""
        ...

    def place(self, passage: Passage) -> tuple[float, float] | None:
        """Where the passage lies on the map, in 0..1 each way; None where it has no place, or is of another index."""
        ...

    def placed(self, most: int) -> Sequence[tuple[Passage, tuple[float, float]]]:
        """At most `most` passages that have a place, evenly spread, each with its place; none where there is no map."""
        ...
