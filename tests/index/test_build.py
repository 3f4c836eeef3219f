"""The index folder: built whole or not at all, by the real encoder."""

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from rag.errors import IndexBusy, IndexUnusable
from rag.index.build import ENCODER, KEYS, VECTORS, BuildReport, build
from rag.index.dense import FILE, DenseRetriever
from rag.index.encode import OnnxEncoder, RememberedEncoder
from rag.index.library import IndexLibrary
from rag.index.sparse import FOLDER, RankBM25Retriever, TantivyRetriever
from rag.index.store import IndexFolder
from rag.records import Document, Filters, IndexInfo, Paragraph, Question

pytest.importorskip("torch", reason="exporting an encoder needs the `build` extra")

TEXTS = {
    "episodes/E001": ("E001", "Bread rises because yeast makes gas. The dough doubles in two hours."),
    "episodes/E002": ("E002", "A contrastive loss on 50 problems costs $25. It matches full training."),
    "reviews/r": (None, "Yeast and training have little in common. One costs $25 E002. The other rises E001."),
}


def document(id: str, text: str, episode: str | None = None) -> Document:
    kind = id.split("/")[0].rstrip("s")
    return Document(id, kind, id, text, (Paragraph(0, len(text)),), episode, topics=("bread",) if episode else ())


def documents() -> list[Document]:
    return [document(id, text, episode) for id, (episode, text) in TEXTS.items()]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> IndexFolder:
    folder = IndexFolder(tmp_path_factory.mktemp("index"))
    build(documents(), folder)
    return folder


@pytest.fixture
def copied(built: IndexFolder, tmp_path: Path) -> IndexFolder:
    shutil.copytree(built.path, tmp_path / "index")
    return IndexFolder(tmp_path / "index")


def opened(folder: IndexFolder) -> tuple[IndexLibrary, DenseRetriever, TantivyRetriever]:
    path, manifest = folder.checked()
    library = IndexLibrary(path, IndexInfo(manifest.generation, manifest.passages, manifest.encoder.name))
    encoder = RememberedEncoder(OnnxEncoder(path / ENCODER), np.load(path / KEYS), np.load(path / VECTORS))
    return library, DenseRetriever(path / FILE, library, encoder), TantivyRetriever(path / FOLDER, library)


def test_the_same_text_gives_the_same_bits_alone_and_in_a_build(built: IndexFolder) -> None:
    path, _ = built.checked()
    encoder = OnnxEncoder(path / ENCODER)
    texts = [text for _, text in TEXTS.values()] * 3 + ["short", "a longer text " * 60]
    together = encoder.encode(texts)
    for text, vector in zip(texts, together, strict=True):
        assert encoder.encode([text])[0].tobytes() == vector.tobytes()
    assert np.allclose(np.linalg.norm(together, axis=1), 1, atol=1e-5)


def test_a_remembered_vector_is_the_one_the_model_gives(built: IndexFolder) -> None:
    path, _ = built.checked()
    model = OnnxEncoder(path / ENCODER)
    remembered = RememberedEncoder(model, np.load(path / KEYS), np.load(path / VECTORS))
    texts = ["Yeast and training have little in common.", "never seen before"]
    assert (remembered.known(texts) >= 0).tolist() == [True, False]
    assert remembered.encode(texts).tobytes() == model.encode(texts).tobytes()


def test_only_changed_passages_are_encoded_again(copied: IndexFolder) -> None:
    before = build(documents(), copied)
    assert not before.changed
    changed = [*documents()[:2], document("reviews/r", "Entirely new words E001.")]
    report = build(changed, copied)
    assert (report.changed, report.reused, report.encoded) == (True, 2, 1)


def test_an_incremental_build_equals_a_full_one(copied: IndexFolder, tmp_path: Path) -> None:
    changed = [*documents()[:2], document("reviews/r", "Entirely new words E001.")]
    build(changed, copied)
    fresh = IndexFolder(tmp_path / "fresh")
    build(changed, fresh, donors=[copied])
    for name in (KEYS, VECTORS, FILE, "passages.jsonl"):
        assert (copied.checked()[0] / name).read_bytes() == (fresh.checked()[0] / name).read_bytes()


