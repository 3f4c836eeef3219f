"""Questions in the shape of OpenAI's chat completions, for clients that speak it; every error in that shape too.

What is answered stays what it is elsewhere: the corpus alone. The protocol's ways of steering a model have no effect.
"""

from __future__ import annotations

import json
import logging
import time
import uuid
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Literal

import anyio
from fastapi import APIRouter, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema
from pydantic_core import PydanticCustomError
from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.exceptions import HTTPException
from starlette.types import Receive, Scope, Send

from rag.errors import Busy, IndexUnusable, NotFound, QuestionError, UserError
from rag.records import Answer, AnswerSentence, Event, Found, Turn
from rag.search.query import MAX_CHARS, understand
from rag.serve import markdown
from rag.serve.admission import Admission, Place
from rag.serve.models import PROBLEM
from rag.serve.requests import MAX_ANSWER, MAX_TURNS
from rag.serve.state import State
from rag.serve.streaming import Stream, event_source, events, last, while_there
from rag.wire import answer_json, cited

if TYPE_CHECKING:
    from rag.assemble import Service

MAX_MESSAGES = 500
"""Messages of a request."""
MAX_PARTS = 100
"""Parts of a message."""
MAX_TEXT = 200_000
"""Characters of a message; a question is shorter, see `rag.search.query.MAX_CHARS`."""
Generating = Literal["extractive", "llm"]

_MODELS: dict[str, Generating | None] = {
    "podcast-rag": None,
    "podcast-rag-extractive": "extractive",
    "podcast-rag-llm": "llm",
}
_log = logging.getLogger("rag.serve")


# What is asked


def _text(value: object) -> object:
    """A message's content as one text. Raises PydanticCustomError for a part that is none."""
    if not isinstance(value, list):
        return "" if value is None else value
    if len(value) > MAX_PARTS:
        raise PydanticCustomError("parts", f"a message has at most {MAX_PARTS} parts, not {len(value)}")
    for part in value:
        kind = part.get("type") if isinstance(part, dict) else None
        if kind != "text":
            raise PydanticCustomError("part", "only parts of type 'text' are taken; this service reads no other")
        if not isinstance(part.get("text"), str):
            raise PydanticCustomError("part", "a part of type 'text' has a string 'text'")
    return "\n".join(part["text"] for part in value)


def _one(n: int) -> int:
    if n != 1:
        raise PydanticCustomError("n", "a question has one answer here; leave n out, or send 1")
    return n


_PART_SCHEMA = {
    "type": "object",
    "properties": {"type": {"const": "text"}, "text": {"type": "string"}},
    "required": ["type", "text"],
}
_CONTENT_SCHEMA = {
    "anyOf": [
        {"type": "string", "maxLength": MAX_TEXT},
        {"type": "array", "items": _PART_SCHEMA, "maxItems": MAX_PARTS},
        {"type": "null"},
    ]
}
_Content = Annotated[str, BeforeValidator(_text), Field(max_length=MAX_TEXT), WithJsonSchema(_CONTENT_SCHEMA)]


