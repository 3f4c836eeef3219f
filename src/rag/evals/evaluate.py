"""A retriever or an answerer asked every question, and the report on it."""

from __future__ import annotations

import time
from collections import defaultdict
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from rag.errors import UserError
from rag.evals.metrics import (
    ANSWER_MEASURES,
    RETRIEVAL_MEASURES,
    bootstrap_interval,
    overlap,
    score_answer,
    score_run,
    untied,
)
from rag.records import Question

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from rag.evals.datasets import EvalQuestion, Qrels
    from rag.evals.metrics import Run
    from rag.ports import Retriever
    from rag.records import Answer, Evidence, Hit, Passage

    Progress = Callable[[Sequence[Any]], Iterable[Any]]
    Rows = dict[str, dict[str, float]]


@dataclass(frozen=True, slots=True)
class Estimate:
    """The mean of `n` values, one a question, and its 95% bootstrap interval."""

    mean: float
    low: float
    high: float
    n: int


@dataclass(frozen=True, slots=True)
class RetrievalReport:
    """How well a retriever finds what is judged relevant.

    `measures` are over all `queries`; `by_type` holds means, type -> measure -> mean; `rows` every value, query ->
    measure -> value, to compare reports by.
    """

    name: str
    retriever: str
    queries: int
    measures: dict[str, Estimate]
    by_type: dict[str, dict[str, float]]
    rows: Rows

    def to_dict(self) -> dict[str, Any]:
        """Dictionaries, strings and numbers, for JSON."""
        return {"kind": "retrieval", **asdict(self)}


@dataclass(frozen=True, slots=True)
class AnswerReport:
    """How good answers are, in ANSWER_MEASURES; a measure counts the questions that have a share in it.

    As RetrievalReport; `latency_ms` has the quantiles "p50" and "p95" of the time a question took, and a row its own.
    """

    name: str
    retriever: str
    queries: int
    measures: dict[str, Estimate]
    by_type: dict[str, dict[str, float]]
    rows: Rows
    latency_ms: dict[str, float]

    def to_dict(self) -> dict[str, Any]:
        """Dictionaries, strings and numbers, for JSON."""
        return {"kind": "answers", **asdict(self)}


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
) -> Run:
    """The best k ids a query, best first, where `key` says which ids a hit stands for; an id counts at its best hit.

    Asks for k hits, then four times as many while they stand for fewer than k ids and there are more, up to k * depth.
    Scores are the retriever's, lowered where they tie or rise so that every reader of the run ranks as it did.
    """
    return {
        id: untied(_distinct(retriever, question(text), k, key, k * depth))
        for id, text in (progress or iter)(list(queries.items()))
    }


def _distinct(
    retriever: Retriever, question: Question, k: int, key: Callable[[Hit], str | tuple[str, ...]], limit: int
) -> list[tuple[str, float]]:
    asked = k
    while True:
        hits = retriever.retrieve(question, asked)
        best: dict[str, float] = {}
        for hit in hits:
            ids = key(hit)
            for id in (ids,) if isinstance(ids, str) else ids:
                best.setdefault(id, hit.score)
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
) -> RetrievalReport:
    """The report on a run. `types` says which type a query is of; one that it leaves out is of none."""
    scores = score_run(run, qrels, measures)
    rows = {query: {measure: values[query] for measure, values in scores.items()} for query in qrels}
    return RetrievalReport(name, retriever, len(rows), *_summary(rows, list(scores), types or {}), rows)


def evaluate_answers(
    ask: Callable[[str], Answer],
    questions: Iterable[EvalQuestion],
    quote_of: Callable[[Evidence], str],
    progress: Progress | None = None,
    *,
    name: str = "answers",
    retriever: str = "",
) -> AnswerReport:
    """Asks every question, one at a time, and reports; `quote_of` gives the slice that an evidence points at.

    Latency is wall time around `ask`. What `ask` raises goes through.
    """
    import numpy as np

    held = list(questions)
    rows: Rows = {}
    for question in (progress or iter)(held):
        start = time.perf_counter()
        answer = ask(question.text)
        took = 1000 * (time.perf_counter() - start)
        rows[question.id] = {**score_answer(question, answer, quote_of), "latency_ms": took}
    latency = np.quantile([row["latency_ms"] for row in rows.values()], [0.5, 0.95]).tolist() if rows else []
    summary = _summary(rows, ANSWER_MEASURES, {question.id: question.type for question in held})
    return AnswerReport(name, retriever, len(rows), *summary, rows, dict(zip(("p50", "p95"), latency, strict=False)))


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


def format_table(report: RetrievalReport | AnswerReport) -> str:
    """Plain text: a line a measure with mean, 95% interval, questions that count, and the mean of every type."""
    table = [["measure", "mean", "95% interval", "n", *report.by_type]]
    for measure, estimate in report.measures.items():
        means = [f"{row[measure]:.3f}" if measure in row else "-" for row in report.by_type.values()]
        interval = f"{estimate.low:.3f} to {estimate.high:.3f}"
        table.append([measure, f"{estimate.mean:.3f}", interval, str(estimate.n), *means])
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    title = [report.name, *([report.retriever] if report.retriever else []), f"{report.queries} questions"]
    lines = ["  ".join(title)]
    for first, *cells in table:
        rest = [cell.rjust(width) for cell, width in zip(cells, widths[1:], strict=True)]
        lines.append("  ".join([first.ljust(widths[0]), *rest]))
    if isinstance(report, AnswerReport) and report.latency_ms:
        lines.append("latency  " + "  ".join(f"{name} {value:.1f} ms" for name, value in report.latency_ms.items()))
    return "\n".join(lines)
