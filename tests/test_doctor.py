"""`rag doctor`, shown by breaking what it examines."""

import json
import shutil
import socket
from pathlib import Path

import pytest
from click.testing import CliRunner

from rag.assemble import build_index
from rag.cli import main
from rag.doctor import Finding, examine
from rag.index.encode import silent
from rag.settings import Settings

QUESTION = 'questions: [{ask: "what is the price of a walrus?", answer: "costs forty dollars"}]'


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a corpus and its index."""
    pytest.importorskip("torch", reason="exporting an encoder needs the `build` extra")
    folder = tmp_path_factory.mktemp("well")
    (folder / "corpus").mkdir()
    (folder / "corpus" / "a.md").write_text(f"---\n{QUESTION}\n---\nThe walrus costs forty dollars E001.\n")
    build_index(well(folder), rebuild=False, progress=silent, say=lambda _: None, on_bad=None)
    return folder


@pytest.fixture
def folder(built: Path, tmp_path: Path) -> Path:
    """A copy, to break."""
    return Path(shutil.copytree(built, tmp_path / "copy"))


def well(folder: Path) -> Settings:
    return Settings(corpus=folder / "corpus", index=folder / "index")


def found(settings: Settings, subject: str, port: int = 0) -> list[Finding]:
    return [f for f in examine(settings, {}, port) if f.subject == subject]


def test_what_is_well_is_good_all_over(folder: Path) -> None:
    findings = list(examine(well(folder), {}, 0))
    assert {f.verdict for f in findings} == {"good"}
    (question,) = (f for f in findings if f.subject == "question")
    assert "price of a walrus" in question.found


def test_a_flipped_bit_is_found_and_the_rest_is_examined_all_the_same(folder: Path) -> None:
    (vectors,) = (folder / "index" / "generations").glob("*/vectors.npy")
    data = bytearray(vectors.read_bytes())
    data[-1] ^= 1
    vectors.unlink()  # a hard link would change the one it was copied from
    vectors.write_bytes(data)
    (index,) = found(well(folder), "index")
    assert index.verdict == "bad"
    assert "vectors.npy is damaged" in index.found
    assert "rag index --rebuild" in index.found
    assert [f.verdict for f in found(well(folder), "server")] == ["good"]


def test_no_index_is_said_with_how_to_get_one(folder: Path) -> None:
    shutil.rmtree(folder / "index")
    (index,) = found(well(folder), "index")
    assert index.verdict == "bad"
    assert "rag index" in index.found


def test_an_index_that_is_behind_its_corpus_is_poor_and_names_the_documents(folder: Path) -> None:
    (folder / "corpus" / "b.md").write_text("The ferry costs nine dollars E002.\n")
    poor = [f for f in found(well(folder), "index") if f.verdict == "poor"]
    assert [(f.found, f.mend) for f in poor] == [("behind its corpus in 1: b", "rag index")]


def test_a_document_that_cannot_be_read_is_named_with_its_line(folder: Path) -> None:
    (folder / "corpus" / "b.md").write_text("---\ntitle: [\n---\nText E001.\n")
    bad, good = found(well(folder), "corpus")
    assert (bad.verdict, good.verdict) == ("bad", "good")
    assert "b.md" in bad.found


def test_a_port_that_is_taken_is_poor() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        (server,) = found(Settings(), "server", taken.getsockname()[1])
    assert (server.verdict, "--port" in server.mend) == ("poor", True)


def test_a_key_is_never_shown(folder: Path) -> None:
    settings = Settings.model_validate(
        {
            "corpus": folder / "corpus",
            "index": folder / "index",
            "llm": {"base_url": "http://127.0.0.1:9/v1", "model": "m", "api_key": "s3cret"},
        }
    )
    findings = list(examine(settings, {"RAG_LLM_API_KEY": "s3cret"}, 0))
    assert "s3cret" not in repr(findings)
    assert any("RAG_LLM_API_KEY" in f.found for f in findings)


def test_the_command_fails_where_something_is_bad_and_gives_json(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    good = CliRunner().invoke(main, ["doctor"])
    assert (good.exit_code, "good index: " in good.output) == (0, True)
    shutil.rmtree(folder / "index")
    bad = CliRunner().invoke(main, ["doctor", "--json"])
    assert bad.exit_code == 1
    assert {f["subject"]: f["verdict"] for f in json.loads(bad.stdout)["findings"]}["index"] == "bad"
