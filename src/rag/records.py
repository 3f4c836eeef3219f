"""What travels between the rooms. Every record is frozen and does no work.

Offsets are in characters of `Document.text`, zero-based, end exclusive.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

Attribution = Literal["explicit", "inherited", "document", "none"]
"""Who a sentence is attributed to, and how we know: it carries the marker (`explicit`), it continues or prepares
a marked claim of its paragraph (`inherited`), it stands in an episode's own document (`document`), or the document
says it and names no episode (`none`)."""

Verdict = Literal[
    "supported", "number_changed", "negation_changed", "misattributed", "stitched", "not_found", "unsupported"
]

Objection = Verdict | Literal["off_topic"]
"""Why a drafted sentence is not shown: the verdict on it, or that what supports it is too far from the question."""


@dataclass(frozen=True, slots=True)
class Paragraph:
    """A block of prose: `document.text[start:end]`, under `heading` ("" before the first one)."""

    start: int
    end: int
    heading: str = ""


@dataclass(frozen=True, slots=True)
class AskedQuestion:
    """A question that its document's author wrote down; the sentences of `document.text[at:end]` answer it.

    It is searched, so that everyday words find a sentence written in others; it is never evidence.
    """

    text: str
    at: int
    end: int


@dataclass(frozen=True, slots=True)
class Document:
    """One file or feed entry, as read.

    `id` is stable: the path below the corpus without its suffix ("reviews/rl"), or front matter.
    `episode` is the ID a document is about; its sentences are attributed to it where they name no other.
    `metadata` holds the front matter's values, as strings, numbers, booleans and lists of strings.
    """

    id: str
    kind: str
    title: str
    text: str
    paragraphs: tuple[Paragraph, ...]
    episode: str | None = None
    topics: tuple[str, ...] = ()
    date: str | None = None
    url: str | None = None
    metadata: Mapping[str, object] = field(default_factory=dict)
    questions: tuple[AskedQuestion, ...] = ()


@dataclass(frozen=True, slots=True)
class Sentence:
    """One claim: `document.text[start:end]`, and the episodes it is attributed to.

    `asked` are the questions that its document says it answers.
    """

    start: int
    end: int
    text: str
    episodes: tuple[str, ...]
    attribution: Attribution
    asked: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Passage:
    """A slice of a document, the unit of retrieval: `document.text[start:end] == text`.

    `episodes` is the union of its sentences' episodes, in order of appearance.
    """

    id: str
    document: str
    text: str
    start: int
    end: int
    episodes: tuple[str, ...] = ()
    kind: str = "document"
    title: str = ""
    heading: str = ""
    topics: tuple[str, ...] = ()
    date: str | None = None
    sentences: tuple[Sentence, ...] = ()


@dataclass(frozen=True, slots=True)
class Filters:
    """Which passages may be found. Empty means all; the values of one field are alternatives, the fields add up.

    Dates are ISO 8601, both ends inclusive; a passage without a date never meets a bound.
    """

    kinds: tuple[str, ...] = ()
    topics: tuple[str, ...] = ()
    episodes: tuple[str, ...] = ()
    since: str | None = None
    until: str | None = None

    def __bool__(self) -> bool:
        return bool(self.kinds or self.topics or self.episodes or self.since or self.until)


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked: the text as typed, what may be searched, and the episodes the text names."""

    text: str
    filters: Filters = Filters()
    named: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Turn:
    """A question asked before in the same conversation, and what was answered."""

    question: str
    answer: str = ""


@dataclass(frozen=True, slots=True)
class Message:
    """What a language model is told."""

    role: Literal["system", "user", "assistant"]
    content: str


@dataclass(frozen=True, slots=True)
class Hit:
    """A passage found. `rank` counts from 1; `score` is the retriever's own, higher is better.

    `found_by` names the elementary retrievers that had the passage on their lists.
    """

    passage: Passage
    score: float
    rank: int
    found_by: tuple[str, ...] = ()


Ranking = tuple[Hit, ...]
"""Best first; ranks 1, 2, 3, …; ties broken by passage id; no passage twice."""

Key = int | str
"""What an index calls a passage: of one index all are numbers or all are texts, and they sort as passage ids do."""