def test_dense_and_sparse_find_what_was_asked(built: IndexFolder) -> None:
    _, dense, sparse = opened(built)
    assert dense.retrieve(Question("why does dough swell"), 1)[0].passage.document == "episodes/E001"
    assert sparse.retrieve(Question("contrastive"), 5)[0].passage.document == "episodes/E002"
    assert sparse.retrieve(Question("the of"), 5) == ()


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        (Filters(kinds=("review",)), {"reviews/r"}),
        (Filters(episodes=("E001",)), {"episodes/E001", "reviews/r"}),
        (Filters(topics=("Bread",), episodes=("E001",)), {"episodes/E001"}),
        (Filters(since="2026-01-01"), set()),
    ],
)
def test_filters_hold_in_every_engine(built: IndexFolder, filters: Filters, found: set[str]) -> None:
    library, dense, sparse = opened(built)
    texts = [library.passage(row).text for row in range(len(library))]
    for retriever in (dense, sparse, RankBM25Retriever(texts, library)):
        hits = retriever.retrieve(Question("yeast dough training costs", filters), 10)
        assert {hit.passage.document for hit in hits} <= found
        if retriever.name == "dense":
            assert {hit.passage.document for hit in hits} == found


def test_a_damaged_file_is_refused_with_the_mend(copied: IndexFolder) -> None:
    path = copied.checked()[0] / "passages.jsonl"
    path.write_bytes(path.read_bytes().replace(b"Yeast", b"Toast"))
    with pytest.raises(IndexUnusable, match=r"passages\.jsonl is damaged.*rag index"):
        copied.checked()
    assert build(documents(), copied).changed  # a damaged index is built anew
    copied.checked()


def test_another_format_is_refused_with_the_mend(copied: IndexFolder) -> None:
    path = copied.current()[0] / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format": 0}))
    with pytest.raises(IndexUnusable, match=r"format 0, this version reads 1.*rag index"):
        copied.checked()


def test_no_index_is_refused_with_the_mend(tmp_path: Path) -> None:
    with pytest.raises(IndexUnusable, match="rag index"):
        IndexFolder(tmp_path).checked()


def test_a_second_build_at_once_is_refused(copied: IndexFolder) -> None:
    with copied.writing(), pytest.raises(IndexBusy, match="another build"):
        build(documents(), copied)


def test_a_build_that_fails_leaves_the_old_index(copied: IndexFolder) -> None:
    before = copied.checked()[1].generation

    def broken() -> Iterator[Document]:
        yield documents()[0]
        raise RuntimeError("disk on fire")

    with pytest.raises(RuntimeError):
        build(broken(), copied)
    assert copied.checked()[1].generation == before
    assert not list(copied.path.glob(".building-*"))


REBUILD = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
import test_build as t
from rag.index.build import build
from rag.index.store import IndexFolder
folder = IndexFolder(Path(sys.argv[1]))
for n in range(10_000):
    texts = [t.document("reviews/r%d" % i, "Round %d of text %d E001." % (n, i)) for i in range(8)]
    build([*t.documents(), *texts], folder)
    print(n, flush=True)
"""


def test_kill_9_at_twenty_moments_leaves_an_index_that_answers(copied: IndexFolder) -> None:
    random = np.random.default_rng(0)
    for _ in range(20):
        with subprocess.Popen(
            [sys.executable, "-c", REBUILD, str(copied.path), str(Path(__file__).parent)], stdout=subprocess.PIPE
        ) as process:
            assert process.stdout is not None
            process.stdout.readline()  # it is under way
            time.sleep(float(random.uniform(0, 0.4)))
            process.send_signal(signal.SIGKILL)
        _, dense, sparse = opened(copied)
        for retriever in (dense, sparse):
            assert retriever.retrieve(Question("contrastive loss"), 1)[0].passage.document == "episodes/E002"
    assert isinstance(build(documents(), copied), BuildReport)
    assert not list(copied.path.glob(".building-*"))


def test_neighbours_stand_around_a_passage(built: IndexFolder, tmp_path: Path) -> None:
    text = "One sentence that is long enough to stand alone, or so we hope it is. " * 30
    folder = IndexFolder(tmp_path / "long")
    build([replace(document("reviews/long", text), title="Long")], folder, donors=[built])
    library, _, _ = opened(folder)
    second = library.passage(1)
    assert [p.id for p in library.neighbours(second)] == [library.passage(0).id, library.passage(2).id]
