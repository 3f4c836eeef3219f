"""What Milvus holds: six collections, and which of their rows belong to a generation.

PREFIX_meta               the generation that serves, in one row: to publish is to replace it
PREFIX_LINEAGE_passages   a passage a row: its index terms, weighted, and what a filter looks at
PREFIX_LINEAGE_vectors    a vector a row, of a passage, a sentence or a question, each in its partition
PREFIX_LINEAGE_terms      an index term a row, and how many passages hold it
PREFIX_LINEAGE_texts      passages, documents and the list of episodes, as text in parts
PREFIX_LINEAGE_encoder    the encoder's files, as text in parts

A row never changes. It is `born` in the generation that wrote it first, and has `died` in the first one that lacks it:
those in between share it, so that a new generation costs what it changes, and one that is being built is not seen.
A lineage is what has vectors of one encoder; another encoder, or a rebuild, begins another.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from rag.errors import IndexUnusable
from rag.index.encode import text_key
from rag.index.milvus.client import Engine, quietly
from rag.records import Filters

if TYPE_CHECKING:
    from rag.records import Passage

FORMAT = 1
NEVER = 2**62
"""The generation in which a row dies that no generation lacks yet."""
ROWS = 200
"""Rows that are written at once."""
SEALED = 1000
"""Rows written by one build after which Milvus is told to index them; of fewer it waits for more, and scans them."""
MOST = 16_384
"""Rows that Milvus gives at once."""
OWN, SENTENCE, ASKED = "own", "sentence", "asked"
"""Whose vector it is: a passage's own, a sentence's of it, or a question's that it is said to answer."""
META, PASSAGES, VECTORS, TERMS, TEXTS, ENCODER = "meta", "passages", "vectors", "terms", "texts", "encoder"
PARTITIONS = {VECTORS: (OWN, SENTENCE, ASKED)}
_SHARDED = (PASSAGES, VECTORS, TEXTS)
"""The tables that grow with the corpus."""
_LONGEST = 1024
"""Bytes of a name that is filtered by."""
_PATH = 8192
"""Bytes of a passage's id."""
_LENGTHS = {"text": 16, "document": 16, "date": 32, "kind": _LONGEST, "passage": _PATH, "content": 65_535}
"""Bytes of a string; of others 64."""
_READ = ("passage", "content", "part", "parts", "start")
"""What is read and not searched by."""

Row = dict[str, Any]


def hexed(text: str) -> str:
    """The key of a text, as a name."""
    return f"{text_key(text):016x}"


def folded(name: str, longest: int = _LONGEST) -> str:
    r"""A name to filter by, as Milvus can hold it.

    >>> folded("caf\udce9")
    'caf?'
    """
    return name.encode("utf-8", "replace")[:longest].decode("utf-8", "ignore")


def key_of(passage: Passage) -> str:
    """What Milvus calls a passage: its id."""
    return folded(passage.id, _PATH)


def among(field: str, names: Iterable[str]) -> str:
    r"""The expression of a field that holds one of some names. Names are data, whatever stands in them.

    >>> among("kind", ['a "b"'])
    'kind in ["a \\"b\\""]'
    """
    return f"{field} in {json.dumps([*map(folded, names)], ensure_ascii=False)}"


def visible(generation: int) -> str:
    """The expression of what belongs to a generation."""
    return f"born <= {generation} and died > {generation}"


def leaves(filters: Filters, generation: int) -> str:
    """The expression of what belongs to a generation and a filter leaves.

    >>> leaves(Filters(kinds=("review",), until="2026-05-31"), 7)
    'born <= 7 and died > 7 and kind in ["review"] and date != "" and date <= "2026-05-31"'
    """
    parts = [visible(generation)]
    if filters.kinds:
        parts.append(among("kind", filters.kinds))
    for field, names in (("topics", [t.casefold() for t in filters.topics]), ("episodes", filters.episodes)):
        if names:
            parts.append(f"array_contains_any({field}, {json.dumps([*map(folded, names)], ensure_ascii=False)})")
    if filters.since or filters.until:
        parts.append('date != ""')
    parts += [f"date >= {json.dumps(filters.since)}"] if filters.since else []
    parts += [f"date <= {json.dumps(filters.until)}"] if filters.until else []
    return " and ".join(parts)


def filtered_by(passage: Passage) -> Row:
    """What filters look at."""
    return {
        "document": hexed(passage.document),
        "kind": folded(passage.kind),
        "date": folded(passage.date or ""),
        "topics": [folded(t.casefold()) for t in passage.topics],
        "episodes": [folded(e) for e in passage.episodes],
    }


def keyed(row: Row, *more: object) -> Row:
    """A row under the key of all that it says; `more` speaks for a vector, which is not there yet."""
    return {"key": hexed(json.dumps([*row.items(), *more], default=str)), **row}


