"""A folder of questions -> reports."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from msgspec.structs import replace

from rag.assemble import index_again, open_collection, open_generator, open_service
from rag.errors import UserError
from rag.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Generator as Written

    from rag.answer.answerability import Answerability
    from rag.assemble import Service
    from rag.evals.answerability import AnswerabilityReport, Pair
    from rag.evals.datasets import Collection, EvalQuestion, Qrels
    from rag.evals.gate import Baseline
    from rag.evals.lint import Lint
    from rag.evals.report import AnswerReport, RetrievalReport
    from rag.evals.trec import Run
    from rag.evals.verifier import Claim, VerifierReport
    from rag.index.encode import Progress
    from rag.ports import Generator, Pieces, Retriever, TokenEncoder
    from rag.records import Evidence, Message

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Judged:
    """A run, what it was judged by, and the report."""

    run: Run
    qrels: Qrels
    report: RetrievalReport


def judge_retrieval(
    settings: Settings, folder: Path, split: str | None, *, progress: Progress, say: Callable[[str], None]
) -> dict[str, Judged]:
    """How a folder's questions are ranked: "episode" and "passage" of our own set, "document" of a collection."""
    from rag.evals.datasets import load_beir
    from rag.evals.evaluate import (
        by_episode,
        by_passage,
        episode_qrels,
        evaluate_retrieval,
        passage_qrels,
        report_retrieval,
    )
    from rag.search.query import understand

    if (folder / "corpus.jsonl").exists():
        collection = load_beir(folder, split)
        service = open_collection(settings, collection, progress, say)
        return {"document": judge_collection(service, collection, progress=progress)}
    questions = [q for q in _questions(folder, split) if q.answerable]
    texts = {q.id: q.text for q in questions}
    service = open_service(settings)
    known, library = service.library.episodes(), service.library
    once = _Once(service.retriever)
    out = {}
    for level, key, qrels in (
        ("episode", by_episode, episode_qrels(questions)),
        ("passage", by_passage, passage_qrels(questions, library.all_passages())),
    ):
        found = evaluate_retrieval(
            once,
            {id: text for id, text in texts.items() if id in qrels},
            key=key,
            question=lambda text: understand(text, known),
            progress=lambda i: progress(i, len(i), "asking"),
        )
        report = report_retrieval(
            found.run,
            qrels,
            name=f"{folder.name} ({level}s)",
            retriever=service.retriever.name,
            types={q.id: q.type for q in questions},
            questions=texts,
            found=found.found,
        )
        out[level] = Judged(found.run, qrels, report)
    return out


class _Once:
    """A retriever that finds once what it is asked twice: both levels judge one ranking."""

    def __init__(self, inner: Retriever) -> None:
        self.name, self.retrieve = inner.name, lru_cache(maxsize=None)(inner.retrieve)


def judge_collection(service: Service, collection: Collection, *, progress: Progress) -> Judged:
    """How a collection's queries are ranked by an index of it that is open."""
    from rag.evals.evaluate import by_document, evaluate_retrieval, report_retrieval

    found = evaluate_retrieval(
        service.retriever, collection.queries, key=by_document, progress=lambda i: progress(i, len(i), "asking")
    )
    report = report_retrieval(
        found.run,
        collection.qrels,
        name=f"{collection.name}/{collection.split}",
        retriever=service.retriever.name,
        questions=collection.queries,
        found=found.found,
    )
    return Judged(found.run, collection.qrels, report)


def judge_answers(
    settings: Settings, folder: Path, split: str | None, *, progress: Progress, alone: bool = False
) -> AnswerReport:
    """The report on the answers to a folder's questions, by the generator of the settings.

    With `alone`, a question is asked as it was typed, without the conversation before it.
    """
    from rag.evals.evaluate import evaluate_answers

    generator = open_generator(settings) if settings.generator == "llm" else None
    service = open_service(settings, generator=generator)
    drafter = service.drafter()
    timed = None if drafter is None else _Timed(drafter)

    def quote_of(evidence: Evidence) -> str:
        return service.library.document(evidence.document).text[evidence.start : evidence.end]

    return evaluate_answers(
        lambda q: service.answerer.ask(q.text, service.k, history=() if alone else q.history, generator=timed),
        _questions(folder, split),
        quote_of,
        lambda i: progress(i, len(i), "asking"),
        name=folder.stem,
        retriever=service.retriever.name,
        tokens_per_second=lambda: timed.speed() if timed else None,
    )


class _Timed:
    """A generator whose tokens and seconds are counted."""

    def __init__(self, inner: Generator) -> None:
        self._inner, self.name, self.context = inner, inner.name, inner.context
        self._tokens, self._seconds = 0, 0.0

    def tokens(self, text: str) -> int:
        """As the inner one counts."""
        return self._inner.tokens(text)

    def stream(self, messages: Sequence[Message], limit: int, stop: Callable[[], bool]) -> Pieces:
        """What the inner one writes."""
        return self._counted(self._inner.stream(messages, limit, stop))

    def _counted(self, inner: Pieces) -> Written[str, None, None]:
        began, text = time.perf_counter(), ""
        with closing(inner) as pieces:
            try:
                for piece in pieces:
                    text += piece
                    yield piece
            finally:
                self._tokens += self.tokens(text)
                self._seconds += time.perf_counter() - began

    def speed(self) -> float | None:
        """Tokens a second, None where none was written."""
        return self._tokens / self._seconds if self._tokens else None


