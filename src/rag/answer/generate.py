"""A language model behind an endpoint that speaks OpenAI's protocol."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from concurrent.futures import Future, InvalidStateError, ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from queue import Empty, SimpleQueue
from threading import Lock, Thread
from time import monotonic
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit

from rag.errors import BackendFailed, UserError

if TYPE_CHECKING:
    import ssl

    import httpx2
    import openai

    from rag.records import Message

_POLL = 0.1  # seconds between two looks at `stop()`
_GRACE = 0.5  # seconds that the writing thread has to see its own deadline, or to end once it is told to
_CONNECT = 5.0  # seconds for one attempt to connect
_CHARACTERS = 250_000  # the longest draft
_A_TOKEN = 64  # characters that a token of a draft may have, on average
_RESPONSE = 16 * 2**20  # bytes of one response: the longest draft, a character an event, fits several times
_EVENT = 256 * 2**10  # bytes between two blank lines of a response, which the client holds until the second one
_REFUSAL = 64 * 2**10  # bytes read of a response that is an error
_BLANK = (b"\n\n", b"\r\n\r\n", b"\r\r")
_SENT = ("host", "accept", "content-type", "content-length", "transfer-encoding")
_BREAKS_OFF = "the language model's endpoint broke off"
_NO_FORM = "the language model's endpoint did not answer in OpenAI's form"
_TOO_MUCH = "the language model's endpoint sent more than it was asked for"
_WORD_SPACE = re.compile(r"(?<=\S) (?=[A-Za-z])")
_LETTERS = re.compile(r"[a-z]+")


class OpenAIGenerator:
    """A model of Ollama, vLLM, llama.cpp, LM Studio or a hosted service.

    `context` is in tokens. `timeout` is in seconds and bounds a whole draft, with its `retries`, which happen only
    before the endpoint has begun to answer. Nothing but `base_url` is contacted: no redirect is followed, no proxy
    used, and no environment variable of the client's is looked at. Raises UserError where the client is not installed.
    """

    def __init__(
        self,
        base_url: str,
        model: str,
        api_key: str | None,
        context: int = 4096,
        timeout: float = 60,
        retries: int = 2,
    ) -> None:
        try:
            import httpx2
            import openai  # noqa: F401 -- 0.5 s, better paid here than within a draft's time
        except ImportError:
            raise UserError(
                "a language model's endpoint needs the package openai, which is not installed; "
                "install it with: pip install 'podcast-rag[llm]'"
            ) from None
        self.name, self.context = model, context
        self._base_url, self._key = _address(base_url), _key(api_key)
        self._timeout, self._retries = timeout, retries
        # Made once, as it reads every certificate of the machine; plain http has no use for one.
        self._verify = httpx2.create_ssl_context() if urlsplit(base_url).scheme == "https" else False
        self._limit, self._values = "max_tokens", {"temperature": 0}
        # At DEBUG and INFO they print addresses and all that an endpoint sends, which may be the key it was sent.
        for name in ("openai", "httpx2", "httpcore2"):
            logging.getLogger(name).setLevel(logging.WARNING)

    def tokens(self, text: str) -> int:
        """An estimate, as the endpoint's tokenizer is not known: about 1.7 times what a small model's finds in prose.

        A run of lower-case letters a-z counts a token for every three and the rest of it, the space before a word
        none, and all else one for each byte of its UTF-8, because tokenizers write a digit, a rare sign or a letter of
        another script with up to one token a byte. Only made-up words of lower-case letters may have more.
        """
        words = sum(-(-len(run) // 3) for run in _LETTERS.findall(text))
        return words + len(_LETTERS.sub("", _WORD_SPACE.sub("", text)).encode(errors="replace"))

    def stream(self, messages: Sequence[Message], limit: int, stop: Callable[[], bool]) -> _Draft:
        """As the port says; the request is made when the first piece is asked for.

        The draft is written by a thread of its own, so `close` and `stop` end the connection at once, whatever the
        endpoint does. Temperature 0. A model that refuses `max_tokens` or a temperature is asked once more without.
        """
        told = [{"role": message.role, "content": _clean(message.content)} for message in messages]

        async def write(put: Callable[[str], None]) -> str | None:
            try:
                await self._write(told, limit, put)
            except Exception as error:  # whatever the endpoint made of the client
                return self._reason(error)
            return None

        return _Draft(write, self._timeout, self._took, stop)

    @property
    def _took(self) -> str:
        return f"the language model took more than {self._timeout:g} s"

    async def _write(self, told: list[Any], limit: int, put: Callable[[str], None]) -> None:
        import httpx2
        import openai

        async with asyncio.timeout(self._timeout):
            transport = _transport(self._key, self._verify, monotonic() + self._timeout)
            # Empty values and not None, in whose place the client reads OPENAI_… variables. The transport sends the
            # key, and drops the headers that OPENAI_CUSTOM_HEADERS would add.
            client = openai.AsyncOpenAI(
                base_url=self._base_url,
                api_key="-",
                admin_api_key="",
                organization="",
                project="",
                webhook_secret="",
                max_retries=self._retries,
                timeout=httpx2.Timeout(self._timeout, connect=min(_CONNECT, self._timeout)),
                http_client=httpx2.AsyncClient(transport=transport, follow_redirects=False, trust_env=False),
            )
            async with client, await self._asked(client, told, limit) as chunks:
                await _read(chunks, min(_CHARACTERS, limit * _A_TOKEN), put)

    async def _asked(self, client: openai.AsyncOpenAI, told: list[Any], limit: int) -> Any:
        """The stream of chunks, asked for as the model takes it; what it refused is remembered for the next draft."""
        import openai

        while True:
            values: dict[str, Any] = {self._limit: limit, **self._values}
            try:
                return await client.chat.completions.create(model=self.name, messages=told, stream=True, **values)
            except openai.BadRequestError as error:
                said = str(error.body)
                if "max_completion_tokens" in said and self._limit != "max_completion_tokens":
                    self._limit = "max_completion_tokens"
                elif "temperature" in said and self._values:
                    self._values = {}
                else:
                    raise

    def _reason(self, error: Exception) -> str:
        """What failed, in our words: an endpoint's own may hold anything."""
        import httpx2
        import openai

        if isinstance(error, BackendFailed):
            return str(error)
        if isinstance(error, TimeoutError):
            return self._took
        if isinstance(error, openai.APIStatusError):
            mends = {401: "; check RAG_LLM_API_KEY", 404: "; check RAG_LLM_BASE_URL and RAG_LLM_MODEL"}
            return f"the language model's endpoint answered HTTP {error.status_code}{mends.get(error.status_code, '')}"
        if isinstance(error, openai.APIConnectionError):
            unreached = isinstance(error.__cause__, httpx2.ConnectError | httpx2.ConnectTimeout)
            return "the language model's endpoint cannot be reached" if unreached else _BREAKS_OFF
        if isinstance(error, openai.APIError):
            return "the language model's endpoint reported an error"
        return _NO_FORM


