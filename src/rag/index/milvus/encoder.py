"""The encoder that an index in Milvus carries, and the vectors that it holds of texts."""

from __future__ import annotations

import base64
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from rag.errors import IndexUnusable
from rag.index.encode import CARD, ENCODER, MODEL, TOKENIZER, EncoderCard, digest_of
from rag.index.milvus.tables import ENCODER as TABLE
from rag.index.milvus.tables import ROWS, VECTORS, Lineage, Row, among, hexed, read_texts, text_rows

if TYPE_CHECKING:
    from rag.index.milvus.published import Published
    from rag.ports import Encoder, Vectors

_FILES = (MODEL, TOKENIZER, CARD)
_FOLDER = "milvus"
_PIECE = 60_000 * 3 // 4 * 100
"""Bytes of a file under one name, so that reading a name stays far below what Milvus gives at once."""


def folder_of(index: Path, card: EncoderCard) -> Path:
    """Where a machine keeps an encoder, below its index folder."""
    return index / _FOLDER / card.digest[:16]


def keep(built: Path, index: Path, card: EncoderCard) -> Path:
    """Take an encoder's folder to where a machine keeps it."""
    target = folder_of(index, card) / ENCODER
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        _move(built, target)
    return target


def encoder_rows(folder: Path) -> Iterator[Row]:
    """The files of an encoder as rows of its table."""
    for file in _FILES:
        content = (folder / file).read_bytes()
        for piece in range(0, max(1, len(content)), _PIECE):
            text = base64.b64encode(content[piece : piece + _PIECE]).decode()
            yield from text_rows(f"{file}/{piece // _PIECE:05d}", text)


def encoder_of(published: Published, lineage: Lineage, index: Path) -> Path:
    """The folder of a generation's encoder on this machine, fetched from Milvus the first time.

    Raises IndexUnusable where it is not the one that the vectors were made with, or cannot be kept here.
    """
    card = published.manifest.encoder
    target = folder_of(index, card) / ENCODER
    if not target.exists():
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=target.parent, prefix=".fetching-") as temporary:
                fetched = Path(temporary) / ENCODER
                fetched.mkdir()
                for file in _FILES:
                    _fetch(published, lineage, file, fetched / file)
                _move(fetched, target)
        except OSError as error:
            raise IndexUnusable(
                f"{index} cannot keep the encoder ({error.strerror}); give a folder that can be written with --index"
            ) from error
    if digest_of(target) != card.digest:
        raise IndexUnusable(f"{target} is not the encoder of the index; remove it, and it is fetched again")
    return target


def _fetch(published: Published, lineage: Lineage, file: str, path: Path) -> None:
    with path.open("wb") as out:
        piece = 0
        while text := read_texts(lineage, published.number, [name := f"{file}/{piece:05d}"], TABLE):
            out.write(base64.b64decode(text[name]))
            piece += 1


def _move(source: Path, target: Path) -> None:
    """Whoever comes first puts it there, whole."""
    try:
        source.rename(target)
    except OSError:
        if not target.exists():
            shutil.copytree(source, target, dirs_exist_ok=True)


class HeldVectors:
    """An encoder that asks Milvus for the vectors of several texts before it encodes what is not there.

    A vector depends on its text alone, so this changes how long an answer takes and nothing else.
    """

    def __init__(self, inner: Encoder, lineage: Lineage) -> None:
        self.name, self.dimension = inner.name, inner.dimension
        self._inner, self._lineage = inner, lineage

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Shape (len(texts), dimension), float32, rows of length 1."""
        if len(texts) <= 1:
            return self._inner.encode(texts)
        known = vectors_by_text(self._lineage, [hexed(text) for text in texts])
        new = [text for text in dict.fromkeys(texts) if hexed(text) not in known]
        known |= zip(map(hexed, new), self._inner.encode(new), strict=True)
        return np.array([known[hexed(text)] for text in texts], dtype=np.float32)


def vectors_by_text(lineage: Lineage, keys: Sequence[str]) -> dict[str, Vectors]:
    """The vectors that a lineage holds of texts, of whatever generation, by their keys."""
    found: dict[str, Vectors] = {}
    wanted = list(dict.fromkeys(keys))
    for start in range(0, len(wanted), ROWS):
        rows = lineage.engine.call(
            "query",
            lineage.collection(VECTORS),
            filter=among("text", wanted[start : start + ROWS]),
            output_fields=["text", "vector"],
        )
        found |= {row["text"]: np.asarray(row["vector"], dtype=np.float32) for row in rows}
    return found
