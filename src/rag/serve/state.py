"""The service that answers now."""

from __future__ import annotations

import ctypes
import gc
import logging
import sys
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar, cast

import anyio
from anyio.to_thread import run_sync

from rag.errors import IndexAway, IndexUnusable, RagError

if TYPE_CHECKING:
    from rag.assemble import Service

LOOK_SECONDS = 1.0
"""How often the server looks whether there is a new index."""

_log = logging.getLogger("rag.serve")
Made = TypeVar("Made")


def _let_go() -> None:
    """Give back what the service before held: it lies in reference cycles, and glibc keeps what was freed.

    A process that opened sixteen indexes one after another had 316 MiB, and has 162.
    """
    gc.collect()
    if sys.platform == "linux" and (trim := getattr(ctypes.CDLL(None), "malloc_trim", None)):
        trim(0)


class Current:
    """A service that was opened, and what is made of it, each thing once."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self._made: dict[Callable[[Service], object], object] = {}
        self._making = threading.RLock()

    def made(self, make: Callable[[Service], Made]) -> Made:
        """What `make` makes of the service, kept for as long as it answers; whoever else wants it waits."""
        with self._making:
            if make not in self._made:
                self._made[make] = make(self.service)
            return cast("Made", self._made[make])

    def known(self, make: Callable[[Service], Made]) -> Made | None:
        """The same where it is made already, else None, at once."""
        return cast("Made | None", self._made.get(make))


class State:
    """The service, or why there is none yet."""

    def __init__(self, open_service: Callable[[], Service], changed: Callable[[], object]) -> None:
        self._open_service, self._changed = open_service, changed
        self._current: Current | None = None
        self.failed: str | None = None
        self._passing, self._damaged = False, False

    @property
    def opened(self) -> Service | None:
        """The service that answers now."""
        return None if self._current is None else self._current.service

    @opened.setter
    def opened(self, service: Service | None) -> None:
        self._current = None if service is None else Current(service)

    async def keep(self, tried: Callable[[], object] = lambda: None) -> None:
        """Open the service, and anew whenever `changed` gives another token or the last time failed.

        The service opened before answers until the new one can. Failing may take a tenth of the time at most. What is
        found damaged once it is read whole no longer answers, until there is something else to open. Each time,
        `tried` is told.
        """
        token, again = object(), 0.0
        while True:
            now = await run_sync(self._changed, abandon_on_cancel=True)
            began = time.monotonic()
            if now != token or (self.failed is not None and not self._damaged and began >= again):
                await self._open()
                tried()
                token, again = now, began + 10 * (time.monotonic() - began)
                await self._check(token)
            await anyio.sleep(LOOK_SECONDS)

    async def _open(self) -> None:
        failed, cause, passing = None, None, False
        try:
            before, self.opened = self.opened, await run_sync(self._open_service, abandon_on_cancel=True)
            if before is not None:
                del before
                await run_sync(_let_go)
        except RagError as error:
            failed, passing = str(error), error.retry
        except Exception as error:
            failed, cause = "the index could not be opened; the server's log says why", error
        if failed not in (None, self.failed):
            whose = "the index is not served" if self.opened is None else "the index before still answers"
            _log.error("%s: %s", whose, failed, exc_info=cause)
        self.failed, self._passing = failed, passing

    async def _check(self, token: object) -> None:
        self._damaged = False
        if self.failed is not None or self.opened is None:
            return
        try:
            await run_sync(self.opened.check, abandon_on_cancel=True)
        except IndexUnusable as error:
            same = await run_sync(self._changed, abandon_on_cancel=True) == token
            if same and not error.retry:  # else it was swept away, or is out of reach, and not damaged
                _log.error("the index is not served: %s", error)
                self.opened, self.failed, self._damaged = None, str(error), True
        else:
            _log.info("generation %s answers, whole as it was built", self.opened.library.info.generation)

    def service(self) -> Service:
        """Raises IndexUnusable."""
        return self.current().service

    def current(self) -> Current:
        """For what asks more than once and wants one answer. Raises IndexUnusable."""
        if self._current is None:
            kind = IndexAway if self._passing else IndexUnusable
            raise kind(self.failed or "the index is still loading; try again in a moment")
        return self._current
