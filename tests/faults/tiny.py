"""A corpus and an index so small that hundreds of builds take seconds: the real formats, a model of two layers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from unittest.mock import patch

import numpy as np

from rag.assemble import build_index, open_service
from rag.index.encode import MODEL, TOKENIZER, EncoderCard, digest_of, silent
from rag.index.export import EncoderChoice
from rag.settings import Settings

QUESTION = "What does the contrastive loss cost?"
ANSWER = "A contrastive loss on 50 problems costs $25."
BEFORE = {
    "episodes/E001.md": "Bread rises because yeast makes gas. The dough doubles in two hours.",
    "episodes/E002.md": f"{ANSWER} It matches full training.",
    "reviews/r.md": "Yeast and training have little in common. The other one rises E001.",
}
NEW_ANSWER = "The contrastive loss on 50 problems costs $26."
AFTER = BEFORE | {"episodes/E002.md": f"{NEW_ANSWER} Nothing else is known of it."}
"""The same after an edit: the question has another answer."""
SOURCE = "tiny"


def write_corpus(folder: Path, pages: dict[str, str] = BEFORE) -> Path:
    for name, text in pages.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        front = f"id: {path.stem}\ntitle: {path.stem}" if "episodes" in name else "title: A review"
        path.write_text(f"---\n{front}\n---\n{text}\n", encoding="utf-8")
    return folder


TEXTS = (*BEFORE.values(), *AFTER.values(), QUESTION)


def export_tiny(
    choice: EncoderChoice, source: str, folder: Path, texts: Iterable[str] = TEXTS, dimension: int = 16
) -> EncoderCard:
    """In the place of `rag.index.export.export`: a word of `texts` is a fixed direction, a text their mean."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

    words = sorted({w.strip("?.$,").lower() for text in texts for w in text.split()})
    tokenizer = Tokenizer(models.WordLevel({"[UNK]": 0} | {w: n for n, w in enumerate(words, 1)}, unk_token="[UNK]"))  # noqa: S106
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    table = np.random.default_rng(0).standard_normal((len(words) + 1, dimension)).astype(np.float32)
    ids = helper.make_tensor_value_info("input_ids", TensorProto.INT64, [1, "tokens"])
    outputs = [
        helper.make_tensor_value_info("vector", TensorProto.FLOAT, [1, dimension]),
        helper.make_tensor_value_info("token_vectors", TensorProto.FLOAT, [1, "tokens", dimension]),
    ]
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["each"]),
        helper.make_node("LpNormalization", ["each"], ["token_vectors"], axis=2, p=2),
        helper.make_node("ReduceMean", ["token_vectors", "axes"], ["mean"], keepdims=0),
        helper.make_node("LpNormalization", ["mean"], ["vector"], axis=1, p=2),
    ]
    held = [numpy_helper.from_array(table, "table"), numpy_helper.from_array(np.array([1]), "axes")]
    graph = helper.make_graph(nodes, "tiny", [ids], outputs, held)
    folder.mkdir(parents=True, exist_ok=True)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8), folder / MODEL)
    tokenizer.save(str(folder / TOKENIZER))
    card = EncoderCard(choice.model, source, choice.precision, dimension, 64, digest_of(folder))
    card.write(folder)
    return card


@contextmanager
def tiny_encoder(texts: Iterable[str] = TEXTS, dimension: int = 16) -> Iterator[None]:
    """Builds take the tiny encoder for the default one."""
    export = partial(export_tiny, texts=texts, dimension=dimension)
    with patch("rag.index.build.source_of", lambda _: SOURCE), patch("rag.index.build.export", export):
        yield


def build_tiny(corpus: Path, index: Path, say: Callable[[str], None] = lambda _: None) -> str:
    """Build, and give the generation."""
    with tiny_encoder():
        settings = Settings(corpus=corpus, index=index)
        return build_index(settings, rebuild=False, progress=silent, say=say, on_bad=None).generation


def answer(index: Path) -> str:
    """What the question is answered. Raises IndexUnusable."""
    return " ".join(s.text for s in open_service(Settings(index=index)).answerer.ask(QUESTION).sentences)


def served(index: Path) -> str:
    """Which index answers, by its answer; an answer of neither is itself what is given."""
    found = answer(index)
    return {ANSWER: "the index before", NEW_ANSWER: "the new index"}.get(found, found)


def left(index: Path) -> list[str]:
    """What lies in the index folder and serves nobody: the lock file and the generation before may."""
    current = (index / "CURRENT").read_text().split()[0] if (index / "CURRENT").exists() else None
    found = [p.name for p in index.iterdir() if p.name not in (".lock", "CURRENT", "generations")]
    others = [p.name for p in index.glob("generations/*") if p.name != current]
    return found + others[1:]