def judge_all(settings: Settings, folder: Path, *, progress: Progress, say: Callable[[str], None]) -> Baseline:
    """Everything that the gate compares, over all questions of our own set."""
    from rag.evals.gate import make_baseline
    from rag.evals.report import scored

    levels = judge_retrieval(settings, folder, None, progress=progress, say=say)
    if "document" in levels:
        raise UserError(f"{folder} is a collection in BEIR layout; the gate wants our own set, with a questions.jsonl")
    parts = {f"{level}s": scored(judged.report) for level, judged in levels.items()}
    parts["answers"] = scored(judge_answers(settings, folder, None, progress=progress))
    return make_baseline(_questions(folder, None), parts)


def judge_questions(settings: Settings, folder: Path) -> Lint:
    """What is wrong with a folder's questions themselves, by the documents of the index."""
    from rag.evals.lint import lint
    from rag.index.terms import terms

    service = open_service(settings)
    library = service.library
    names = dict.fromkeys(passage.document for passage in library.all_passages())
    return lint(_questions(folder, None), map(library.document, names), terms, service.id_pattern)


def score_claims(settings: Settings, path: Path, *, progress: Progress) -> tuple[tuple[Claim, ...], list[float]]:
    """A file's claims, each with its support score, by the encoder of the index. Raises IndexUnusable."""
    from rag.answer.support import Support
    from rag.evals.verifier import load_claims

    claims = load_claims(path)
    support = Support(_encoder(settings))
    return claims, _each(claims, lambda claim: support.score(claim.text, claim.passages), progress, "scoring")


def fit_support(settings: Settings, path: Path, *, progress: Progress) -> dict[str, VerifierReport]:
    """Fit the two support models to a file's claims and write them where `rag.answer.support` reads them.

    The reports are on scores of five-fold cross-validation: no row is scored by a model that saw its group.
    """
    from rag.answer.logistic import Logistic
    from rag.answer.support import VECTORS, WORDS, Support, held_back, model_path
    from rag.evals.fit import cross_validated, fit
    from rag.evals.verifier import load_claims, report_verifier

    claims = [claim for claim in load_claims(path) if claim.label is not None]
    labels = [bool(claim.label) for claim in claims]
    if len(set(labels)) < 2:
        raise UserError(f"{path} has no labels of both kinds; to fit, wanted supported claims and others")
    support = Support(_encoder(settings))
    values = _each(claims, lambda claim: support.features(claim.text, claim.passages), progress, "reading")
    groups = [claim.group for claim in claims]
    reports = {}
    for name, names in (("words", WORDS), ("vectors", VECTORS)):
        rows = [{key: row[key] for key in names} for row in values]
        found = cross_validated(rows, labels, groups, c=_SUPPORT_C)
        scores = [held_back(value, row) for value, row in zip(found, values, strict=True)]
        reports[name] = report_verifier(f"{path.name} (cross-validated, {name})", claims, scores)
        model = Logistic(
            *fit(rows, labels, c=_SUPPORT_C),
            fitted_by=f"rag eval fit verifier {path.parent.name}/{path.name}",
            fitted_on=f"{path.parent.name}/{path.name}, {len(claims)} claims",
        )
        model.write(model_path(names))
    return reports


_SUPPORT_C = 0.1


def score_pairs(settings: Settings, path: Path, *, progress: Progress) -> tuple[tuple[Pair, ...], list[float]]:
    """A file's questions, each with P(its passage answers it), by the encoder of the index. Raises IndexUnusable."""
    from rag.evals.answerability import load_pairs

    pairs = load_pairs(path)
    answerability = _answerability(settings)
    return pairs, _each(pairs, lambda p: answerability.score(p.question, p.passage), progress, "scoring")


@dataclass(frozen=True, slots=True)
class FittedModel:
    """A cross-validated report; `least` is the confidence from which on to answer, the shares what it abstains from."""

    report: AnswerabilityReport
    least: float
    false_abstentions: float
    abstention_recall: float


@dataclass(frozen=True, slots=True)
class FittedAnswerability:
    """The report on pairs, and the models of our questions: asked of the corpus as it is, and without its questions."""

    pairs: AnswerabilityReport
    questions: FittedModel
    alone: FittedModel

    def to_dict(self) -> dict[str, Any]:
        """Dictionaries, strings and numbers, for JSON."""
        return asdict(self)