class _Draft:
    """Pieces that a thread of their own writes, whose event loop can be told to let go of the connection.

    `write` puts them and returns what failed. It is a text, as an exception would carry the request, and so the key.
    """

    def __init__(
        self,
        write: Callable[[Callable[[str], None]], Coroutine[Any, Any, str | None]],
        timeout: float,
        took: str,
        stop: Callable[[], bool],
    ) -> None:
        self._write, self._timeout, self._took, self._stop = write, timeout, took, stop
        self._queue: SimpleQueue[str | BackendFailed | None] = SimpleQueue()
        self._lock = Lock()
        self._closed = False
        self._cancel: Callable[[], object] | None = None
        self._thread: Thread | None = None
        self._until = 0.0

    def __iter__(self) -> _Draft:
        return self

    def __next__(self) -> str:
        if self._thread is None and not self._closed and not self._stop():
            self._until = monotonic() + self._timeout + _GRACE
            self._thread = Thread(target=asyncio.run, args=(self._run(),), name="draft", daemon=True)
            self._thread.start()
        while not self._closed and not self._stop():
            try:
                piece = self._queue.get(timeout=_POLL)
            except Empty:
                if monotonic() < self._until:
                    continue
                piece = BackendFailed(self._took)  # it hangs where it cannot be cancelled, as in the lookup of a name
            if isinstance(piece, str):
                return piece
            self.close()
            if piece is not None:
                raise piece
        self.close()
        raise StopIteration

    def close(self) -> None:
        """End the draft and its connection; from any thread, and once more does nothing."""
        with self._lock:
            self._closed = True
            cancel, self._cancel = self._cancel, None
        if cancel is not None:
            with suppress(RuntimeError):  # the loop has ended meanwhile
                cancel()
        if self._thread is not None:
            self._thread.join(_GRACE)

    async def _run(self) -> None:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        loop.set_default_executor(_Lookups(max_workers=1))
        with self._lock:
            if self._closed or task is None:
                return
            self._cancel = lambda: loop.call_soon_threadsafe(task.cancel)
        with suppress(asyncio.CancelledError):  # closed: nobody reads on
            failed = await self._write(self._queue.put)
            self._queue.put(BackendFailed(failed) if failed else None)


