"""Which generation serves, and who is building the next one."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

from rag.errors import IndexBusy, IndexUnusable
from rag.index.encode import EncoderCard
from rag.index.milvus.client import Engine, quietly
from rag.index.milvus.tables import FORMAT, META, Lineage, create
from rag.index.store import Manifest

LEASE = 60.0
"""Seconds after which a builder on another machine that was not heard of is taken for dead."""
_CURRENT, _LOCK = "current", "lock"


@dataclass(frozen=True, slots=True)
class Published:
    """A generation: its number, where it is, what it was built from, and how many rows each table has of it.

    `average` is how many terms a passage has in the mean, by which their weights were made. `asked` says whether any
    passage is said to answer a question.
    """

    number: int
    lineage: str
    manifest: Manifest
    average: float
    asked: bool
    rows: Mapping[str, int] = field(default_factory=dict)
    format: int = FORMAT


class Generations:
    """The one row that says which generation serves; a reader sees the old one or the new."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._collection = f"{engine.address.prefix}_{META}"
        self._token: object = None

    def current(self) -> Published | None:
        """The generation that serves, None where there is none. Raises IndexUnusable."""
        content = self._read(_CURRENT)
        if content is None:
            return None
        where = f"Milvus at {self._engine.address.uri}, {self._collection}:"
        try:
            values = json.loads(content)
            if values["format"] != FORMAT:
                raise IndexUnusable(
                    f"{where} format {values['format']}, this version reads {FORMAT}; build it with `rag index`"
                )
            manifest = values.pop("manifest")
            card = EncoderCard(**manifest.pop("encoder"))
            return Published(**values, manifest=Manifest(**manifest, encoder=card))
        except (ValueError, TypeError, KeyError) as error:
            raise IndexUnusable(f"{where} cannot be read ({error}); build it with `rag index`") from error

    def serving(self) -> Published:
        """The generation that serves. Raises IndexUnusable where there is none."""
        found = self.current()
        if found is None:
            where = f"Milvus at {self._engine.address.uri} holds no index named {self._engine.address.prefix}"
            raise IndexUnusable(f"{where}; build it with `rag index`")
        return found

    def lineage(self, name: str) -> Lineage:
        """The collections of a lineage."""
        return Lineage(self._engine, name)

    def check(self, published: Published) -> None:
        """Count the rows of a generation. Raises IndexUnusable where some are missing."""
        lineage = self.lineage(published.lineage)
        for table, wanted in published.rows.items():
            found = lineage.count(table, published.number)
            if found != wanted:
                raise IndexUnusable(
                    f"{lineage.collection(table)} has {found} rows, wanted {wanted}; mend it with `rag index`"
                )

    def reach(self) -> None:
        """Ask for a sign of life. Raises IndexAway."""
        self._engine.call("has_collection", self._collection)

    def token(self) -> object:
        """Another one whenever another generation serves; the last one that was seen while Milvus is away."""
        quietly(self._look)
        return self._token

    def _look(self) -> None:
        self._token = self._read(_CURRENT)

    @contextmanager
    def building(self, folder: Path) -> Iterator[Builder]:
        """While no one else may build. Raises IndexBusy where somebody does.

        `folder` is this machine's index folder; its lock tells a build here that was killed from one that goes on.
        """
        from filelock import FileLock, Timeout

        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / ".milvus-lock", timeout=0)
        try:
            lock.acquire()
        except Timeout as error:
            raise IndexBusy("another build is writing the index; wait until it ends, then run it again") from error
        try:
            fields: dict[str, str | int] = {"content": "name", "unused": 2}
            create(self._engine, self._collection, fields, "FLAT")
            builder = Builder(self, f"{socket.gethostname()}:{folder.absolute()}")
            builder.hold(taking=True)
            try:
                yield builder
            finally:
                quietly(lambda: self._engine.call("delete", self._collection, ids=[_LOCK]))
        finally:
            lock.release()

    def _read(self, key: str) -> str | None:
        if not self._engine.call("has_collection", self._collection):
            return None
        found = self._engine.call(
            "query",
            self._collection,
            filter=f'key in ["{key}"]',
            output_fields=["content"],
            consistency_level="Strong",
        )
        return str(found[0]["content"]) if found else None

    def _write(self, key: str, content: str) -> None:
        self._engine.call("upsert", self._collection, [{"key": key, "content": content, "unused": [0.0, 0.0]}])


class Builder:
    """Who may build now."""

    def __init__(self, generations: Generations, name: str) -> None:
        self._generations, self._name, self._until = generations, name, 0.0

    def hold(self, *, taking: bool = False) -> None:
        """Go on building, or begin to. Raises IndexBusy where somebody else does by now."""
        now = time.time()
        if not taking and now < self._until - LEASE / 2:
            return
        held = json.loads(self._generations._read(_LOCK) or "{}")
        free = taking and held.get("until", 0) < now
        if not free and held.get("name") != self._name:
            raise IndexBusy(f"{held.get('name', 'nobody')} is writing the index; wait until it ends, then run it again")
        self._until = now + LEASE
        self._generations._write(_LOCK, json.dumps({"name": self._name, "until": self._until}))

    def publish(self, published: Published) -> None:
        """Let a generation serve. Raises IndexUnusable where not all of its rows are there, and IndexBusy."""
        self.hold()
        self._generations.check(published)
        self._generations._write(_CURRENT, json.dumps(asdict(published)))
