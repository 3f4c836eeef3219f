"""The index folder: built whole or not at all, by the real encoder."""

import errno
import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from rag.errors import IndexBusy, IndexUnusable, SettingsError
from rag.index import export as exporting
from rag.index import store
from rag.index.build import BuildReport, build
from rag.index.dense import PASSAGES, SENTENCES, DenseRetriever, write_vectors
from rag.index.encode import ENCODER, OnnxEncoder, RememberedEncoder
from rag.index.export import EncoderChoice
from rag.index.library import PLACES, IndexLibrary
from rag.index.plane import TSNE, place
from rag.index.sparse import FOLDER, RankBM25Retriever, TantivyRetriever
from rag.index.store import FILES, FORMAT, IndexFolder, Manifest
from rag.index.vectors import KEYS, VECTORS
from rag.records import AskedQuestion, Document, Filters, IndexInfo, Paragraph, Question

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
    """An index of a test's own, whose files it may write to."""
    shutil.copytree(built.path, tmp_path / "index", copy_function=shutil.copyfile)
    return IndexFolder(tmp_path / "index")


def opened(folder: IndexFolder) -> tuple[IndexLibrary, DenseRetriever, TantivyRetriever]:
    path, manifest = folder.checked()
    library = IndexLibrary(path, IndexInfo(manifest.generation, manifest.passages, manifest.encoder.name))
    encoder = RememberedEncoder(OnnxEncoder(path / ENCODER), np.load(path / KEYS), np.load(path / VECTORS))
    return library, DenseRetriever(path / PASSAGES, library, encoder), TantivyRetriever(path / FOLDER, library)


def test_the_same_text_gives_the_same_bits_alone_and_in_a_build(built: IndexFolder) -> None:
    path, _ = built.checked()
    encoder = OnnxEncoder(path / ENCODER)
    texts = [text for _, text in TEXTS.values()] * 3 + ["short", "a longer text " * 60]
    together = encoder.encode(texts)
    for text, vector in zip(texts, together, strict=True):
        assert encoder.encode([text])[0].tobytes() == vector.tobytes()
    assert np.allclose(np.linalg.norm(together, axis=1), 1, atol=1e-5)


def test_the_kept_graph_is_fused_already_and_gives_what_the_traced_one_gives(
    built: IndexFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import onnx
    import onnxruntime

    path, manifest = built.checked()
    kept = {node.op_type for node in onnx.load(path / ENCODER / "model.onnx").graph.node}
    assert {"DynamicQuantizeMatMul", "LayerNormalization"} <= kept
    assert "SkipLayerNormalization" not in kept
    monkeypatch.setattr(exporting, "_fuse", lambda _: None)
    exporting.export(EncoderChoice(), manifest.encoder.source, tmp_path)
    traced, options = OnnxEncoder(tmp_path), onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    traced._session = onnxruntime.InferenceSession(
        tmp_path / "model.onnx", options, disabled_optimizers=["SkipLayerNormFusion"]
    )
    assert not kept <= {node.op_type for node in onnx.load(tmp_path / "model.onnx").graph.node}
    texts = [text for _, text in TEXTS.values()]
    assert np.array_equal(traced.encode(texts), OnnxEncoder(path / ENCODER).encode(texts))


def test_a_remembered_vector_is_the_one_the_model_gives(built: IndexFolder) -> None:
    path, _ = built.checked()
    model = OnnxEncoder(path / ENCODER)
    remembered = RememberedEncoder(model, np.load(path / KEYS), np.load(path / VECTORS))
    texts = ["Yeast and training have little in common.", "never seen before"]
    assert (remembered.known(texts) >= 0).tolist() == [True, False]
    assert remembered.encode(texts).tobytes() == model.encode(texts).tobytes()


class Counts:
    """An encoder that says what it was given."""

    name, dimension = "counts", 2

    def __init__(self) -> None:
        self.given: list[str] = []

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        self.given += texts
        time.sleep(0.01)  # for the others to come
        return np.array([[len(text), 1] for text in texts], dtype=np.float32)


def nothing_known(inner: Counts) -> RememberedEncoder:
    return RememberedEncoder(inner, np.empty(0, np.uint64), np.empty((0, 2), np.float32))


def test_a_question_is_encoded_once_whoever_else_asks() -> None:
    encoder = nothing_known(counts := Counts())
    questions = ["a" * length for length in range(1, 9)]

    def ask(question: str) -> None:
        for _ in range(5):  # as retriever, answerer and estimate do
            assert encoder.encode([question]).tolist() == [[len(question), 1]]

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(ask, questions * 2))
    assert sorted(counts.given) == questions
    assert (encoder.hits, encoder.misses) == (72, 8)


