"""Answers kept for whoever asks the same again."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from rag.answer.answerer import Answerer
from rag.ports import Generator
from rag.records import Answer, Event, Filters, Turn


class RememberingAnswerer(Answerer):
    """An Answerer that has at hand what it answered last, each time under the same question, k, filters and history.

    Of one index the same question has one answer, so this changes how long it takes and nothing else; an answerer of
    another index begins with none. What a language model is to draft is asked anew. `most` answers are kept, of which
    the least lately asked leaves first; `hits` were at hand, `misses` were not.
    """

    def __init__(self, *arguments: Any, most: int, **values: Any) -> None:
        super().__init__(*arguments, **values)
        self._most, self._kept, self._locked = most, OrderedDict[object, tuple[Event, ...]](), threading.Lock()
        self.hits, self.misses = 0, 0

    def stream(
        self,
        text: str,
        k: int = 10,
        filters: Filters = Filters(),
        *,
        history: Sequence[Turn] = (),
        generator: Generator | None = None,
        stop: Callable[[], bool] = lambda: False,
    ) -> Iterator[Event]:
        """As Answerer; the `timings_ms` of an answer that was at hand have its own `total` alone."""
        began = time.perf_counter()
        key = None if generator is not None else (text, k, filters, tuple(history))
        events = self._recall(key) if key else ()
        for event in events:
            total = round(1000 * (time.perf_counter() - began), 2)
            yield replace(event, timings_ms={"total": total}) if isinstance(event, Answer) else event
        if events:
            return
        made: list[Event] = []
        for event in super().stream(text, k, filters, history=history, generator=generator, stop=stop):
            made.append(event)
            if key and isinstance(event, Answer):  # before it is handed on: its reader may read no further
                self._keep(key, tuple(made))
            yield event

    def _recall(self, key: object) -> tuple[Event, ...]:
        with self._locked:
            events = self._kept.get(key, ())
            if events:
                self._kept.move_to_end(key)
            self.hits, self.misses = self.hits + bool(events), self.misses + (not events)
        return events

    def _keep(self, key: object, events: tuple[Event, ...]) -> None:
        with self._locked:
            self._kept[key] = events
            if len(self._kept) > self._most:
                self._kept.popitem(last=False)