Scores = Sequence[tuple[Key, float]]
"""Best first, ties broken by key, no key twice."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """A quoted span that supports a sentence: `document.text[start:end] == quote`.

    `support` lies in 0..1: how much of the sentence the quote carries.
    """

    document: str
    title: str
    heading: str
    start: int
    end: int
    quote: str
    episodes: tuple[str, ...]
    attribution: Attribution
    support: float

    def __post_init__(self) -> None:
        if not self.quote.strip() or self.end - self.start != len(self.quote):
            raise ValueError(f"evidence is a quoted span: {self.start}..{self.end} is not {self.quote!r}")


@dataclass(frozen=True, slots=True)
class AnswerSentence:
    """A sentence that may be shown. One without evidence, or that cites what its evidence does not, cannot exist.

    `drafted` says that a model wrote it so; the words are the evidence's in any case.
    """

    text: str
    evidence: tuple[Evidence, ...]
    drafted: bool = False

    def __post_init__(self) -> None:
        if not self.text.strip():
            raise ValueError("an answer's sentence has words")
        if not self.evidence:
            raise ValueError(f"no evidence for {self.text!r}")

    @property
    def citations(self) -> tuple[str, ...]:
        """The episodes its evidence is attributed to, in order, each once. Derived, so it cannot disagree."""
        return tuple(dict.fromkeys(episode for item in self.evidence for episode in item.episodes))


@dataclass(frozen=True, slots=True)
class Citation:
    """An episode that the answer cites, where to read on; `document` is None where the corpus has only mentions."""

    episode: str
    title: str
    document: str | None
    url: str | None


@dataclass(frozen=True, slots=True)
class IndexInfo:
    """Which index answered."""

    generation: str
    passages: int
    encoder: str


@dataclass(frozen=True, slots=True)
class Draft:
    """What became of a model's draft, in sentences.

    `kept` repeat a quote and cite nothing else, `mended` repeat one and stand under its citation instead of their own,
    `quoted` said it in slightly other words and are shown in the quote's, and those of `objections` are dropped.
    `added` are the corpus's own, put where the draft left something out. `failed` says why there is no draft, or no
    more of it.
    """

    model: str
    kept: int = 0
    mended: int = 0
    quoted: int = 0
    objections: Mapping[Objection, int] = field(default_factory=dict)
    added: int = 0
    failed: str | None = None

    @property
    def passed(self) -> int:
        """How many sentences are shown, in their own words or in their quote's."""
        return self.kept + self.mended + self.quoted

    @property
    def dropped(self) -> int:
        """How many sentences are not shown."""
        return sum(self.objections.values())


@dataclass(frozen=True, slots=True)
class Unanswered:
    """One of several questions asked in one go for which no answer was found, and why not."""

    question: str
    reason: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What is shown. Either it has sentences, each with evidence, or it abstains and says why.

    `unanswered` are those of several questions in one that have no answer; empty where only one thing was asked.
    `confidence` in 0..1 is how likely the corpus answers the question, by what was found; what is shown and what is
    abstained from both have one, None where nothing estimated it. `standalone` is the question as it was read in the
    light of a conversation, `draft` what became of a model's draft; None where there was none.
    """

    question: Question
    sentences: tuple[AnswerSentence, ...]
    reason: str | None
    hits: Ranking
    citations: tuple[Citation, ...] = ()
    index: IndexInfo | None = None
    timings_ms: Mapping[str, float] = field(default_factory=dict)
    confidence: float | None = None
    standalone: str | None = None
    draft: Draft | None = None
    unanswered: tuple[Unanswered, ...] = ()

    def __post_init__(self) -> None:
        if bool(self.sentences) == (self.reason is not None):
            raise ValueError("an answer has sentences, or a reason for having none")

    @property
    def abstained(self) -> bool:
        """True where the corpus does not say."""
        return not self.sentences


@dataclass(frozen=True, slots=True)
class Found:
    """The passages for a question, before anything is said of them; `standalone` as an Answer's."""

    question: Question
    hits: Ranking
    index: IndexInfo
    standalone: str | None = None


@dataclass(frozen=True, slots=True)
class Dropped:
    """A drafted sentence that is not shown. Its words go nowhere; the objection says what was wrong with them."""

    objection: Objection


Event = Found | AnswerSentence | Dropped | Answer
"""What happens to a question, in order: once Found; sentences as they pass, or are Dropped; at last the Answer."""
