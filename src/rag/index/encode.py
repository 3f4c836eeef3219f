"""Text -> unit vectors, by the encoder that the index carries."""

from __future__ import annotations

import json
import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from hashlib import blake2b, sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from rag.errors import IndexUnusable

if TYPE_CHECKING:
    from rag.ports import Encoder, Vectors

ENCODER = "encoder"
"""The folder of an index that holds its encoder's files."""
MODEL, TOKENIZER, CARD = "model.onnx", "tokenizer.json", "encoder.json"

ASKED = 4096
"""Questions whose vectors are kept, the latest asked: 6 MiB of them at 384 dimensions."""

Progress = Callable[[Iterable[Any], int, str], Iterable[Any]]
"""(items, total, what) -> the same items, showing how far it is."""


def silent(items: Iterable[Any], total: int, what: str) -> Iterable[Any]:  # noqa: ARG001
    """A Progress that shows nothing."""
    return items


@dataclass(frozen=True, slots=True)
class EncoderCard:
    """What an encoder is: `source` names the weights it was exported from, `digest` the files that run."""

    name: str
    source: str
    precision: str
    dimension: int
    max_tokens: int
    digest: str = ""

    @classmethod
    def read(cls, folder: Path) -> EncoderCard:
        """Raises IndexUnusable where the folder holds no encoder."""
        try:
            return cls(**json.loads((folder / CARD).read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError) as error:
            raise IndexUnusable(f"{folder} holds no encoder ({error}); mend it with `rag index --rebuild`") from error

    def write(self, folder: Path) -> None:
        """Write the card beside the model."""
        (folder / CARD).write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")


def digest_of(folder: Path) -> str:
    """The digest of an encoder's files that run. Raises OSError."""
    return sha256(b"".join(sha256((folder / name).read_bytes()).digest() for name in (MODEL, TOKENIZER))).hexdigest()


@dataclass(frozen=True, slots=True)
class TokenVectors:
    """The n tokens of a text: `spans[i]` are its start and end in characters, shape (n, 2); `vectors[i]` its unit
    vector, shape (n, dimension), float32.
    """

    spans: np.ndarray
    vectors: Vectors


class OnnxEncoder:
    """The exported encoder: pooling and normalisation are inside the graph, so no torch is needed.

    One text a call and one thread a call: dynamic quantisation takes its scale from the whole batch, so this is what
    makes a text's vector depend on the text alone. Many texts run as many calls at once as there are cores.
    """

    def __init__(self, folder: Path) -> None:
        import onnxruntime
        from tokenizers import Tokenizer

        onnxruntime.disable_telemetry_events()  # somebody else may have loaded it before us
        self.card = EncoderCard.read(folder)
        self.name, self.dimension = self.card.name, self.card.dimension
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL  # it is kept optimised
        options.log_severity_level = 3
        try:
            self._session = onnxruntime.InferenceSession(
                str(folder / MODEL), options, providers=["CPUExecutionProvider"]
            )
            self._tokenizer = Tokenizer.from_file(str(folder / TOKENIZER))
        except Exception as error:  # both libraries raise bare Exception subclasses of their own
            raise IndexUnusable(f"{folder} does not load ({error}); mend it with `rag index --rebuild`") from error
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(self.card.max_tokens)
        self._inputs = [item.name for item in self._session.get_inputs()]

    def encode(self, texts: Sequence[str], progress: Progress = silent) -> Vectors:
        """Shape (len(texts), dimension), float32, rows of length 1."""
        out = np.empty((len(texts), self.dimension), dtype=np.float32)
        if len(texts) == 1:
            out[0] = self._one(texts[0])
        elif texts:
            longest_first = sorted(range(len(texts)), key=lambda at: -len(texts[at]))
            with ThreadPoolExecutor(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None) as pool:
                done = pool.map(self._one, (texts[at] for at in longest_first))
                for at, vector in zip(longest_first, progress(done, len(texts), "encoding"), strict=True):
                    out[at] = vector
        return out

    def _one(self, text: str) -> Vectors:
        vector: Vectors = self._run(self._tokenizer.encode(text), "vector")
        return vector

    def tokens(self, text: str) -> TokenVectors:
        """Each token of a text, in the company of the others; what lies beyond the model's longest text is left out."""
        tokens = self._tokenizer.encode(text)
        real = [at for at, special in enumerate(tokens.special_tokens_mask) if not special]
        spans = np.array([tokens.offsets[at] for at in real], dtype=np.int64).reshape(-1, 2)
        return TokenVectors(spans, self._run(tokens, "token_vectors")[real])

    def _run(self, tokens: Any, output: str) -> Vectors:
        values = {"input_ids": tokens.ids, "attention_mask": tokens.attention_mask, "token_type_ids": tokens.type_ids}
        feed = {name: np.array([values[name]], dtype=np.int64) for name in self._inputs}
        found: Vectors = self._session.run([output], feed)[0][0]
        return found


class RememberedEncoder:
    """An encoder that knows the vectors of some texts; the others it encodes.

    `keys` are sorted `text_key`s and `vectors[i]` belongs to `keys[i]`. A vector depends on its text alone, so
    remembering changes how long an answer takes and nothing else. Single texts, as questions are, are kept for the next
    time; `hits` of them were, `misses` were not.
    """

    def __init__(self, inner: Encoder, keys: np.ndarray, vectors: Vectors) -> None:
        self.inner, self.name, self.dimension = inner, inner.name, inner.dimension
        self._keys, self._vectors = keys, vectors
        self._asked: OrderedDict[str, _Asked] = OrderedDict()
        self._locked = threading.Lock()
        self.hits, self.misses = 0, 0

    def known(self, texts: Sequence[str]) -> np.ndarray:
        """The row of each text in `vectors`, or -1; shape (len(texts),)."""
        if not len(self._keys):
            return np.full(len(texts), -1)
        wanted = np.array([text_key(text) for text in texts], dtype=np.uint64)
        rows = np.minimum(np.searchsorted(self._keys, wanted), len(self._keys) - 1)
        return np.where(self._keys[rows] == wanted, rows, -1)

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Shape (len(texts), dimension), float32, rows of length 1."""
        # A question is encoded by whoever needs it: the dense retriever first, the answerer right after.
        if len(texts) != 1:
            return self._encode(texts)
        with self._locked:
            asked = self._asked.setdefault(texts[0], _Asked())
            self._asked.move_to_end(texts[0])
            if len(self._asked) > ASKED:
                self._asked.popitem(last=False)
        with asked.making:
            new = asked.vector is None
            if asked.vector is None:
                asked.vector = self._encode(texts)
                asked.vector.flags.writeable = False  # it is shared
        with self._locked:
            self.hits, self.misses = self.hits + (not new), self.misses + new
        return asked.vector

    def _encode(self, texts: Sequence[str]) -> Vectors:
        rows = self.known(texts)
        out = np.empty((len(texts), self.dimension), dtype=np.float32)
        out[rows >= 0] = self._vectors[rows[rows >= 0]]
        new = np.flatnonzero(rows < 0).tolist()
        if new:
            out[new] = self.inner.encode([texts[at] for at in new])
        return out


class _Asked:
    """A question's vector, which one thread makes while the others that want it wait."""

    def __init__(self) -> None:
        self.making, self.vector = threading.Lock(), cast("Vectors | None", None)


def text_key(text: str) -> int:
    """A 64-bit key of a text; a million texts collide with a chance of 3 in 10^8."""
    return int.from_bytes(blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")
