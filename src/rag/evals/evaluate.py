"""A retriever or an answerer asked every question, and the report on it."""

from __future__ import annotations

import time
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rag.errors import UserError
from rag.evals.drafts import report_drafts
from rag.evals.metrics import (
    ANSWER_MEASURES,
    RETRIEVAL_MEASURES,
    answered_rightly,
    auroc,
    bootstrap_interval,
    bootstrap_interval_of,
    overlap,
    risk_coverage,
    score_answer,
    score_run,
)
from rag.evals.report import FOUND, AnswerReport, Estimate, RetrievalReport
from rag.evals.trec import untied
from rag.records import Question

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from rag.evals.datasets import EvalQuestion, Qrels
    from rag.evals.report import Found, Rows
    from rag.evals.trec import Run
    from rag.ports import Retriever
    from rag.records import Answer, AnswerSentence, Evidence, Hit, Passage

    Progress = Callable[[Sequence[Any]], Iterable[Any]]


CHARS = 160
"""How much of a text a report shows."""


@dataclass(frozen=True, slots=True)
class Retrieved:
    """The run of every query; and of each the best FOUND as {"id", "text"}, the start of the passage found."""

    run: Run
    found: Found


def by_document(hit: Hit) -> str:
    """The document that a hit stands in."""
    return hit.passage.document


def by_passage(hit: Hit) -> str:
    """The passage itself."""
    return hit.passage.id


def by_episode(hit: Hit) -> tuple[str, ...]:
    """The episodes that the passage of a hit is attributed to; none is fine."""
    return hit.passage.episodes


def evaluate_retrieval(
    retriever: Retriever,
    queries: Mapping[str, str],
    k: int = 100,
    key: Callable[[Hit], str | tuple[str, ...]] = by_document,
    progress: Progress | None = None,
    question: Callable[[str], Question] = Question,
    depth: int = 16,
) -> Retrieved:
    """The best k ids a query, best first, where `key` says which ids a hit stands for; an id counts at its best hit.

    Asks for k hits, then four times as many while they stand for fewer than k ids and there are more, up to k * depth.
    Scores are the retriever's, lowered where they tie or rise so that every reader of the run ranks as it did.
    """
    run: Run = {}
    found: Found = {}
    for query, text in (progress or iter)(list(queries.items())):
        best = _distinct(retriever, question(text), k, key, k * depth)
        run[query] = untied((id, hit.score) for id, hit in best)
        found[query] = [{"id": id, "text": _start(hit.passage.text)} for id, hit in best[:FOUND]]
    return Retrieved(run, found)


def _start(text: str) -> str:
    return " ".join(text.split())[:CHARS]


def _distinct(
    retriever: Retriever, question: Question, k: int, key: Callable[[Hit], str | tuple[str, ...]], limit: int
) -> list[tuple[str, Hit]]:
    asked = k
    while True:
        hits = retriever.retrieve(question, asked)
        best: dict[str, Hit] = {}
        for hit in hits:
            ids = key(hit)
            for id in (ids,) if isinstance(ids, str) else ids:
                best.setdefault(id, hit)
        if len(best) >= k or len(hits) < asked or asked >= limit:
            return list(best.items())[:k]
        asked = min(asked * 4, limit)


def episode_qrels(questions: Iterable[EvalQuestion]) -> Qrels:
    """The gold episodes of every answerable question that has any; for a run by `by_episode`."""
    return {q.id: dict.fromkeys(q.episodes, 1) for q in questions if q.answerable and q.episodes}


def passage_qrels(questions: Iterable[EvalQuestion], passages: Iterable[Passage]) -> Qrels:
    """The passages that hold a gold quote, for every answerable question that has any; for a run by `by_passage`.

    A passage holds a quote of its document if it has at least half of its characters, or lies wholly inside it.
    Raises UserError for a quote that no passage holds: the corpus has moved on, and a score would blame the retriever.
    """
    shelf: defaultdict[str, list[Passage]] = defaultdict(list)
    for passage in passages:
        shelf[passage.document].append(passage)
    out: Qrels = {}
    for question in questions:
        for document, quote in question.quotes if question.answerable else ():
            holding = [passage.id for passage in shelf[document] if _holds(passage.text, quote)]
            if not holding:
                found = f"question {question.id!r} quotes {quote[:60]!r}, which no passage of {document!r} holds"
                raise UserError(f"{found}; mend the quote, or index the corpus that it was taken from")
            out.setdefault(question.id, {}).update(dict.fromkeys(holding, 1))
    return out


def _holds(text: str, quote: str) -> bool:
    start, end = overlap(quote, text)
    return 2 * (end - start) >= len(quote) or end - start == len(text)