def test_the_latest_questions_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rag.index.encode.ASKED", 2)
    encoder = nothing_known(counts := Counts())
    for question in ("one", "two", "one", "three", "one", "two"):
        encoder.encode([question])
    assert counts.given == ["one", "two", "three", "two"]


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
    assert build(changed, fresh, donors=[copied], rebuild=True).reused == 0
    for name in (KEYS, VECTORS, PASSAGES, "passages.jsonl"):
        assert (copied.checked()[0] / name).read_bytes() == (fresh.checked()[0] / name).read_bytes()


def test_a_new_folder_takes_a_donors_vectors_and_keeps_those_of_its_questions(
    built: IndexFolder, tmp_path: Path
) -> None:
    folder = IndexFolder(tmp_path / "new")
    report = build(documents(), folder, donors=[built], questions=["why does dough swell?"])
    assert (report.reused, report.encoded) == (report.passages, 0)
    path, old = folder.checked()[0], built.checked()[0]
    keys, vectors = np.load(path / KEYS), np.load(path / VECTORS)
    known = RememberedEncoder(OnnxEncoder(path / ENCODER), keys, vectors)
    assert known.known(["why does dough swell?", "why does it not?"])[0] >= 0
    assert len(keys) == len(np.load(old / KEYS)) + 1
    assert (path / PASSAGES).read_bytes() == (old / PASSAGES).read_bytes()


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


def test_a_tokens_vector_knows_its_place_and_its_company(built: IndexFolder) -> None:
    encoder = OnnxEncoder(built.current()[0] / ENCODER)
    river, money = "They sat on the bank of the river.", "They put the money in the bank."
    found = [encoder.tokens(text) for text in (river, money)]
    for text, tokens in zip((river, money), found, strict=True):
        assert tokens.vectors.shape == (len(tokens.spans), encoder.dimension)
        assert np.linalg.norm(tokens.vectors, axis=1) == pytest.approx(1, abs=1e-5)
        assert [text[a:b] for a, b in tokens.spans] == [*text.rstrip(".").split(), "."]
    words = [[text[a:b] for a, b in t.spans].index("bank") for text, t in zip((river, money), found, strict=True)]
    assert found[0].vectors[words[0]] @ found[1].vectors[words[1]] < 0.9


def test_a_question_that_a_sentence_is_said_to_answer_speaks_for_its_passage(tmp_path: Path) -> None:
    whole = documents()
    at = whole[0].text.index("The dough")
    end = at + len("The dough")
    whole[0] = replace(whole[0], questions=(AskedQuestion("how big does my pizza base get?", at, end),))
    folder = IndexFolder(tmp_path / "index")
    build(whole, folder)
    path, _ = folder.checked()
    library, dense, _ = opened(folder)
    encoder = OnnxEncoder(path / ENCODER)
    sentences = DenseRetriever(path / SENTENCES, library, encoder, "sentences")
    asked = Question("how big does my pizza base get?")
    first = sentences.retrieve(asked, 3)
    assert (first[0].passage.document, first[0].found_by) == ("episodes/E001", ("sentences",))
    assert first[0].score == pytest.approx(1, abs=1e-3)
    assert dense.retrieve(asked, 1)[0].score == pytest.approx(1, abs=1e-3)
    assert first[0].passage.sentences[1].asked == ("how big does my pizza base get?",)
    assert len({hit.passage.id for hit in first}) == len(first) == len(library)
    only = sentences.retrieve(replace(asked, filters=Filters(kinds=("review",))), 3)
    assert [hit.passage.document for hit in only] == ["reviews/r"]


