"""A generator that writes so many drafts at once."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from threading import BoundedSemaphore
from time import monotonic
from typing import TYPE_CHECKING

from rag.errors import BackendFailed

if TYPE_CHECKING:
    from rag import ports
    from rag.records import Message

WAIT = 10.0
"""Seconds that a draft waits for its turn before it is given up."""
_POLL = 0.1  # seconds between two looks at `stop()`


class Limited:
    """Another generator, of which at most `most` drafts are written at once, whoever asks for them."""

    def __init__(self, inner: ports.Generator, most: int, wait: float = WAIT) -> None:
        self._inner, self._slots, self._wait = inner, BoundedSemaphore(most), wait
        self.name, self.context = inner.name, inner.context

    def tokens(self, text: str) -> int:
        """As the other counts."""
        return self._inner.tokens(text)

    def stream(self, messages: Sequence[Message], limit: int, stop: Callable[[], bool]) -> Generator[str, None, None]:
        """As the port says; raises BackendFailed where no turn comes in time."""
        until = monotonic() + self._wait
        while not self._slots.acquire(timeout=_POLL):
            if stop():
                return
            if monotonic() > until:
                raise BackendFailed("the language model is busy with other answers")
        try:
            with closing(self._inner.stream(messages, limit, stop)) as pieces:
                yield from pieces
        finally:
            self._slots.release()
