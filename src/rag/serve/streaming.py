"""An answer as it comes: from the thread that makes it to the connection that reads it."""

from __future__ import annotations

import json
import logging
import math
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from html import escape
from typing import Protocol, TypeVar

import anyio
from anyio import from_thread
from anyio.to_thread import run_sync
from fastapi import Request
from fastapi.responses import StreamingResponse
from sse_starlette import EventSourceResponse, ServerSentEvent
from sse_starlette.sse import AppStatus

from rag.errors import BackendFailed, RagError
from rag.records import Answer, Event
from rag.serve.admission import Place
from rag.wire import event_json

HEARTBEAT = 10.0
"""Seconds between comments that keep a silent connection open."""
SEND_TIMEOUT = 30.0
"""Seconds after which a reader that takes nothing is given up."""
GRACE = 6.0
"""Seconds that a stream may go on when the server stops."""

_log = logging.getLogger("rag.serve")


Item = TypeVar("Item")
Made = TypeVar("Made", covariant=True)


class Stream(Protocol[Made]):
    """Items, as events are, made in the thread that iterates; it ends soon after `stop()` is true."""

    def __call__(self, *, stop: Callable[[], bool] = ...) -> Iterator[Made]:
        """Begin."""
        ...


@asynccontextmanager
async def events(
    stream: Stream[Item],
    place: Place | None = None,
    stops: Callable[[], Awaitable[object]] | None = None,
    beat: Item | None = None,
) -> AsyncIterator[AsyncIterator[Item]]:
    """The items of a stream, which runs in a thread at its own pace; leaving ends it, and waits for that.

    They wait for whoever reads them, so a slow reader holds no thread; an answer has few of them. What the stream
    raises is raised where its events are read, as is BackendFailed GRACE seconds after `stops` is over, which waits for
    the server's stopping. A `beat` comes between them every HEARTBEAT seconds.
    """
    gone = threading.Event()
    put, get = anyio.create_memory_object_stream[Item | Exception](math.inf)

    def work() -> None:
        try:
            for event in stream(stop=gone.is_set):
                from_thread.run_sync(put.send_nowait, event)
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            pass  # nobody reads any more
        except Exception as error:
            from_thread.run_sync(put.send_nowait, error)
        finally:
            from_thread.run_sync(put.close)

    async def end_with_the_server(stops: Callable[[], Awaitable[object]]) -> None:
        await stops()
        await anyio.sleep(GRACE)
        with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
            put.send_nowait(BackendFailed("the server stops; ask again in a moment"))

    async def beats(item: Item) -> None:
        with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
            while True:
                await anyio.sleep(HEARTBEAT)
                put.send_nowait(item)

    async def read() -> AsyncIterator[Item]:
        async for item in get:
            if isinstance(item, Exception):
                raise item
            yield item

    failure: Exception | None = None
    async with anyio.create_task_group() as group:
        group.start_soon(place.run if place else run_sync, work)
        if stops is not None:
            group.start_soon(end_with_the_server, stops)
        if beat is not None:
            group.start_soon(beats, beat)
        try:
            with get, put:
                yield read()
        except Exception as error:  # raised below, since a task group would wrap it
            failure = error
        finally:
            gone.set()
            group.cancel_scope.cancel()
    if failure is not None:
        raise failure


async def last(stream: Stream[Event], request: Request, place: Place | None = None) -> Answer | None:
    """The answer that a stream ends with; None where whoever asked is gone, which ends the stream."""

    async def read() -> Answer | None:
        answer: Answer | None = None
        async with events(stream, place) as found:
            async for event in found:
                answer = event if isinstance(event, Answer) else None
        return answer

    return await while_there(request, read)


async def while_there(request: Request, work: Callable[[], Awaitable[Item]]) -> Item | None:
    """What some work gives; None where whoever asked is gone, which ends the work."""
    found: Item | None = None

    async def leave_with_the_reader(scope: anyio.CancelScope) -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass
        scope.cancel()

    failure: Exception | None = None
    async with anyio.create_task_group() as group:
        group.start_soon(leave_with_the_reader, group.cancel_scope)
        try:
            found = await work()
        except Exception as error:  # raised below, since a task group would wrap it
            failure = error
        group.cancel_scope.cancel()
    if failure is not None:
        raise failure
    return found


def sse(stream: Stream[Event], place: Place | None = None) -> EventSourceResponse:
    """A stream as server-sent events: `hits`, `sentence`, `dropped`, `done`; `error` where it breaks off."""
    stopping = anyio.Event()

    async def lines() -> AsyncIterator[ServerSentEvent]:
        try:
            async with events(stream, place, stopping.wait) as found:
                async for event in found:
                    name, value = event_json(event)
                    yield _event(name, value)
        except RagError as error:
            yield _event("error", {"detail": str(error), "retry": error.retry})
        except Exception:
            _log.exception("a stream failed")
            yield _event("error", {"detail": "something went wrong here; the server's log has it", "retry": False})

    return event_source(lines(), stopping)


CLOSING = """<p class="problem" role="alert">{}</p></div></main></body></html>"""
"""How a page ends that cannot be finished."""
SILENCE = "<!--silence-->"


def html(stream: Stream[str], place: Place | None = None) -> StreamingResponse:
    """A page that is sent piece by piece, as it is made; a comment keeps the connection open meanwhile."""

    async def pieces() -> AsyncIterator[bytes]:
        try:
            async with events(stream, place, _server_stops, SILENCE) as found:
                async for piece in found:
                    yield piece.encode("utf-8", "replace")
        except RagError as error:
            yield CLOSING.format(escape(str(error))).encode("utf-8", "replace")
        except Exception:
            _log.exception("a page failed")
            yield CLOSING.format("Something went wrong here; the server's log says more.").encode()

    # Kept for the way back to it; a proxy is not to hold its pieces together.
    headers = {"cache-control": "private, no-cache", "x-accel-buffering": "no"}
    return StreamingResponse(pieces(), media_type="text/html", headers=headers)


async def _server_stops() -> None:
    while not AppStatus.should_exit:
        await anyio.sleep(0.5)


def event_source(lines: AsyncIterator[ServerSentEvent], stopping: anyio.Event) -> EventSourceResponse:
    """Lines as a response that is kept open while it is silent; `stopping` is set when the server stops."""
    return EventSourceResponse(
        lines,
        ping=HEARTBEAT,
        send_timeout=SEND_TIMEOUT,
        headers={"cache-control": "no-store"},
        sep="\n",
        shutdown_event=stopping,
        shutdown_grace_period=GRACE + 2,
    )


def _event(name: str, value: object) -> ServerSentEvent:
    # In ASCII, so that no reader takes a character of the corpus for a line break.
    return ServerSentEvent(json.dumps(value), event=name, sep="\n")
