"""Is the question set itself in order?"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any, Literal

from rag.corpus.markers import DEFAULT_PATTERN, sentences
from rag.evals.metrics import states

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from rag.evals.datasets import EvalQuestion
    from rag.records import Document, Sentence

    Terms = Callable[[str], list[str]]

ANSWERABLE_TYPES = ("single", "numeric", "multi", "comparison", "definition", "paraphrase", "named", "caveat")
UNANSWERABLE_KINDS = ("attribute", "entity", "premise", "field")

NEAR = 0.8
"""Questions whose index terms have this Jaccard similarity or more are one question asked twice."""
MULTI = range(2, 5)
"""How many episodes a question of type multi stands on."""
SHARED_TERMS = 1
"""How many index terms a paraphrase may share with its nearest quote."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something wrong with the questions named; a warning is for a person to judge."""

    level: Literal["error", "warning"]
    questions: tuple[str, ...]
    message: str


@dataclass(frozen=True, slots=True)
class Lint:
    """What was found, errors first, and how many questions there are: type -> split -> count."""

    findings: tuple[Finding, ...]
    counts: dict[str, dict[str, int]]

    @property
    def errors(self) -> tuple[Finding, ...]:
        """The findings that a question set may not have."""
        return tuple(finding for finding in self.findings if finding.level == "error")

    def to_dict(self) -> dict[str, Any]:
        """Dictionaries, lists, strings and numbers, for JSON."""
        return asdict(self)


def lint(
    questions: Sequence[EvalQuestion], documents: Iterable[Document], terms: Terms, id_pattern: str = DEFAULT_PATTERN
) -> Lint:
    """Every question held against the documents it was written from, and against the others.

    `terms` gives the index terms of a text. Errors: a quote that is not verbatim in its document, a fact that no quote
    states, an episode that no document knows, one that is in two splits, an id that is taken, a question that repeats
    another, an unknown type, a question of type multi without 2 to 4 episodes. Warnings: a quote that is attributed to
    no gold episode, a gold episode that no quote is attributed to, a paraphrase in the words of its quote, an
    unanswerable question that does not say which kind it is of.
    """
    shelf = {document.id: document for document in documents}
    claims = {id: sentences(document, id_pattern) for id, document in shelf.items()}
    known = {document.episode for document in shelf.values()} | {
        e for of in claims.values() for s in of for e in s.episodes
    }
    findings = [
        *_taken(questions),
        *_across_splits(questions),
        *_repeated(questions, terms),
        *(
            finding
            for question in questions
            for finding in (
                *_type(question),
                *_quotes(question, shelf),
                *_facts(question),
                *_episodes(question, known),
                *_attribution(question, shelf, claims),
                *_paraphrase(question, terms),
            )
        ),
    ]
    counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for question in questions:
        counts[question.type][question.split] += 1
    tidy = {type: {split: of[split] for split in sorted(of)} for type, of in sorted(counts.items())}
    return Lint(tuple(sorted(findings, key=lambda finding: finding.level)), tidy)


def _error(question: EvalQuestion, message: str) -> Finding:
    return Finding("error", (question.id,), message)


def _warning(question: EvalQuestion, message: str) -> Finding:
    return Finding("warning", (question.id,), message)


def _taken(questions: Iterable[EvalQuestion]) -> Iterator[Finding]:
    for id, count in Counter(question.id for question in questions).items():
        if count > 1:
            yield Finding("error", (id,), f"the id is taken by {count} questions")


def _across_splits(questions: Iterable[EvalQuestion]) -> Iterator[Finding]:
    places: defaultdict[str, dict[str, str]] = defaultdict(dict)
    for question in questions:
        for episode in question.episodes:
            places[episode].setdefault(question.split, question.id)
    for episode, splits in places.items():
        if len(splits) > 1:
            yield Finding("error", tuple(splits.values()), f"{episode} is in the splits {' and '.join(sorted(splits))}")


def _repeated(questions: Sequence[EvalQuestion], terms: Terms) -> Iterator[Finding]:
    bags = [(question, frozenset(terms(question.text))) for question in questions]
    for (one, a), (other, b) in combinations(bags, 2):
        shared, either = len(a & b), len(a | b)
        if either and shared >= NEAR * either:
            message = f"near duplicates, {shared / either:.2f} of their terms shared: {one.text!r} and {other.text!r}"
            yield Finding("error", (one.id, other.id), message)


def _type(question: EvalQuestion) -> Iterator[Finding]:
    name, _, kind = question.type.partition("/")
    if question.type == "unanswerable":
        yield _warning(question, f"says not why it is unanswerable; wanted a kind of {', '.join(UNANSWERABLE_KINDS)}")
    elif (name != "unanswerable" or kind not in UNANSWERABLE_KINDS) and question.type not in ANSWERABLE_TYPES:
        wanted = f"{', '.join(ANSWERABLE_TYPES)} or unanswerable/{{{','.join(UNANSWERABLE_KINDS)}}}"
        yield _error(question, f"unknown type {question.type!r}; wanted {wanted}")
    if question.type == "multi" and len(set(question.episodes)) not in MULTI:
        yield _error(question, f"of type multi with {len(set(question.episodes))} episodes; wanted 2 to 4")


def _quotes(question: EvalQuestion, shelf: Mapping[str, Document]) -> Iterator[Finding]:
    for document, quote in question.quotes:
        if document not in shelf:
            yield _error(question, f"quotes {document!r}, which is no document")
        elif quote not in shelf[document].text:
            yield _error(question, f"quotes what {document!r} does not say: {quote!r}")


def _facts(question: EvalQuestion) -> Iterator[Finding]:
    for fact in question.facts:
        if not any(states(quote, fact) for _, quote in question.quotes):
            yield _error(question, f"no quote states the fact {fact!r}")


def _episodes(question: EvalQuestion, known: Iterable[str | None]) -> Iterator[Finding]:
    for episode in question.episodes:
        if episode not in known:
            yield _error(question, f"names {episode}, which no document is about or attributed to")


def _attribution(
    question: EvalQuestion, shelf: Mapping[str, Document], claims: Mapping[str, Sequence[Sentence]]
) -> Iterator[Finding]:
    seen: set[str] = set()
    foreign = False
    for document, quote in question.quotes:
        if document not in shelf or quote not in shelf[document].text:
            continue
        of = _attributed(shelf[document].text, quote, claims[document])
        seen |= of
        if question.episodes and of.isdisjoint(question.episodes):
            foreign = True
            yield _warning(question, f"the quote is attributed to {', '.join(sorted(of)) or 'no episode'}: {quote!r}")
    missing = [episode for episode in question.episodes if question.quotes and episode not in seen]
    if missing and not foreign:
        yield _warning(question, f"no quote is attributed to {', '.join(missing)}")


def _attributed(text: str, quote: str, claims: Sequence[Sentence]) -> set[str]:
    """The episodes of the sentences that the quote touches, wherever in the document it stands."""
    out: set[str] = set()
    start = text.find(quote)
    while start >= 0:
        end = start + len(quote)
        out |= {episode for s in claims if s.start < end and start < s.end for episode in s.episodes}
        start = text.find(quote, start + 1)
    return out


def _paraphrase(question: EvalQuestion, terms: Terms) -> Iterator[Finding]:
    if question.type != "paraphrase" or not question.quotes:
        return
    words = set(terms(question.text))
    shared = max((words & set(terms(quote)) for _, quote in question.quotes), key=len)
    if len(shared) > SHARED_TERMS:
        yield _warning(question, f"a paraphrase in the words of its quote: {', '.join(sorted(shared))}")