def report_retrieval(
    run: Run,
    qrels: Qrels,
    *,
    name: str,
    retriever: str,
    measures: Sequence[str] = RETRIEVAL_MEASURES,
    types: Mapping[str, str] | None = None,
    questions: Mapping[str, str] | None = None,
    found: Found | None = None,
) -> RetrievalReport:
    """The report on a run. `types` says which type a query is of; one that it leaves out is of none.

    Of `questions`, the texts, and `found` it keeps the judged queries.
    """
    scores = score_run(run, qrels, measures)
    rows = {query: {measure: values[query] for measure, values in scores.items()} for query in qrels}
    summary = _summary(rows, list(scores), types or {})
    texts = {query: text for query, text in (questions or {}).items() if query in qrels}
    shown = {query: items for query, items in (found or {}).items() if query in qrels}
    return RetrievalReport(name, retriever, len(rows), *summary, rows, texts, shown)


def evaluate_answers(
    ask: Callable[[EvalQuestion], Answer],
    questions: Iterable[EvalQuestion],
    quote_of: Callable[[Evidence], str],
    progress: Progress | None = None,
    *,
    name: str = "answers",
    retriever: str = "",
    tokens_per_second: Callable[[], float | None] = lambda: None,
) -> AnswerReport:
    """Asks every question, one at a time, and reports; `quote_of` gives the slice that an evidence points at.

    `tokens_per_second` is asked at the end, how fast drafts were written.

    Latency is wall time around `ask`. What `ask` raises goes through.
    """
    import numpy as np

    held = list(questions)
    rows: Rows = {}
    found: Found = {}
    sure: dict[str, float | None] = {}
    answers: list[Answer] = []
    for question in (progress or iter)(held):
        start = time.perf_counter()
        answer = ask(question)
        took = 1000 * (time.perf_counter() - start)
        right = float(answered_rightly(question, answer))
        rows[question.id] = {**score_answer(question, answer, quote_of), "correct": right, "latency_ms": took}
        found[question.id] = [_shown(sentence) for sentence in answer.sentences]
        sure[question.id] = answer.confidence
        answers.append(answer)
    latency = np.quantile([row["latency_ms"] for row in rows.values()], [0.5, 0.95]).tolist() if rows else []
    summary = _summary(rows, ANSWER_MEASURES, {question.id: question.type for question in held})
    quantiles = dict(zip(("p50", "p95"), latency, strict=False))
    ranking: tuple[Estimate | None, Estimate | None] = (None, None)
    if any(confidence is not None for confidence in sure.values()):
        for id, confidence in sure.items():
            rows[id]["confidence"] = confidence or 0.0
        ranking = _confidence(rows, {question.id: question.answerable for question in held})
    texts = {question.id: question.text for question in held}
    drafts = report_drafts(answers, tokens_per_second())
    return AnswerReport(name, retriever, len(rows), *summary, rows, quantiles, *ranking, texts, found, drafts)


def _shown(sentence: AnswerSentence) -> dict[str, object]:
    shown: dict[str, object] = {"text": sentence.text, "citations": list(sentence.citations)}
    return shown | ({"quotes": [e.quote for e in sentence.evidence]} if sentence.drafted else {})


def _confidence(rows: Rows, answerable: Mapping[str, bool]) -> tuple[Estimate | None, Estimate]:
    """AUROC of the rows' confidences, None where it is undefined, and AURC."""
    import numpy as np

    sure, right = (np.array([row[name] for row in rows.values()]) for name in ("confidence", "correct"))
    label = np.array([answerable[query] for query in rows], dtype=bool)

    def estimate(figure: Callable[[Any], float]) -> Estimate:
        whole = figure(np.arange(label.size))
        return Estimate(whole, *bootstrap_interval_of(figure, label.size), label.size)

    two = label.any() and not label.all()
    return (
        estimate(lambda at: auroc(sure[at], label[at])) if two else None,
        estimate(lambda at: risk_coverage(sure[at], right[at]).aurc),
    )


def _summary(
    rows: Rows, measures: Sequence[str], types: Mapping[str, str]
) -> tuple[dict[str, Estimate], dict[str, dict[str, float]]]:
    """Estimates over all rows, and means by type in order of appearance; a measure without values is left out."""
    total, by_type = {}, {}
    columns = {measure: [row[measure] for row in rows.values() if measure in row] for measure in measures}
    for measure, values in columns.items():
        if values:
            total[measure] = Estimate(sum(values) / len(values), *bootstrap_interval(values), len(values))
    for type in dict.fromkeys(types[query] for query in rows if query in types):
        of_type = [row for query, row in rows.items() if types.get(query) == type]
        held = {measure: [row[measure] for row in of_type if measure in row] for measure in measures}
        by_type[type] = {measure: sum(values) / len(values) for measure, values in held.items() if values}
    return total, by_type
