"""An index in Milvus: what is refused, what is fetched, what is kept secret, and what is built anew."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from msgspec.structs import replace

from faults.tiny import AFTER, ANSWER, BEFORE, NEW_ANSWER, QUESTION, tiny_encoder, write_corpus
from lite import dropped, settings_for
from rag.assemble import build_index, index_collection, index_token, open_service
from rag.cli import main
from rag.doctor.examine import examine
from rag.doctor.installation import Installation
from rag.errors import IndexUnusable, SettingsError
from rag.evals.datasets import Collection
from rag.index.build import BuildReport
from rag.index.encode import MODEL, OnnxEncoder, silent
from rag.index.milvus.client import Address, Engine
from rag.index.milvus.published import Generations
from rag.records import Question
from rag.settings import EncoderSettings, SearchSettings, Settings, read_settings


@pytest.fixture
def settings(milvus_uri: str, tmp_path: Path) -> Iterator[Settings]:
    chosen = settings_for(milvus_uri, tmp_path / "index", corpus=write_corpus(tmp_path / "corpus"))
    yield chosen
    dropped(chosen)


def built(settings: Settings, *, rebuild: bool = False) -> BuildReport:
    with tiny_encoder():
        return build_index(settings, rebuild=rebuild, progress=silent, say=lambda _: None, on_bad=None)


def answer(settings: Settings) -> str:
    return open_service(settings).answerer.ask(QUESTION).sentences[0].text


def elsewhere(settings: Settings, tmp_path: Path) -> Settings:
    """The same index, seen from a machine that has nothing of it."""
    return replace(settings, index=tmp_path / "another machine", corpus=tmp_path / "no corpus")


def test_a_machine_that_shares_nothing_but_milvus_answers(settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(IndexUnusable, match=r"holds no index named test_\w+; build it with `rag index`"):
        open_service(settings)
    built(settings)
    assert answer(elsewhere(settings, tmp_path)) == ANSWER


def test_an_encoder_that_is_damaged_here_is_refused(settings: Settings) -> None:
    built(settings)
    (model,) = settings.index.rglob(MODEL)
    model.write_bytes(model.read_bytes()[:-1] + b"\0")
    with pytest.raises(IndexUnusable, match="is not the encoder of the index; remove it"):
        open_service(settings)
    shutil.rmtree(model.parent)
    assert answer(settings) == ANSWER


def test_another_encoder_or_format_is_refused_with_the_mend(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    built(settings)
    other = replace(settings, encoder=EncoderSettings(precision="fp32"))
    with pytest.raises(IndexUnusable, match=r"the index in Milvus at \S+ was built with .*; build it with `rag index`"):
        open_service(other)
    monkeypatch.setattr("rag.index.milvus.published.FORMAT", 99)
    with pytest.raises(IndexUnusable, match="format 1, this version reads 99; build it with `rag index`"):
        open_service(settings)


def test_a_rebuild_begins_anew_while_the_old_one_serves(settings: Settings) -> None:
    first = built(settings)
    before, token = open_service(settings), index_token(settings)
    write_corpus(settings.corpus, AFTER)
    report = built(settings, rebuild=True)
    assert (first.encoded, report.encoded, report.reused) == (3, 3, 0)
    assert index_token(settings) != token
    assert answer(settings) == NEW_ANSWER
    assert before.answerer.ask(QUESTION).sentences[0].text == ANSWER  # the generation before stays for who has it open
    assert built(settings).changed is False


def test_what_was_and_is_no_more_and_is_again_is_found_in_its_time_alone(settings: Settings) -> None:
    built(settings)
    for pages, wanted in ((AFTER, NEW_ANSWER), ({}, ANSWER), (AFTER, NEW_ANSWER)):
        write_corpus(settings.corpus, BEFORE | pages)
        service = open_service(settings)
        built(settings)
        assert answer(settings) == wanted
        assert service.answerer.ask(QUESTION).sentences[0].text != wanted
        open_service(settings).check()


def test_vectors_of_a_folder_are_copied_and_not_made_again(settings: Settings) -> None:
    built(replace(settings, engine="embedded"))
    report = built(settings)
    assert (report.reused, report.encoded) == (3, 0)
    assert answer(settings) == ANSWER


def test_what_grows_with_the_corpus_is_spread_over_the_shards_that_the_settings_name(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, call = {}, Engine.call

    def told(self: Engine, verb: str, *arguments: Any, **options: Any) -> Any:
        if verb == "create_collection":
            made[arguments[0].rpartition("_")[2]] = options["num_shards"]
        return call(self, verb, *arguments, **options)

    monkeypatch.setattr(Engine, "call", told)
    settings = replace(settings, milvus=replace(settings.milvus, shards=3))
    built(settings)
    assert made == {"passages": 3, "vectors": 3, "texts": 3, "terms": 1, "encoder": 1, "meta": 1}
    assert answer(settings) == ANSWER


def test_the_command_line_builds_and_asks(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAG_MILVUS_URI", settings.milvus.uri)
    monkeypatch.setenv("RAG_MILVUS_PREFIX", settings.milvus.prefix)
    where = ["--index", str(settings.index)]
    with tiny_encoder():
        command = [*where, "index", "--engine", "milvus", "--corpus", str(settings.corpus)]
        built = CliRunner().invoke(main, command)
    assert (built.exit_code, "3 passages" in built.stderr) == (0, True), built.output
    for command in (["ask", "--engine", "milvus", QUESTION], ["--engine", "milvus", "ask", QUESTION]):
        asked = CliRunner().invoke(main, [*where, *command])
        assert (asked.exit_code, ANSWER in asked.stdout) == (0, True), asked.output
    assert not (settings.index / "CURRENT").exists()


def test_a_judged_collection_that_a_folder_holds_is_not_encoded_again(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    collection = Collection("C-1", (("a", "Bread", "Yeast makes gas."), ("b", "", ANSWER)), {"q": QUESTION}, {})
    with tiny_encoder():
        index_collection(replace(settings, engine="embedded"), collection, silent, lambda _: None)
        monkeypatch.setattr(OnnxEncoder, "encode", None)
        there = index_collection(settings, collection, silent, lambda _: None)
    monkeypatch.undo()
    assert open_service(there).retriever.retrieve(Question(QUESTION), 1)[0].passage.document == "b"


def test_a_judged_collection_is_kept_in_milvus_too(settings: Settings) -> None:
    collection = Collection("C-1", (("a", "Bread", "Yeast makes gas."), ("b", "", ANSWER)), {"q": QUESTION}, {})
    with tiny_encoder():
        there = index_collection(settings, collection, silent, lambda _: None)
    assert there.milvus.prefix.startswith(f"{settings.milvus.prefix}_C_1_")
    assert open_service(there).retriever.retrieve(Question(QUESTION), 1)[0].passage.document == "b"


def test_rank_bm25_is_refused_over_milvus(settings: Settings) -> None:
    built(settings)
    with pytest.raises(SettingsError, match="give bm25"):
        open_service(replace(settings, search=SearchSettings(retriever="rank-bm25")))


def test_the_doctor_examines_an_index_in_milvus(settings: Settings) -> None:
    built(settings)
    values = {"engine": "milvus", "milvus.uri": settings.milvus.uri, "milvus.prefix": settings.milvus.prefix}
    flags = values | {"index": settings.index, "corpus": settings.corpus}
    found = list(examine(Installation(environment={}, flags=flags, port=0)))
    assert [(name, f) for name, f in found if f.grade == "broken"] == []
    assert "every row" in next(f.found for name, f in found if name == "files")


def test_a_token_is_never_shown() -> None:
    read = read_settings(None, {"RAG_MILVUS_TOKEN": "root:s3cret", "RAG_ENGINE": "milvus", "RAG_MILVUS_URI": ""}, {})
    assert read.milvus.token is not None
    assert read.milvus.token.value == "root:s3cret"
    assert "s3cret" not in repr(read) + repr(Address("http://x", token="root:s3cret"))  # noqa: S106
    for wrong in ("http://root:s3cret@127.0.0.1:19530", "s3cret"):
        with pytest.raises(SettingsError) as caught:
            read_settings(None, {"RAG_MILVUS_URI": wrong}, {})
        assert "s3cret" not in str(caught.value)
    pytest.importorskip("pymilvus", reason="the engine milvus needs the extra `milvus`")
    nobody = Address("http://127.0.0.1:1", token="root:s3cret", timeout=0.5)  # noqa: S106
    with pytest.raises(IndexUnusable, match="does not answer") as away:
        Generations(Engine(nobody)).serving()
    assert away.value.retry
    assert "s3cret" not in str(away.value)


def test_without_pymilvus_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "pymilvus", None)
    settings = settings_for("http://127.0.0.1:1", tmp_path)
    with pytest.raises(SettingsError, match=r"pip install 'podcast-rag\[milvus\]'"):
        open_service(replace(settings, milvus=replace(settings.milvus, timeout=1.5)))


def test_nothing_of_milvus_is_imported_where_a_folder_keeps_the_index() -> None:
    code = "import sys, rag.cli, rag.assemble, rag.serve.app, rag.index.build; print(*sys.modules)"
    paths = {"PYTHONPATH": ":".join(filter(None, sys.path))}
    done = subprocess.run([sys.executable, "-c", code], env=paths, capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert "rag.index.build" in loaded
    assert not {"pymilvus", "grpc", "pandas", "rag.index.milvus"} & loaded


def test_an_address_is_one_of_a_server_and_names_are_names() -> None:
    for name, value in (
        ("URI", "ftp://x"),
        ("URI", "./milvus.db"),
        ("PREFIX", "a b"),
        ("PREFIX", "1"),
        ("INDEX", "x;"),
    ):
        with pytest.raises(SettingsError, match=f"milvus.{name.lower()}"):
            read_settings(None, {f"RAG_MILVUS_{name}": value}, {})
