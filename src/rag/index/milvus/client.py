"""Calls to Milvus that end in bounded time, and what their failures mean."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rag.errors import IndexAway, IndexUnusable, IndexUnwritable, SettingsError

_log = logging.getLogger("rag.index")
AGAIN = 1.0
"""Seconds for which a Milvus that did not answer is not asked again: whoever asks meanwhile is told at once."""
BATCH = 10_000
"""Rows that are read at once by who reads them all."""
_NOT_FOUND, _NOT_LOADED, _NO_CONNECTION = 100, 101, 2
_WRITES = ("upsert", "delete")
_SHOWN = 200  # characters of what Milvus says
_CHANNEL = {"grpc.initial_reconnect_backoff_ms": 100, "grpc.max_reconnect_backoff_ms": 1000}
"""By itself gRPC would try again after two minutes, where it was away for some."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where Milvus is, and how to get in.

    `token` is `NAME:PASSWORD` or a key, `timeout` seconds that a call may take, `prefix` begins the name of every
    collection. `ca`, `certificate` and `key` are PEM files, for TLS; so is `https` in the `uri`.
    """

    uri: str
    token: str = field(default="", repr=False)
    database: str = ""
    prefix: str = "rag"
    timeout: float = 5.0
    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    server_name: str | None = None


class Engine:
    """A connection, made by the first call and made again by a later one where it broke.

    Calls raise IndexAway where Milvus does not answer within the timeout; for `patience` seconds they try again before.
    What it refuses to write is IndexUnwritable, what it cannot read IndexUnusable.
    """

    def __init__(self, address: Address, patience: float = 0.0) -> None:
        try:
            import pymilvus
        except ImportError as error:
            raise SettingsError(
                f"the engine milvus needs pymilvus ({error}); install it: pip install 'podcast-rag[milvus]'"
            ) from error
        logging.getLogger("pymilvus").setLevel(logging.CRITICAL)  # it logs each failure with its traceback, many times
        self.address = address
        self._pymilvus, self._patience = pymilvus, patience
        self._client: Any = None
        self._away: tuple[float, str] = (0.0, "")

    def call(self, verb: str, *arguments: Any, **options: Any) -> Any:
        """What a method of pymilvus's MilvusClient gives."""
        return self._patiently(lambda: self._call(verb, *arguments, **options))

    def rows(self, collection: str, where: str, fields: Sequence[str], partition: str | None = None) -> Iterator[Any]:
        """Every row that holds, a batch in memory at a time."""
        options = {"partition_names": [partition]} if partition else {}
        pages = self.call(
            "query_iterator",
            collection,
            batch_size=BATCH,
            filter=where,
            output_fields=list(fields),
            consistency_level="Strong",
            **options,
        )
        try:
            while page := self._patiently(lambda: self._translated("query_iterator", pages.next)):
                yield from page
        finally:
            with suppress(self._pymilvus.MilvusException):
                pages.close()

    def _patiently(self, work: Callable[[], Any]) -> Any:
        until, wait = time.monotonic() + self._patience, 0.1
        while True:
            try:
                return work()
            except IndexAway:
                if time.monotonic() + wait > until:
                    raise
                time.sleep(wait)
                wait = min(2 * wait, AGAIN)

    def _call(self, verb: str, *arguments: Any, **options: Any) -> Any:
        until, why = self._away
        if time.monotonic() < until and not self._patience:
            raise IndexAway(why)

        def work() -> Any:
            return getattr(self._connected(), verb)(*arguments, timeout=self.address.timeout, **options)

        try:
            return self._translated(verb, work)
        except _NotLoaded:  # as after a restart of a Milvus that forgets it
            self._translated(verb, lambda: self._client.load_collection(arguments[0], timeout=self.address.timeout))
            return self._translated(verb, work)

    def _connected(self) -> Any:
        if self._client is None:
            a = self.address
            files = {"ca_pem_path": a.ca, "client_pem_path": a.certificate, "client_key_path": a.key}
            secured: dict[str, Any] = {name: str(path) for name, path in files.items() if path}
            if a.server_name:
                secured["server_name"] = a.server_name
            if secured:
                secured["secure"] = True
            self._client = self._pymilvus.MilvusClient(
                uri=a.uri, token=a.token, db_name=a.database, timeout=a.timeout, grpc_options=_CHANNEL, **secured
            )
        return self._client

    def _translated(self, verb: str, work: Callable[[], Any]) -> Any:
        import grpc

        try:
            found = work()
        except (self._pymilvus.MilvusException, grpc.RpcError, ValueError) as error:
            if isinstance(error, ValueError) and "channel" not in str(error):  # grpc's, of a channel that was closed
                raise
            raise self._meaning(verb, error) from error
        if self._away[0]:
            _log.info("Milvus at %s answers again", self.address.uri)
            self._away = (0.0, "")
        return found

    def _meaning(self, verb: str, error: Exception) -> Exception:
        code = getattr(error, "code", None)
        code = code() if callable(code) else code
        said = " ".join(str(getattr(error, "message", "") or getattr(error, "details", str)() or error).split())[
            :_SHOWN
        ]
        where = self.address.uri
        if code == _NOT_LOADED:
            return _NotLoaded(f"{where}: {said}")
        name = getattr(code, "name", "")
        if name in ("UNAUTHENTICATED", "PERMISSION_DENIED") or "authenti" in said:
            return IndexUnusable(f"Milvus at {where} lets nobody in with this milvus.token ({said}); set another")
        if code == _NOT_FOUND:
            return IndexUnusable(f"Milvus at {where} lacks a part of the index ({said}); build it with `rag index`")
        if code == _NO_CONNECTION or name or "Retry timeout" in said or isinstance(error, ValueError):
            away = f"Milvus at {where} does not answer ({name or said}); see that it runs, then try again"
            if not self._away[0]:
                _log.info("%s", away)
            self._away = (time.monotonic() + AGAIN, away)
            return IndexAway(away)
        if verb in _WRITES or verb.startswith(("create_", "drop_")):
            return IndexUnwritable(
                f"Milvus at {where} does not take what is written ({said}); mend that, and run `rag index` again: it "
                "goes on from where it was, and what served before still serves"
            )
        return IndexAway(f"Milvus at {where} cannot answer now ({said}); try again")


class _NotLoaded(IndexAway):
    """A collection is there and not in memory."""


def quietly(work: Callable[[], object]) -> None:
    """Do what need not succeed: who comes next does it again."""
    with suppress(IndexUnusable, IndexUnwritable):
        work()
