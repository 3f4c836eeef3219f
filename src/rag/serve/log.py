"""The server's log: a line an event on stderr, each with the ID of the request that it belongs to.

No line holds what was asked. An error's message may repeat it, so of an error within a request only its kinds and
places are told, unless questions are to be logged.
"""

from __future__ import annotations

import json
import logging
import sys
import traceback
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Literal
from urllib.parse import quote

Format = Literal["json", "text"]

REQUEST: ContextVar[str | None] = ContextVar("rag_request", default=None)
"""The ID of the request under way; threads that work for it have it too."""
FIELDS = ("route", "method", "status", "milliseconds", "query", "body")
"""What a line may hold beside its message, each given as `extra`."""
_FRAMES = 50  # the innermost of an error


def configure(format: Format, questions: bool = False) -> None:
    """From now on this process writes its log to stderr in that format."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Lines(format, questions))
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    for name in ("rag", "uvicorn"):
        logging.getLogger(name).setLevel(logging.INFO)
    logging.captureWarnings(True)


def path_of(path: str) -> str:
    """A path as one word of a line.

    >>> path_of("/v1/documents/a {}")
    '/v1/documents/a%20%7B%7D'
    """
    return quote(path, safe="/:@!$&'()*+,;=~", errors="replace")


class Lines(logging.Formatter):
    """A record as a JSON object, or as text; with `questions`, errors come whole."""

    def __init__(self, format: Format, questions: bool = False) -> None:
        super().__init__()
        self._write = _as_json if format == "json" else _as_text
        self._questions = questions

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        request_id = REQUEST.get()
        values: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if request_id is not None:
            values["request_id"] = request_id
        values |= {name: found for name in FIELDS if (found := getattr(record, name, None)) is not None}
        if record.exc_info and record.exc_info[1] is not None:
            # Outside a request nobody has asked anything; what a library says there is not ours to vouch for.
            whole = self._questions or (request_id is None and record.name.partition(".")[0] == "rag")
            values["exception"] = "\n".join(_told(record.exc_info[1], whole, set()))
        return self._write(values)


def _told(error: BaseException, whole: bool, seen: set[int]) -> list[str]:
    """An error's kind and places; its message where `whole`."""
    if whole:
        return "".join(traceback.format_exception(error)).rstrip().split("\n")
    if id(error) in seen:
        return []
    seen.add(id(error))
    earlier = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    lines = [*_told(earlier, whole, seen), "which led to:"] if earlier else []
    lines += "".join(traceback.format_tb(error.__traceback__, -_FRAMES)).rstrip().split("\n")
    lines.append(f"{type(error).__module__}.{type(error).__qualname__}".removeprefix("builtins."))
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            lines += (f"  {line}" for line in _told(inner, whole, seen))
    return lines


def _as_json(values: dict[str, object]) -> str:
    return json.dumps(values)  # in ASCII, so that no character of a message breaks the line


def _as_text(values: dict[str, object]) -> str:
    told = values.copy()
    exception = str(told.pop("exception", ""))
    head = [str(told.pop(name)) for name in ("time", "level", "logger", "message")]
    more = [f"{name}={value}" for name, value in told.items()]
    return "\n  ".join(map(_plain, [" ".join([*head, *more]), *exception.splitlines()]))


def _plain(line: str) -> str:
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in line)