class _Lookups(ThreadPoolExecutor):
    """Each call in a thread that nothing waits for: the lookup of a name may hang, and would keep the process alive."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Begin a call."""
        future: Future[Any] = Future()

        def run() -> None:
            try:
                found, failed = fn(*args, **kwargs), None
            except BaseException as error:
                found, failed = None, error
            with suppress(InvalidStateError):  # cancelled meanwhile
                future.set_exception(failed) if failed else future.set_result(found)

        Thread(target=run, name="lookup", daemon=True).start()
        return future


async def _read(chunks: AsyncIterator[object], most: int, put: Callable[[str], None]) -> None:
    """Put each piece, `most` characters in all. The client checks nothing it parses, so all is looked at here."""
    written, any_chunk, finished = 0, False, False
    async for chunk in chunks:
        any_chunk = True
        choices = getattr(chunk, "choices", None)
        if choices == []:
            continue  # a report of usage
        if not isinstance(choices, list):
            raise BackendFailed(_NO_FORM)
        content = getattr(getattr(choices[0], "delta", None), "content", None)
        if content is not None and not isinstance(content, str):
            raise BackendFailed(_NO_FORM)
        if content:
            written += len(content)
            if written > most:
                raise BackendFailed(_TOO_MUCH)
            put(_clean(content))
        finished |= getattr(choices[0], "finish_reason", None) is not None
    if not finished:
        raise BackendFailed(_BREAKS_OFF if any_chunk else _NO_FORM)


def _transport(key: str | None, verify: ssl.SSLContext | bool, until: float) -> httpx2.AsyncBaseTransport:
    """A transport that sends no header but ours, and reads no more than a draft can need.

    The client's decoder holds a line, and an event, however long they are, and decompresses without limit.
    """
    import httpx2

    class Bounded(httpx2.AsyncByteStream):
        def __init__(self, inner: httpx2.AsyncByteStream, refusal: bool) -> None:
            self._inner, self._refusal = inner, refusal

        async def __aiter__(self) -> AsyncIterator[bytes]:
            read = event = 0
            before = b""
            async for part in self._inner:
                read += len(part)
                if self._refusal and read > _REFUSAL:
                    return
                seen = before + part
                end = max(map(seen.rfind, _BLANK))
                event = event + len(part) if end < 0 else len(seen) - end
                before = seen[-3:]
                if read > _RESPONSE or event > _EVENT:
                    raise BackendFailed(_TOO_MUCH)
                yield part

        async def aclose(self) -> None:
            await self._inner.aclose()

    class Guarded(httpx2.AsyncHTTPTransport):
        async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
            headers = {name: request.headers[name] for name in _SENT if name in request.headers}
            headers |= {"user-agent": "podcast-rag", "accept-encoding": "identity", "connection": "close"}
            if key:
                headers["authorization"] = f"Bearer {key}"
            request.headers = httpx2.Headers(headers)
            response = await super().handle_async_request(request)
            if response.headers.get("content-encoding", "identity") != "identity":
                await response.aclose()
                raise BackendFailed(_NO_FORM)
            if _asks_to_wait(response.headers) > until - monotonic():
                response.headers["x-should-retry"] = "false"  # the client obeys; it would sleep through the deadline
            inner = cast("httpx2.AsyncByteStream", response.stream)
            response.stream = Bounded(inner, refusal=response.status_code != 200)
            return response

    return Guarded(verify=verify, trust_env=False)


def _asks_to_wait(headers: Mapping[str, str]) -> float:
    """The seconds of Retry-After, 0 where it is not given."""
    value = headers.get("retry-after", "0")
    with suppress(ValueError):
        return float(headers.get("retry-after-ms", "")) / 1000
    with suppress(ValueError):
        return float(value)
    with suppress(ValueError, TypeError, OverflowError):
        return (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds()
    return 0


def _address(base_url: str) -> str:
    """The address, which must hold no secret: it may be printed."""
    try:
        parts = urlsplit(base_url)
        named, whole = parts.username or parts.password, parts.scheme in ("http", "https") and parts.hostname
    except ValueError:
        named = whole = None
    if not whole:
        raise UserError("the language model's base_url is no http address; write it as http://127.0.0.1:11434/v1")
    if named:
        raise UserError("the language model's base_url holds a name or password; give a key as RAG_LLM_API_KEY")
    return base_url


def _key(api_key: str | None) -> str | None:
    key = (api_key or "").strip()
    if not re.fullmatch(r"[!-~]*", key):
        raise UserError("the language model's key has a space or a letter that a header cannot hold; copy it once more")
    return key or None


def _clean(text: str) -> str:
    """The text with halves of surrogate pairs joined, and what is left of them replaced: UTF-8 cannot hold them."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
