"""What becomes of questions, as Prometheus measures; no question's text is among them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector

from rag.answer.abstain import Why
from rag.index.store import built
from rag.records import Answer, Dropped, Event

if TYPE_CHECKING:
    from rag.answer.answerer import Answerer
    from rag.assemble import Service
    from rag.serve.admission import Admission
    from rag.serve.state import State

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_OTHER = "other"
"""A reason that is none of ours."""
_AtHand = Callable[[], tuple[int, int]]
"""How often something was at hand, and how often it was made."""
_Counts = Mapping[tuple[str, ...], int]
"""Of each combination of labels."""


class Measures:
    """Answers by outcome, seconds by stage, what was dropped of drafts, and the index that serves."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry
        self._answers = Counter(
            "rag_answers", "Questions answered or abstained from.", ["outcome", "generator"], registry=registry
        )
        self._abstentions = Counter("rag_abstentions", "Abstentions by why.", ["reason"], registry=registry)
        for reason in (*(why.name.lower() for why in Why), _OTHER):
            self._abstentions.labels(reason)
        self._stages = Histogram(
            "rag_stage_seconds", "Seconds a stage.", ["stage"], registry=registry, buckets=_SECONDS
        )
        self._dropped = Counter("rag_dropped_sentences", "Drafted sentences dropped.", ["objection"], registry=registry)
        self._failed = Counter("rag_failed_drafts", "Drafts that failed or broke off.", registry=registry)
        self._ready = Gauge("rag_index_ready", "1 where an index answers, else 0.", registry=registry)
        self._refused = Gauge(
            "rag_index_refused", "1 where what the index folder holds is not served, else 0.", registry=registry
        )
        self._index = Gauge(
            "rag_index_passages", "Passages of the index that serves.", ["generation"], registry=registry
        )
        self._built = Gauge(
            "rag_index_built_timestamp_seconds", "When it was built.", ["generation"], registry=registry
        )
        self._held = Gauge("rag_questions_held", "Questions that work or wait for a core.", registry=registry)
        self._vectors: _AtHand = lambda: (0, 0)
        self._kept: _AtHand = lambda: (0, 0)
        for name, help, read in (
            ("rag_question_vectors", "Vectors of questions at hand or made.", lambda: self._vectors()),
            ("rag_answers_kept", "Answers at hand or made.", lambda: self._kept()),
        ):
            registry.register(_Kept(name, help, ["found"], partial(_found, read)))

    def of(self, service: Service) -> Service:
        """The same service, what it answers measured; it is the one that serves from now on."""
        info = service.library.info
        self._vectors = _going_on(self._vectors, service.vectors)
        self._kept = _going_on(self._kept, service.answers)
        self._index.clear()
        self._index.labels(info.generation).set(info.passages)
        self._built.clear()
        if (began := built(info.generation)) is not None:
            self._built.labels(info.generation).set(began)
        return replace(service, answerer=cast("Answerer", _Measured(service.answerer, self)))

    def state(self, state: State) -> None:
        """Say whether an index answers, and whether what lies in its folder is refused."""
        self._ready.set_function(lambda: state.opened is not None)
        self._refused.set_function(lambda: state.failed is not None)

    def admission(self, admission: Admission) -> None:
        """Count the places that are taken, and whoever was sent away for want of one."""
        self._held.set_function(lambda: admission.held)
        self._registry.register(_Kept("rag_questions_shed", "Questions sent away.", [], lambda: {(): admission.shed}))

    def saw(self, event: Event) -> None:
        """Count what happened to a question."""
        if isinstance(event, Dropped):
            self._dropped.labels(event.objection).inc()
        if isinstance(event, Answer):
            by = "llm" if event.draft and event.draft.passed else "extractive"
            self._answers.labels("abstained" if event.abstained else "answered", by).inc()
            if event.reason is not None:
                why = Why.of(event.reason)
                self._abstentions.labels(why.name.lower() if why else _OTHER).inc()
            if event.draft and event.draft.failed:
                self._failed.inc()
            for stage, milliseconds in event.timings_ms.items():
                self._stages.labels(stage).observe(milliseconds / 1000)


def _found(read: _AtHand) -> _Counts:
    hits, misses = read()
    return {("hit",): hits, ("miss",): misses}


def _going_on(before: _AtHand, now: _AtHand) -> _AtHand:
    """An index counts its own; here they go on from those of the index before."""
    hits, misses = before()
    return lambda: (hits + now()[0], misses + now()[1])


class _Kept(Collector):
    """A counter that is kept elsewhere, and read when it is asked for."""

    def __init__(self, name: str, help: str, labels: Sequence[str], read: Callable[[], _Counts]) -> None:
        self._name, self._help, self._labels, self._read = name, help, labels, read

    def collect(self) -> Iterator[CounterMetricFamily]:
        """What it is now."""
        family = CounterMetricFamily(self._name, self._help, labels=self._labels)
        for values, count in self._read().items():
            family.add_metric(values, count)
        yield family


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
