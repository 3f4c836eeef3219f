"""A corpus and an index that are not as they should be."""

from __future__ import annotations

import json
import shutil
from hashlib import sha256
from pathlib import Path

import pytest

from doctor.conftest import everything, faults
from faults.tiny import AFTER, build_tiny, write_corpus
from rag.doctor.finding import Finding
from rag.index import store
from rag.index.store import IndexFolder

WAITS = {"files", "built-with", "behind", "map", "question"}
"""Checks that an index has to be there for."""


def current(folder: Path) -> Path:
    return IndexFolder(folder / "index").current()[0]


def changed(path: Path, data: bytes) -> None:
    path.unlink()  # a hard link would change the one that it was copied from
    path.write_bytes(data)


def test_a_corpus_that_is_missing_matters_less_where_an_index_serves(folder: Path) -> None:
    shutil.rmtree(folder / "corpus")
    found = everything()
    assert {check: {f.grade for f in findings} for check, findings in faults(found).items()} == {"corpus": {"warning"}}
    assert found["behind"] == [Finding("info", "there is no corpus here to compare the index with")]
    shutil.rmtree(folder / "index")
    (corpus,) = everything()["corpus"]
    assert (corpus.grade, corpus.mend) == ("broken", "give a corpus folder")


def test_an_empty_corpus(folder: Path) -> None:
    shutil.rmtree(folder / "corpus")
    (folder / "corpus").mkdir()
    (corpus,) = everything()["corpus"]
    assert (corpus.grade, "no document here" in corpus.found) == ("warning", True)


def test_each_document_that_cannot_be_read_is_named_with_its_line(folder: Path) -> None:
    (folder / "corpus" / "b.md").write_text("---\ntitle: [\n---\nText E001.\n")
    (folder / "corpus" / "c.md").write_bytes(b"one\ncaf\xe9")
    found = everything()
    assert [f.found.partition(": ")[0] for f in faults(found)["corpus"]] == ["corpus/b.md:3", "corpus/c.md:2"]
    assert found["corpus"][-1].found.startswith("3 documents")
    assert found["behind"] == [Finding("info", "not examined while corpus is broken")]


def test_only_the_first_of_many_bad_documents_have_a_line(folder: Path) -> None:
    for number in range(12):
        (folder / "corpus" / f"x{number}.md").write_bytes(b"\xff")
    found = faults(everything())["corpus"]
    assert len(found) == 11
    assert found[-1].found == "2 further documents cannot be read"


def test_no_index(folder: Path) -> None:
    shutil.rmtree(folder / "index")
    found = everything()
    assert found["index"] == [Finding("broken", "index holds no index", "build it with `rag index`")]
    assert all(found[check] == [Finding("info", "not examined while index is broken")] for check in WAITS)


def test_an_index_of_another_format(folder: Path) -> None:
    manifest = current(folder) / "manifest.json"
    values = json.loads(manifest.read_text())
    changed(manifest, json.dumps(values | {"format": 3}).encode())
    (folder / "index" / "CURRENT").write_text(f"{manifest.parent.name}\n")  # as older versions wrote it
    (index,) = faults(found := everything())["index"]
    assert set(faults(found)) == {"index"}
    assert (index.grade, index.mend) == ("broken", "build it with `rag index`")
    assert "has format 3" in index.found


def test_a_manifest_that_is_damaged(folder: Path) -> None:
    manifest = current(folder) / "manifest.json"
    changed(manifest, manifest.read_bytes().replace(b"tiny", b"tinY", 1))
    (index,) = faults(found := everything())["index"]
    assert set(faults(found)) == {"index"}
    assert (index.grade, "manifest.json is damaged" in index.found) == ("broken", True)


def test_every_damaged_file_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "LARGE", 0)  # every file is too large to be read whole when an index is opened
    for name in ("vectors.npy", "bm25/meta.json"):
        path = current(folder) / name
        data = bytearray(path.read_bytes())
        data[-1] ^= 1
        changed(path, bytes(data))
    (current(folder) / "encoder" / "model.onnx").unlink()
    found = everything()
    assert set(faults(found)) == {"files"}
    assert {f.found.split(" is ")[0].rsplit("/", 1)[-1] for f in found["files"]} == {
        "vectors.npy",
        "meta.json",
        "model.onnx",
    }
    assert {f.mend for f in found["files"]} == {"mend it with `rag index --rebuild`"}
    assert found["question"] == [Finding("info", "not examined while files is broken")]


