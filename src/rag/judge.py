"""A folder of questions -> a report."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from rag.assemble import open_collection, open_service
from rag.errors import UserError
from rag.settings import Settings

if TYPE_CHECKING:
    from rag.evals.datasets import EvalQuestion
    from rag.evals.evaluate import AnswerReport, RetrievalReport
    from rag.evals.metrics import Run
    from rag.index.encode import Progress
    from rag.records import Evidence


def judge_retrieval(
    settings: Settings, folder: Path, split: str | None, *, progress: Progress, say: Callable[[str], None]
) -> tuple[Run, RetrievalReport]:
    """The run of a folder's questions and the report on it: episodes of our own set, documents of a collection."""
    from rag.evals.datasets import load_beir
    from rag.evals.evaluate import by_document, by_episode, episode_qrels, evaluate_retrieval, report_retrieval
    from rag.search.query import understand

    if (folder / "corpus.jsonl").exists():
        collection = load_beir(folder, split)
        service = open_collection(settings, collection, progress, say)
        run = evaluate_retrieval(
            service.retriever, collection.queries, key=by_document, progress=lambda i: progress(i, len(i), "asking")
        )
        name = f"{collection.name}/{collection.split}"
        return run, report_retrieval(run, collection.qrels, name=name, retriever=service.retriever.name)
    questions = [q for q in _questions(folder, split) if q.answerable]
    service = open_service(settings)
    known = service.library.episodes()
    run = evaluate_retrieval(
        service.retriever,
        {q.id: q.text for q in questions},
        key=by_episode,
        question=lambda text: understand(text, known),
        progress=lambda i: progress(i, len(i), "asking"),
    )
    report = report_retrieval(
        run,
        episode_qrels(questions),
        name=f"{folder.name} (episodes)",
        retriever=service.retriever.name,
        types={q.id: q.type for q in questions},
    )
    return run, report


def judge_answers(settings: Settings, folder: Path, split: str | None, *, progress: Progress) -> AnswerReport:
    """The report on the answers to a folder's questions."""
    from rag.evals.evaluate import evaluate_answers

    service = open_service(settings)

    def quote_of(evidence: Evidence) -> str:
        return service.library.document(evidence.document).text[evidence.start : evidence.end]

    return evaluate_answers(
        lambda text: service.answerer.ask(text, service.k),
        _questions(folder, split),
        quote_of,
        lambda i: progress(i, len(i), "asking"),
        name=folder.name,
        retriever=service.retriever.name,
    )


def _questions(folder: Path, split: str | None) -> list[EvalQuestion]:
    from rag.evals.datasets import load_questions

    questions = load_questions(folder)
    chosen = [q for q in questions if split in (None, q.split)]
    if not chosen:
        raise UserError(f"{folder} has no questions of split {split!r}; it has {sorted({q.split for q in questions})}")
    return chosen