def fit_answerability(
    settings: Settings, path: Path, folder: Path, *, progress: Progress, say: Callable[[str], None]
) -> FittedAnswerability:
    """Fit the model of pairs to a file, then those of the service to a folder's development questions; write all.

    The reports, and the thresholds, are on scores of five-fold cross-validation.
    """
    from rag.answer.answerability import ALONE, ALONE_MODEL, FOUND, MODEL, PAIR_MODEL
    from rag.answer.logistic import Logistic
    from rag.evals.answerability import load_pairs, report_answerability
    from rag.evals.fit import cross_validated, fit

    pairs = [pair for pair in load_pairs(path) if pair.answerable is not None]
    labels = [bool(pair.answerable) for pair in pairs]
    if len(set(labels)) < 2:
        raise UserError(f"{path} has no labels of both kinds; to fit, wanted answerable questions and others")
    command = f"rag eval fit answerability {path.parent.name}/{path.name} --questions {folder.name}"
    service = open_service(settings)
    answerability = _answerability(settings)
    rows = _each(pairs, lambda p: answerability.pair_values(p.question, p.passage), progress, "reading")
    held = cross_validated(rows, labels, [pair.group for pair in pairs], c=_PAIR_C)
    pair_model = Logistic(*fit(rows, labels, c=_PAIR_C), command, f"{path.parent.name}/{path.name}, {len(pairs)} rows")
    questions = [q for q in _questions(folder, None) if q.split == "dev"]
    bare = replace(settings, split=replace(settings.split, questions=False))
    place = settings.index / "without-questions"
    bare = index_again(bare, service.library, service.id_pattern, place, progress, say)
    fitted = [
        _fit_found(chosen, questions, names, target, command, folder.name, progress)
        for chosen, names, target in ((settings, FOUND, MODEL), (bare, ALONE, ALONE_MODEL))
    ]
    pair_model.write(PAIR_MODEL)
    return FittedAnswerability(report_answerability(f"{path.name} (cross-validated)", pairs, held), *fitted)


def _fit_found(
    settings: Settings,
    questions: Sequence[EvalQuestion],
    names: Sequence[str],
    target: Path,
    command: str,
    folder: str,
    progress: Progress,
) -> FittedModel:
    """Fit weights for the names to the questions, asked of the index of the settings, and write them."""
    from rag.answer.answerability import write_model
    from rag.answer.logistic import Logistic
    from rag.evals.answerability import Pair, least_confidence, report_answerability
    from rag.evals.fit import cross_validated, fit

    service = open_service(settings)
    answerability = _answerability(settings)
    considered = [service.answerer.considered(q.text, service.k) for q in progress(questions, len(questions), "asking")]
    every = [(q, *both) for q, both in zip(questions, considered, strict=True) if both[1]]
    values = [answerability.found_values(asked, ranked) for _, asked, ranked in every]
    found = [{name: row[name] for name in names} for row in values]
    known = [q.answerable for q, *_ in every]
    ids = [q.id for q, *_ in every]
    seeds = [iter(cross_validated(found, known, ids, c=_FOUND_C, seed=seed)) for seed in range(_SEEDS)]
    scores = [sum(map(next, seeds)) / _SEEDS if ranked else 0.0 for _, ranked in considered]
    answerable = [q.answerable for q in questions]
    # What misses something is refused whatever its confidence, so it is part of what may be lost.
    decided = [0.0 if not r or r[0].missing else score for score, (_, r) in zip(scores, considered, strict=True)]
    least = least_confidence(decided, answerable)
    as_pairs = [Pair(q.id, q.text, "", q.answerable, q.id) for q in questions]
    report = report_answerability(f"{folder}, dev, by {len(names)} values (cross-validated)", as_pairs, scores)
    write_model(
        target, Logistic(*fit(found, known, c=_FOUND_C), command, f"{folder}, {len(found)} dev questions"), least
    )
    refused = [score < least for score in decided]
    wrong = sum(r for r, label in zip(refused, answerable, strict=True) if label) / sum(answerable)
    right = sum(r for r, label in zip(refused, answerable, strict=True) if not label) / answerable.count(False)
    return FittedModel(report, least, wrong, right)


_PAIR_C, _FOUND_C, _SEEDS = 0.03, 0.3, 5


def _answerability(settings: Settings) -> Answerability:
    answerability = open_service(settings).answerer.answerability
    if answerability is None:
        raise UserError("this service estimates no confidence")
    return answerability


def _each(items: Sequence[T], work: Callable[[T], R], progress: Progress, what: str) -> list[R]:
    """The work on every item, in order, as many at once as there are cores."""
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(progress(pool.map(work, items), len(items), what))


def _encoder(settings: Settings) -> TokenEncoder:
    from rag.index.encode import ENCODER, OnnxEncoder
    from rag.index.store import IndexFolder

    folder, _ = IndexFolder(settings.index).current()
    return OnnxEncoder(folder / ENCODER)


def _questions(folder: Path, split: str | None) -> list[EvalQuestion]:
    from rag.evals.datasets import load_questions

    questions = load_questions(folder)
    chosen = [q for q in questions if split in (None, q.split)]
    if not chosen:
        raise UserError(f"{folder} has no questions of split {split!r}; it has {sorted({q.split for q in questions})}")
    return chosen