class _In(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class MessageIn(_In):
    """A message: those of users and assistants are the conversation, all others are taken and not read."""

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: _Content = ""


class StreamOptionsIn(_In):
    """Whether a stream says at its end how many tokens it had."""

    include_usage: Annotated[bool, Field(strict=True)] | None = False


class CompletionIn(_In):
    """A conversation whose last user message is the question; what else the protocol has is taken without effect."""

    model: Annotated[str, Field(min_length=1, max_length=200)]
    messages: Annotated[tuple[MessageIn, ...], Field(min_length=1, max_length=MAX_MESSAGES)]
    stream: Annotated[bool, Field(strict=True)] | None = False
    stream_options: StreamOptionsIn | None = None
    n: Annotated[int, Field(strict=True), AfterValidator(_one), WithJsonSchema({"const": 1})] | None = 1

    def conversation(self) -> tuple[str, tuple[Turn, ...]]:
        """The question, and the turns before it. Raises QuestionError."""
        asked = [at for at, message in enumerate(self.messages) if message.role == "user"]
        if not asked:
            raise QuestionError("no message is a user's; the last one of those is the question")
        return self.messages[asked[-1]].content, _turns(self.messages[: asked[-1]])


def _turns(messages: Sequence[MessageIn]) -> tuple[Turn, ...]:
    """The last MAX_TURNS questions with what was said to each; one that is no question is left out."""
    turns: list[tuple[str, list[str]]] = []
    for message in messages:
        if message.role == "user":
            turns.append((" ".join(message.content.split()), []))
        elif message.role == "assistant" and turns:
            turns[-1][1].append(markdown.said(message.content))
    kept = [
        Turn(question, "\n\n".join(filter(None, answers))[:MAX_ANSWER])
        for question, answers in turns
        if 0 < len(question) <= MAX_CHARS
    ]
    return tuple(kept[-MAX_TURNS:])


# The protocol's objects


@dataclass(frozen=True)
class _Reply:
    """What the objects of one answer share."""

    asked: CompletionIn
    id: str = field(default_factory=lambda: f"chatcmpl-{uuid.uuid4().hex}")
    created: int = field(default_factory=lambda: int(time.time()))

    def completion(self, answer: Answer) -> dict[str, Any]:
        """The whole answer."""
        text = markdown.content(answer)
        message = {
            "role": "assistant",
            "content": text,
            "refusal": None,
            "annotations": markdown.url_citations(answer, text),
        }
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
        return self._object("chat.completion", [choice]) | {"usage": self._usage(text), "rag": answer_json(answer)}

    def chunks(self, event: Event, first: bool) -> Iterator[dict[str, Any]]:
        """What an event adds to a stream; `first` says that no sentence was before it."""
        if isinstance(event, Found) and event.standalone:
            yield self.piece({"content": markdown.begin(event.standalone)})
        elif isinstance(event, AnswerSentence):
            yield self.piece({"content": ("" if first else " ") + markdown.shown(cited(event))})
        elif isinstance(event, Answer):
            if rest := markdown.end(event):
                yield self.piece({"content": rest})
            yield self.piece({}, "stop") | {"rag": answer_json(event)}
            if self._with_usage:
                yield self._chunk([]) | {"usage": self._usage(markdown.content(event))}

    def piece(self, delta: dict[str, str], finish: Literal["stop"] | None = None) -> dict[str, Any]:
        """One chunk of a stream."""
        return self._chunk([{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}])

    def _chunk(self, choices: list[dict[str, Any]]) -> dict[str, Any]:
        return self._object("chat.completion.chunk", choices) | ({"usage": None} if self._with_usage else {})

    def _object(self, kind: str, choices: list[dict[str, Any]]) -> dict[str, Any]:
        named = {"id": self.id, "object": kind, "created": self.created, "model": self.asked.model}
        return named | {"choices": choices}

    @property
    def _with_usage(self) -> bool:
        return bool(self.asked.stream_options and self.asked.stream_options.include_usage)

    def _usage(self, content: str) -> dict[str, int]:
        """Tokens, estimated at four characters each."""
        told = -(-sum(len(message.content) for message in self.asked.messages) // 4)
        said = -(-len(content) // 4)
        return {"prompt_tokens": told, "completion_tokens": said, "total_tokens": told + said}


# What is refused


class ErrorDetailOut(BaseModel):
    """What went wrong, and which field of the request it is about."""

    message: str
    type: Literal["invalid_request_error", "server_error"]
    param: str | None
    code: str | None


class ErrorOut(BaseModel):
    """An error in OpenAI's shape."""

    error: ErrorDetailOut


class _Refused(Exception):
    def __init__(
        self,
        status: int,
        message: str,
        param: str | None = None,
        code: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        kind = "invalid_request_error" if status < 500 else "server_error"
        self.value = {"error": {"message": message, "type": kind, "param": param, "code": code}}
        self.status, self.headers = status, headers


def _refused(error: Exception) -> _Refused:
    """Any error as one that may be shown; what nobody foresaw goes to the log and shows nothing of itself."""
    if isinstance(error, _Refused):
        return error
    if isinstance(error, RequestValidationError):
        return _invalid(error)
    if isinstance(error, HTTPException):
        return _Refused(error.status_code, str(error.detail), headers=dict(error.headers or {}))
    if isinstance(error, UserError):
        param = "messages" if isinstance(error, QuestionError) else None
        return _Refused(404 if isinstance(error, NotFound) else 400, str(error), param)
    if isinstance(error, IndexUnusable):
        return _Refused(503, str(error), headers={"retry-after": "1"} if error.retry else None)
    if isinstance(error, Busy):
        return _Refused(503, str(error), headers={"retry-after": "1"})
    _log.error("a chat completion failed", exc_info=error)
    return _Refused(500, "something went wrong here; the server's log has it")


def _invalid(error: RequestValidationError) -> _Refused:
    first = error.errors()[0]
    if first["type"] == "json_invalid":
        return _Refused(400, "the body is not JSON")
    field = ".".join(map(str, first["loc"][1:]))
    return _Refused(400, f"{field}: {first['msg']}" if field else str(first["msg"]), field or None)


class _Route(APIRoute):
    """A route whose errors are in OpenAI's shape, wherever the application's own have another."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """What answers a request."""
        answer = super().get_route_handler()

        async def handler(request: Request) -> Response:
            try:
                return await answer(request)
            except Exception as error:
                return _refusal(error)

        return handler

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request; another method than the route's is refused here."""
        try:
            await super().handle(scope, receive, send)
        except HTTPException as error:
            await _refusal(error)(scope, receive, send)


def _refusal(error: Exception) -> Response:
    refused = _refused(error)
    return Response(json.dumps(refused.value), refused.status, refused.headers, media_type="application/json")


# The routes


def router(state: State, admission: Admission) -> APIRouter:
    """The routes below /v1/models and /v1/chat/completions; `admission` has their places.

    A key in the request's headers is not read.
    """
    responses: dict[int | str, dict[str, Any]] = {
        200: {"description": "As OpenAI's, with `rag`: the answer as /v1/ask gives it."},
        # What is refused before a route is reached has the shape that it has everywhere.
        "default": {"model": ErrorOut, "description": "Any error.", "content": PROBLEM},
    }
    routes = APIRouter(route_class=_Route, responses=responses)
    since = int(time.time())

    @routes.get("/v1/models")
    async def models() -> Response:
        """List what may answer, in the shape of OpenAI's models."""
        return _json({"object": "list", "data": [_model(name, since) for name in _models(_service(state))]})

    @routes.get("/v1/models/{id:path}")
    async def model(id: str) -> Response:
        """One of what may answer."""
        _generating(_service(state), id)
        return _json(_model(id, since))

    @routes.post("/v1/chat/completions")
    async def complete(body: CompletionIn, request: Request) -> Response:
        """Answer the last user message from the corpus, in the shape of OpenAI's chat completions."""
        service = _service(state)
        generating = _generating(service, body.model)
        drafting = service.drafter(generating) is not None
        stream, reply = _asked(service, body, generating), _Reply(body)
        place = admission.place(request, drafting)
        if body.stream:
            return _sse(reply, stream, place)
        gone = Response(status_code=499)  # nobody is there to read it
        if not drafting:
            return await while_there(request, lambda: place.run(_ask, reply, stream)) or gone
        answer = await last(stream, request, place)
        return _json(reply.completion(answer)) if answer else gone

    return routes


def _service(state: State) -> Service:
    loading = state.opened is None and state.failed is None
    try:
        return state.service()
    except IndexUnusable as error:
        raise _Refused(503, str(error), headers={"retry-after": "1"} if loading or error.retry else None) from error


def _models(service: Service) -> list[str]:
    return [name for name, generating in _MODELS.items() if generating != "llm" or service.generator is not None]


def _model(name: str, since: int) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": since, "owned_by": "podcast-rag"}


def _generating(service: Service, model: str) -> Generating | None:
    """Whose words a model's name asks for; None leaves it to the server's settings."""
    names = _models(service)
    if model not in names:
        message = f"the model {model[:200]!r} does not exist here; there are {', '.join(names)}"
        raise _Refused(404, message, "model", "model_not_found")
    return _MODELS[model]


def _asked(service: Service, body: CompletionIn, generating: Generating | None) -> Stream[Event]:
    """What answers a request, once it is known to be one that can be. Raises UserError and QuestionError."""
    question, turns = body.conversation()
    understand(question, service.library.episodes())
    drafter = service.drafter(generating)
    return partial(service.answerer.stream, question, service.k, history=turns, generator=drafter)


def _ask(reply: _Reply, stream: Stream[Event]) -> Response:
    return _json(reply.completion(next(event for event in stream() if isinstance(event, Answer))))


def _sse(reply: _Reply, stream: Stream[Event], place: Place) -> EventSourceResponse:
    """A stream as the protocol's chunks, a sentence each; an error ends it, and then it has no `[DONE]`."""
    stopping = anyio.Event()

    async def lines() -> AsyncIterator[ServerSentEvent]:
        yield _event(reply.piece({"role": "assistant", "content": ""}))
        first = True
        try:
            async with events(stream, place, stopping.wait) as found:
                async for event in found:
                    for chunk in reply.chunks(event, first):
                        yield _event(chunk)
                    first = first and not isinstance(event, AnswerSentence)
        except Exception as error:
            yield _event(_refused(error).value)
        else:
            yield ServerSentEvent("[DONE]", sep="\n")

    return event_source(lines(), stopping)


def _event(value: object) -> ServerSentEvent:
    # In ASCII, so that no reader takes a character of the corpus for a line break.
    return ServerSentEvent(json.dumps(value), sep="\n")


def _json(value: object) -> Response:
    # A lone surrogate, which a corpus may hold, has no UTF-8.
    return Response(json.dumps(value, ensure_ascii=False).encode("utf-8", "replace"), media_type="application/json")
