"""What becomes of questions, as Prometheus measures; no question's text is among them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from rag.records import Answer, Dropped, Event

if TYPE_CHECKING:
    from rag.answer.answerer import Answerer
    from rag.assemble import Service
    from rag.serve.admission import Admission

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


class Measures:
    """Answers by outcome, seconds by stage, what was dropped of drafts, and the index that serves."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._answers = Counter(
            "rag_answers", "Questions answered or abstained from.", ["outcome", "generator"], registry=registry
        )
        self._stages = Histogram(
            "rag_stage_seconds", "Seconds a stage.", ["stage"], registry=registry, buckets=_SECONDS
        )
        self._dropped = Counter("rag_dropped_sentences", "Drafted sentences dropped.", ["objection"], registry=registry)
        self._failed = Counter("rag_failed_drafts", "Drafts that failed or broke off.", registry=registry)
        self._index = Gauge(
            "rag_index_passages", "Passages of the index that serves.", ["generation"], registry=registry
        )

        self._held = Gauge("rag_questions_held", "Questions that work or wait for a core.", registry=registry)
        self._shed = Gauge("rag_questions_shed", "Questions sent away since the start.", registry=registry)

        self._vectors = Gauge(
            "rag_question_vectors", "Vectors of questions at hand or made, by this index.", ["found"], registry=registry
        )

    def of(self, service: Service) -> Service:
        """The same service, what it answers measured; it is the one that serves from now on."""
        info = service.library.info
        self._index.clear()
        self._vectors.labels("hit").set_function(lambda: service.vectors()[0])
        self._vectors.labels("miss").set_function(lambda: service.vectors()[1])
        self._index.labels(info.generation).set(info.passages)
        return replace(service, answerer=cast("Answerer", _Measured(service.answerer, self)))

    def admission(self, admission: Admission) -> None:
        """Count the places that are taken, and whoever was sent away for want of one."""
        self._held.set_function(lambda: admission.held)
        self._shed.set_function(lambda: admission.shed)

    def saw(self, event: Event) -> None:
        """Count what happened to a question."""
        if isinstance(event, Dropped):
            self._dropped.labels(event.objection).inc()
        if isinstance(event, Answer):
            by = "llm" if event.draft and event.draft.passed else "extractive"
            self._answers.labels("abstained" if event.abstained else "answered", by).inc()
            if event.draft and event.draft.failed:
                self._failed.inc()
            for stage, milliseconds in event.timings_ms.items():
                self._stages.labels(stage).observe(milliseconds / 1000)


class _Measured:
    """An Answerer whose events are counted on their way."""

    def __init__(self, answerer: Answerer, measures: Measures) -> None:
        self._answerer, self._measures = answerer, measures

    def stream(self, *arguments: Any, **options: Any) -> Iterator[Event]:
        for event in self._answerer.stream(*arguments, **options):
            self._measures.saw(event)
            yield event

    def __getattr__(self, name: str) -> Any:
        return getattr(self._answerer, name)