def test_a_large_file_is_compared_by_size_to_open_and_whole_by_who_has_the_time(
    copied: IndexFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rag.index.store.LARGE", 1000)
    path, manifest = copied.checked()
    file = path / VECTORS
    assert manifest.sizes[VECTORS] == file.stat().st_size > 1000
    flipped = bytearray(file.read_bytes())
    flipped[-1] ^= 1
    file.unlink()  # and not the file that another generation shares
    file.write_bytes(flipped)
    assert copied.checked(whole=False)[0] == path
    with pytest.raises(IndexUnusable, match=r"vectors\.npy is damaged.*rag index --rebuild"):
        copied.checked()
    file.write_bytes(flipped[:-1])
    with pytest.raises(IndexUnusable, match=r"vectors\.npy is damaged.*rag index --rebuild"):
        copied.checked(whole=False)


def test_every_generation_lists_what_the_format_says(built: IndexFolder) -> None:
    assert set(built.checked()[1].files) >= FILES


def rewrite(folder: IndexFolder, values: object) -> None:
    """Another manifest, as an older build may have left it: CURRENT then named the generation alone."""
    path, _ = folder.current()
    (path / "manifest.json").write_text(json.dumps(values))
    (folder.path / "CURRENT").write_text(path.name + "\n")


def test_whoever_may_read_the_manifest_may_read_every_file(built: IndexFolder) -> None:
    """An image is built by root and serves as somebody else."""
    folder = built.current()[0]
    wanted = (folder / "manifest.json").stat().st_mode & 0o444
    assert {path.stat().st_mode & 0o444 for path in folder.rglob("*") if path.is_file()} == {wanted}
    assert {path.stat().st_mode & 0o555 for path in folder.rglob("*") if path.is_dir()} == {0o555}


def test_a_file_that_may_not_be_read_is_told_so(copied: IndexFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(path: Path) -> str:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(store, "_sha256", refused)
    with pytest.raises(IndexUnusable, match=r"manifest.json cannot be read \(Permission denied\); let whoever asks"):
        copied.checked()


@pytest.mark.parametrize("files", [{}, dict.fromkeys(FILES - {"names.json"}, ""), None, ["names.json"]])
def test_a_manifest_that_lists_too_few_files_is_refused_with_the_mend(copied: IndexFolder, files: object) -> None:
    path = copied.current()[0] / "manifest.json"
    rewrite(copied, json.loads(path.read_text()) | {"files": files})
    with pytest.raises(IndexUnusable, match=r"manifest\.json.*rag index"):
        copied.checked()


def test_a_build_published_while_we_read_is_read_instead(copied: IndexFolder) -> None:
    class Overtaken(IndexFolder):
        """Reads slowly: while it does, two builds publish and sweep away what it was reading."""

        def current(self) -> tuple[Path, Manifest]:
            serving = super().current()
            if serving[0] == first:
                for text in ("One thing E001.", "Another thing E001."):
                    build([document("reviews/r", text)], copied)
            return serving

    first = copied.current()[0]
    folder, _ = Overtaken(copied.path).checked()
    assert not first.exists()
    assert folder == copied.checked()[0]


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"documents": [[]]}'])
def test_columns_that_cannot_be_read_are_an_unusable_index(copied: IndexFolder, text: str) -> None:
    path, manifest = copied.checked()
    (path / "names.json").write_text(text)
    with pytest.raises(IndexUnusable, match=r"names\.json cannot be read.*rag index"):
        IndexLibrary(path, IndexInfo(manifest.generation, manifest.passages, "e"))


def test_passages_that_cannot_be_read_are_an_unusable_index(copied: IndexFolder) -> None:
    path, manifest = copied.checked()
    info = IndexInfo(manifest.generation, manifest.passages, "e")
    (path / "passages.jsonl").write_bytes(b"{" * (path / "passages.jsonl").stat().st_size)
    with pytest.raises(IndexUnusable, match=r"passages\.jsonl cannot be read.*rag index"):
        IndexLibrary(path, info).passage(0)
    (path / "passages.npy").unlink()
    with pytest.raises(IndexUnusable, match=r"passages\.jsonl cannot be read.*rag index"):
        IndexLibrary(path, info)


def test_a_token_is_another_one_once_another_generation_serves(copied: IndexFolder, tmp_path: Path) -> None:
    before = copied.token()
    assert before == copied.token() != IndexFolder(tmp_path / "none").token()
    build([document("reviews/r", "Entirely new words E001.")], copied)
    assert copied.token() != before


def test_a_model_that_does_not_load_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"no weights")
    with pytest.raises(SettingsError, match=r"^encoder\.model '.*' does not load \(.*\); give [^\n]*$"):
        build(documents(), IndexFolder(tmp_path / "index"), encoder=EncoderChoice(str(tmp_path)))