@dataclass(frozen=True, slots=True)
class Lineage:
    """The collections of one lineage."""

    engine: Engine
    name: str

    def collection(self, table: str) -> str:
        """The collection of a table."""
        return f"{self.engine.address.prefix}_{self.name}_{table}"

    def create(self, dimension: int, index: str, shards: int = 1) -> None:
        """Make what is missing of the collections; what is there stays, with the shards that it has."""
        for table, fields in _fields(dimension).items():
            over = shards if table in _SHARDED else 1
            create(self.engine, self.collection(table), fields, index, PARTITIONS.get(table, ()), over)

    def count(self, table: str, generation: int | None = None) -> int:
        """How many rows a generation has, or all of them together."""
        (found,) = self.engine.call(
            "query",
            self.collection(table),
            filter="" if generation is None else visible(generation),
            output_fields=["count(*)"],
            consistency_level="Strong",
        )
        return int(found["count(*)"])

    def sync(
        self,
        table: str,
        wanted: Iterable[Row],
        generation: int,
        *,
        partition: str = "",
        filled: Callable[[list[Row]], list[Row]] = lambda rows: rows,
        at_once: int = ROWS,
    ) -> int:
        """Let a generation that does not serve yet have the wanted rows of a partition, and no others; their number.

        What a build that was killed has written is taken up. `filled` completes rows that are new, `at_once` a call.
        Memory holds those, and some 25 bytes a row.
        """
        write = _Writer(self.engine, self.collection(table), partition)
        held = _Held.of(self.engine, self.collection(table), partition)
        seen = np.zeros(len(held.keys), dtype=bool)
        new, rows = 0, iter(wanted)
        while batch := list(islice(rows, at_once)):
            at = held.places([row["key"] for row in batch])
            seen[at[at >= 0]] = True
            fresh = {row["key"]: row for row, place in zip(batch, at.tolist(), strict=True) if place < 0}
            new += len(fresh)
            if fresh:
                write.rows([row | {"born": generation, "died": NEVER} for row in filled(list(fresh.values()))])
        serves, forever = generation - 1, held.died == NEVER  # what serves must not see what comes back
        ahead = (held.born > generation) | (~forever & (held.died > generation))  # of an index that is no more
        write.live(held.keys[seen & (held.died == generation) & ~ahead], died=NEVER)
        write.live(held.keys[seen & ((held.died <= serves) | ahead)], born=generation, died=NEVER)
        write.live(held.keys[~seen & forever & (held.born <= serves)], died=generation)
        write.forget(held.keys[~seen & (ahead | (held.died < serves) | (forever & (held.born > serves)))])
        if new >= SEALED:
            quietly(lambda: self.engine.call("flush", self.collection(table)))
        return int(seen.sum()) + new


@dataclass(frozen=True, slots=True)
class _Held:
    """What a partition holds, of whatever generation, sorted by key."""

    keys: np.ndarray
    born: np.ndarray
    died: np.ndarray

    @classmethod
    def of(cls, engine: Engine, collection: str, partition: str) -> _Held:
        found = engine.rows(collection, "", ("key", "born", "died"), partition or None)
        rows = np.fromiter(
            ((int(row["key"], 16), row["born"], row["died"]) for row in found),
            dtype=[("key", np.uint64), ("born", np.int64), ("died", np.int64)],
        )
        rows.sort(order="key")
        return cls(rows["key"], rows["born"], rows["died"])

    def places(self, keys: list[str]) -> np.ndarray:
        """Where each key stands, -1 for a new one."""
        wanted = np.array([int(key, 16) for key in keys], dtype=np.uint64)
        if not len(self.keys):
            return np.full(len(wanted), -1)
        at = np.minimum(np.searchsorted(self.keys, wanted), len(self.keys) - 1)
        return np.where(self.keys[at] == wanted, at, -1)


class _Writer:
    """Rows on their way into a partition. Each call may be made again: rows go by their keys."""

    def __init__(self, engine: Engine, collection: str, partition: str) -> None:
        self._engine, self._collection = engine, collection
        self._options = {"partition_name": partition} if partition else {}

    def rows(self, rows: list[Row]) -> None:
        for start in range(0, len(rows), ROWS):
            self._engine.call("upsert", self._collection, rows[start : start + ROWS], **self._options)

    def live(self, keys: np.ndarray, **life: int) -> None:
        for some in _batches(keys):
            rows = [{"key": key, **life} for key in some]
            self._engine.call("upsert", self._collection, rows, partial_update=True, **self._options)

    def forget(self, keys: np.ndarray) -> None:
        for some in _batches(keys):
            self._engine.call("delete", self._collection, ids=some, **self._options)


def _batches(keys: np.ndarray) -> Iterator[list[str]]:
    for start in range(0, len(keys), ROWS):
        yield [f"{key:016x}" for key in keys[start : start + ROWS].tolist()]