def test_an_index_of_another_encoder(folder: Path) -> None:
    found = everything(RAG_ENCODER__PRECISION="fp32")
    (built,) = found["built-with"]
    assert (built.grade, built.mend) == ("broken", "build it with `rag index`")
    assert found["question"][0].found == "not examined while built-with is broken"
    assert everything(RAG_ENCODER__MODEL="another")["built-with"][0].grade == "broken"


def test_an_index_of_other_settings(folder: Path) -> None:
    found = everything(RAG_SPLIT__MAX_CHARS="100", RAG_ID_PATTERN=r"X\d+", RAG_VECTORS="flat", RAG_SPLIT__TITLED="no")
    told = faults(found)["built-with"]
    assert {f.found.split()[0] for f in told} == {
        "split.max_chars",
        "split.min_chars",
        "split.titled",
        "id_pattern",
        "vectors",
    }
    assert {(f.grade, f.mend) for f in told} == {("warning", "rag index")}


def test_an_index_that_is_behind_its_corpus(folder: Path) -> None:
    write_corpus(folder / "corpus", AFTER)
    (folder / "corpus" / "reviews" / "r.md").unlink()
    for name in "abcd":
        (folder / "corpus" / f"{name}.md").write_text("The ferry costs nine dollars E002.\n")
    (behind,) = everything()["behind"]
    said = "since the index was built: 4 added (a, b, c, …); 1 changed (episodes/E002); 1 removed (reviews/r)"
    assert behind == Finding("warning", said, "rag index")


def test_an_index_without_a_map(folder: Path) -> None:
    (current(folder) / "places.npy").unlink()
    manifest = current(folder) / "manifest.json"
    values = json.loads(manifest.read_text())
    del values["files"]["places.npy"]
    changed(manifest, json.dumps(values).encode())
    (folder / "index" / "CURRENT").write_text(f"{manifest.parent.name}\n")
    assert everything()["map"] == [Finding("info", "the index holds none", "rag index")]


def test_a_build_that_was_killed_and_one_that_is_under_way(folder: Path) -> None:
    left = folder / "index" / ".building-x"
    left.mkdir()
    (left / "vectors.npy").write_bytes(bytes(3 << 20))
    assert everything()["builds"] == [
        Finding("warning", "1 left unfinished: .building-x (3 MiB)", "the next `rag index` sweeps it out")
    ]
    with IndexFolder(folder / "index").writing():
        found = everything()
    assert [f.grade for f in found["builds"]] == ["info"]
    assert "is writing the index now" in found["builds"][0].found
    assert everything()["builds"][0].grade == "ok"


def test_an_index_that_finds_none_of_its_own_titles(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "corpus").mkdir(parents=True)
    for name in "ab":  # an episode that the corpus lacks
        (elsewhere / "corpus" / f"{name}.md").write_text(f"---\ntitle: On E999 {name}\n---\nSee E001.\n")
    build_tiny(elsewhere / "corpus", elsewhere / "index")
    monkeypatch.chdir(elsewhere)
    (question,) = everything()["question"]
    assert question.grade == "warning"
    assert question.found == "2 of its own titles have no answer, 'What is On E999 a?' first"
    assert "`rag index --rebuild`" in question.mend


def test_what_opens_no_more_though_its_checksums_hold(folder: Path) -> None:
    path = current(folder) / "dense.faiss"
    changed(path, b"none of faiss's")
    manifest = current(folder) / "manifest.json"
    values = json.loads(manifest.read_text())
    values["files"]["dense.faiss"] = sha256(path.read_bytes()).hexdigest()
    changed(manifest, json.dumps(values).encode())
    (folder / "index" / "CURRENT").write_text(f"{manifest.parent.name}\n")
    (opens,) = faults(found := everything())["opens"]
    assert set(faults(found)) == {"opens"}
    assert (opens.grade, "dense.faiss does not load" in opens.found) == ("broken", True)
    assert opens.mend == "mend it with `rag index --rebuild`"


def test_an_index_folder_that_is_a_file(folder: Path) -> None:
    shutil.rmtree(folder / "index")
    (folder / "index").write_text("")
    (index,) = everything()["index"]
    assert (index.grade, index.mend) == ("broken", "give another with --index")