def test_another_format_is_refused_with_the_mend(copied: IndexFolder) -> None:
    path = copied.current()[0] / "manifest.json"
    rewrite(copied, json.loads(path.read_text()) | {"format": 0})
    with pytest.raises(IndexUnusable, match=rf"format 0, this version reads {FORMAT}.*rag index"):
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
sys.modules["sklearn"] = None  # t-SNE takes longer than all the rest, and most of the moments would be its
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


def test_vectors_that_cannot_be_written_are_an_oserror(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="nowhere"):
        write_vectors(np.ones((1, 4), dtype=np.float32), [0], tmp_path / "nowhere" / PASSAGES)


def test_a_build_gives_every_passage_a_place_and_one_for_evals_none(built: IndexFolder, tmp_path: Path) -> None:
    library, _, _ = opened(built)
    assert built.checked()[1].places
    placed = library.placed(10)
    assert [passage for passage, _ in placed] == [library.passage(row) for row in range(len(library))]
    assert [at for _, at in placed] == [library.place(passage) for passage, _ in placed]
    assert len({at for _, at in placed}) == len(library)
    without = IndexFolder(tmp_path / "index")
    build(documents(), without, donors=[built], places=False)
    path, manifest = without.checked()
    assert (manifest.places, (path / PLACES).exists()) == ("", False)
    library, _, _ = opened(without)
    assert (library.placed(10), library.place(library.passage(0))) == ([], None)
    assert not build(documents(), without, places=False).changed


def test_an_index_older_than_places_is_read_and_built_once_more_from_its_own_vectors(copied: IndexFolder) -> None:
    path, _ = copied.checked()
    (path / PLACES).unlink()
    values = json.loads((path / "manifest.json").read_text())
    del values["places"], values["files"][PLACES]
    rewrite(copied, values)
    assert opened(copied)[0].placed(10) == []
    report = build(documents(), copied)
    assert (report.changed, report.reused, report.encoded) == (True, report.passages, 0)
    assert len(opened(copied)[0].placed(10)) == report.passages
    assert not build(documents(), copied).changed


MANY = [
    document(f"reviews/{thing}-{what}", f"The {thing} {does}, and that is what {what} is about.")
    for thing in ("yeast", "gradient", "glacier", "violin", "senate")
    for what, does in (("time", "takes two hours"), ("money", "costs $25"), ("noise", "is never quiet"))
]


@pytest.fixture(scope="module")
def many(built: IndexFolder, tmp_path_factory: pytest.TempPathFactory) -> IndexFolder:
    pytest.importorskip("sklearn", reason="t-SNE needs the `build` extra")
    folder = IndexFolder(tmp_path_factory.mktemp("many"))
    build(MANY, folder, donors=[built])
    assert folder.checked()[1].places == TSNE
    return folder


def test_an_index_is_up_to_date_whichever_method_placed_its_passages(
    many: IndexFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "sklearn", None)
    assert not build(MANY, many).changed
    fresh = IndexFolder(tmp_path / "index")
    build(MANY, fresh, donors=[many])
    assert fresh.checked()[1].places == "PCA"
    monkeypatch.undo()
    assert not build(MANY, fresh).changed


