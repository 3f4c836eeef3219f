"""Which questions are taken in: as many at once as there are cores, some that wait, and no more."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TypeVar

from anyio import CapacityLimiter
from anyio.to_thread import run_sync
from fastapi import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from rag.errors import Busy

WAITING = 64
"""Questions that wait for a core, unless told otherwise."""
DRAFTS = 64
"""Questions for a language model that have a thread at once, most of them waiting for it."""
_HELD = "rag.places"

Made = TypeVar("Made")


def cores() -> int:
    """How many threads of this process can work at once."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Place:
    """A request's place among those that work or wait; `leave` may be called again and then does nothing."""

    def __init__(self, limiter: CapacityLimiter, leave: Callable[[], None]) -> None:
        self._limiter, self._leave, self._left = limiter, leave, False

    async def run(self, work: Callable[..., Made], *arguments: object) -> Made:
        """Do a request's work in a thread once one is free, and leave; one who stops waiting leaves too."""
        try:
            return await run_sync(work, *arguments, limiter=self._limiter)
        finally:
            self.leave()

    def leave(self) -> None:
        """Give the place back."""
        if not self._left:
            self._left = True
            self._leave()


class Admission:
    """Places for questions. Those for a language model wait for it and not for a core: they have threads of their own.

    `threads` questions work at once (by default as many as there are cores), at most `waiting` wait behind them, and
    `drafts` have a thread while a model drafts. All on the event loop, so nothing is locked.
    """

    def __init__(self, threads: int | None = None, waiting: int = WAITING, drafts: int = DRAFTS) -> None:
        self._limiter, self._drafts = CapacityLimiter(threads or cores()), CapacityLimiter(drafts)
        self._most = int(self._limiter.total_tokens) + waiting
        self.held, self.shed = 0, 0

    def place(self, request: Request, drafting: bool = False) -> Place:
        """A place for a request, who has it until its work is done or the request ends. Raises Busy at once."""
        if drafting:
            return Place(self._drafts, lambda: None)
        if self.full:
            self.shed += 1
            raise Busy("more questions wait here than can be answered soon; ask again in a moment")
        self.held += 1
        place = Place(self._limiter, self._give_back)
        request.scope[_HELD].append(place)
        return place

    @property
    def full(self) -> bool:
        """Whether the next question is sent away."""
        return self.held >= self._most

    def _give_back(self) -> None:
        self.held -= 1


class Returned:
    """Around every request: whatever place it still has at its end is given back."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        held: list[Place] = []
        scope[_HELD] = held
        try:
            await self._app(scope, receive, send)
        finally:
            for place in held:
                place.leave()