def _fields(dimension: int) -> Mapping[str, Mapping[str, str | int]]:
    """The fields of each table beside its key; a number is the dimension of a vector."""
    life: dict[str, str | int] = {"born": "int", "died": "int"}
    text = {"name": "name", **life, "part": "int", "parts": "int", "content": "name", "unused": 2}
    filters = {"document": "name", "kind": "name", "date": "name", "topics": "names", "episodes": "names"}
    return {
        PASSAGES: {"passage": "name", **life, **filters, "start": "int", "terms": "sparse"},
        VECTORS: {"passage": "name", "text": "name", **life, **filters, "vector": dimension},
        TERMS: {"name": "name", **life, "passages": "int", "unused": 2},
        TEXTS: text,
        ENCODER: text,
    }


def create(
    engine: Engine,
    collection: str,
    fields: Mapping[str, str | int],
    index: str,
    partitions: Iterable[str] = (),
    shards: int = 1,
) -> None:
    """Make a collection with its indexes and load it, as far as it is not; its key is a string of up to 64."""
    from pymilvus import DataType, MilvusClient

    scalars = {"int": DataType.INT64, "name": DataType.VARCHAR}
    schema = MilvusClient.create_schema(auto_id=False, enable_dynamic_field=False)
    schema.add_field("key", DataType.VARCHAR, is_primary=True, max_length=64)
    indexes = MilvusClient.prepare_index_params()
    for name, kind in fields.items():
        if isinstance(kind, int):
            schema.add_field(name, DataType.FLOAT_VECTOR, dim=kind)
            how = index if name == "vector" else "FLAT"
            indexes.add_index(name, index_type=how, index_name=name, metric_type="IP")
        elif kind == "sparse":
            schema.add_field(name, DataType.SPARSE_FLOAT_VECTOR)
            indexes.add_index(name, index_type="SPARSE_INVERTED_INDEX", index_name=name, metric_type="IP")
        elif kind == "names":
            schema.add_field(
                name, DataType.ARRAY, element_type=DataType.VARCHAR, max_capacity=4096, max_length=_LONGEST
            )
            indexes.add_index(name, index_type="INVERTED", index_name=name)
        else:
            schema.add_field(name, scalars[kind], max_length=_LENGTHS.get(name, 64))
            if name not in _READ:
                indexes.add_index(name, index_type="INVERTED", index_name=name)
    if not engine.call("has_collection", collection):
        engine.call("create_collection", collection, schema=schema, num_shards=shards, consistency_level="Bounded")
    for partition in partitions:
        if not engine.call("has_partition", collection, partition):
            engine.call("create_partition", collection, partition)
    there = set(engine.call("list_indexes", collection))
    for item in indexes:
        if item.index_name not in there:
            one = MilvusClient.prepare_index_params()
            one.append(item)
            if fields[item.field_name] == "names":  # milvus-lite has none of lists; filters are then slower
                quietly(lambda one=one: engine.call("create_index", collection, one, sync=False))  # type: ignore[misc]
            else:
                engine.call("create_index", collection, one, sync=False)
    engine.call("load_collection", collection)


def sweep(engine: Engine, keep: Iterable[str]) -> None:
    """Drop the collections of other lineages; what cannot be dropped now is by the next build."""
    prefix = f"{engine.address.prefix}_"
    kept = {f"{prefix}{META}", *(f"{prefix}{name}_{table}" for name in keep for table in _fields(2))}
    for name in engine.call("list_collections"):
        ours = name.startswith(prefix) and name.removeprefix(prefix).partition("_")[2] in _fields(2)
        if ours and name not in kept:
            quietly(lambda name=name: engine.call("drop_collection", name))  # type: ignore[misc]


def text_rows(name: str, text: str) -> Iterator[Row]:
    """A text of ASCII alone as rows of `texts` or `encoder`."""
    size = 60_000
    parts = [text[start : start + size] for start in range(0, len(text), size)] or [""]
    for part, content in enumerate(parts):
        yield keyed({"name": name, "part": part, "parts": len(parts), "content": content, "unused": [0.0, 0.0]})


def read_texts(lineage: Lineage, generation: int, names: Iterable[str], table: str = TEXTS) -> dict[str, str]:
    """The texts of those names that there are. Raises IndexUnusable where one lacks a part."""
    held: dict[str, list[Row]] = {}
    pending = iter(names)
    while some := list(islice(pending, ROWS)):
        found = lineage.engine.call(
            "query",
            lineage.collection(table),
            filter=f"{visible(generation)} and {among('name', some)}",
            output_fields=["name", "part", "parts", "content"],
        )
        for row in found:
            held.setdefault(row["name"], []).append(row)
    for name, rows in held.items():
        if len(rows) != rows[0]["parts"]:
            raise IndexUnusable(
                f"{lineage.collection(table)} has {len(rows)} of {rows[0]['parts']} parts of {name}; build it again "
                "with `rag index --rebuild`"
            )
    return {name: "".join(r["content"] for r in sorted(rows, key=lambda r: r["part"])) for name, rows in held.items()}