def test_a_build_starts_from_the_places_that_the_same_texts_had_and_a_rebuild_does_not(
    many: IndexFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(many.path, tmp_path / "index")
    folder = IndexFolder(tmp_path / "index")
    before = {p.text: at for p, at in opened(folder)[0].placed(100)}
    seen: list[np.ndarray | None] = []

    def watched(vectors: np.ndarray, start: np.ndarray | None = None) -> tuple[np.ndarray, str]:
        seen.append(start)
        return place(vectors, start)

    monkeypatch.setattr("rag.index.build.place", watched)
    longer = replace(MANY[3], id="reviews/zzz")  # the same text at another row, and a new one
    build([*MANY[:3], longer, *MANY[4:], document("reviews/new", "Nothing of the kind was said before.")], folder)
    library, _, _ = opened(folder)
    assert seen[0] is not None
    for row, at in enumerate(seen[0].tolist()):
        wanted = before.get(library.passage(row).text, (np.nan, np.nan))
        assert np.array_equal(at, wanted, equal_nan=True)
    assert np.isnan(seen[0]).all(axis=1).sum() == 1
    assert len(library.placed(100)) == len(library) == len(MANY) + 1
    build(MANY, folder, rebuild=True)
    assert seen[1:] == [None]


def test_as_many_places_as_are_asked_for_are_spread_over_the_rows(many: IndexFolder) -> None:
    library, _, _ = opened(many)
    every = library.placed(1000)
    assert library.placed(3) == [every[0], every[len(every) // 2], every[-1]]
    assert library.placed(1) == every[:1]
    assert library.placed(0) == []
    assert library.place(replace(every[0][0], id="reviews/of-another-index")) is None
    assert library.place(replace(every[0][0], id="zzz")) is None


def test_a_passage_without_a_place_is_not_on_the_map(copied: IndexFolder) -> None:
    path, _ = copied.current()
    places = np.load(path / PLACES)
    places[1] = np.nan
    np.save(path / PLACES, places)
    manifest = Manifest.read(path)
    library = IndexLibrary(path, IndexInfo(manifest.generation, manifest.passages, "e"))
    assert library.place(library.passage(1)) is None
    assert [passage for passage, _ in library.placed(10)] == [library.passage(0), library.passage(2)]


@pytest.mark.parametrize("damage", ["empty", "short", "rubbish", "rows", "numbers", "objects"])
def test_places_that_cannot_be_read_are_an_unusable_index(copied: IndexFolder, damage: str) -> None:
    path, manifest = copied.checked()
    file = path / PLACES
    whole = file.read_bytes()
    if damage in ("rows", "numbers", "objects"):
        places = np.load(file)
        file.unlink()
        of = {"rows": places[1:], "numbers": places.astype(np.float64), "objects": places.astype(object)}
        np.save(file, of[damage], allow_pickle=True)
    else:
        file.unlink()
        file.write_bytes({"empty": b"", "short": whole[:-4], "rubbish": b"\x00" * len(whole)}[damage])
    with pytest.raises(IndexUnusable, match=r"places\.npy is damaged.*rag index"):
        copied.checked()
    with pytest.raises(IndexUnusable, match=r"places\.npy cannot be read.*rag index"):
        IndexLibrary(path, IndexInfo(manifest.generation, manifest.passages, "e"))


def test_every_document_comes_as_it_was_indexed_sorted_by_id(built: IndexFolder) -> None:
    assert list(opened(built)[0].documents()) == sorted(documents(), key=lambda d: d.id)


def test_citing_passages_are_counted_as_they_are_given(built: IndexFolder, tmp_path: Path) -> None:
    folder = IndexFolder(tmp_path / "index")
    others = [document("reviews/s", "Flour was not said to matter E001. An oven was E009, and so was yeast E001.")]
    build([*documents(), *others], folder, donors=[built])
    library, _, _ = opened(folder)
    counts = library.citing_counts()
    assert counts == {episode: len(library.citing(episode)) for episode in library.episodes()}
    assert counts == {"E001": 2, "E002": 1, "E009": 1}
