"""A language model that is configured, and does not answer."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from doctor.conftest import everything, faults
from doctor.test_software import without
from endpoint import endpoint, hangs, says, status
from rag.doctor import model
from rag.doctor.finding import Finding


def asked(url: str) -> list[Finding]:
    pytest.importorskip("openai", reason="an endpoint needs the `llm` extra")
    found = everything(ask_model=True, RAG_LLM_BASE_URL=url, RAG_LLM_MODEL="m", RAG_LLM_API_KEY="s3cret")
    assert "s3cret" not in repr(found)
    return found["model"]


def test_it_is_asked_only_where_that_is_allowed(folder: Path) -> None:
    with endpoint(says("Yes.")) as served:
        quiet = everything(RAG_LLM_BASE_URL=served.url, RAG_LLM_MODEL="m")["model"]
        assert served.attempts == 0
        (answered,) = asked(served.url)
        assert served.attempts == 1
    assert quiet == [
        Finding("info", "m at 127.0.0.1 is configured, and was not asked", "`rag doctor --model` asks it for a word")
    ]
    assert (answered.grade, answered.found.startswith("m at 127.0.0.1 answered in ")) == ("ok", True)


def test_one_that_refuses_the_key(folder: Path) -> None:
    with endpoint(status(401)) as served:
        (refused,) = asked(served.url)
    assert refused == Finding("broken", "the language model's endpoint answered HTTP 401", "check RAG_LLM_API_KEY")


def test_one_that_is_not_there_or_hangs(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with endpoint(hangs()) as served:
        monkeypatch.setattr(model, "SECONDS", 0.3)
        (hanging,) = asked(served.url)
        assert (hanging.grade, "took more than 0.3 s" in hanging.found) == ("broken", True)
        assert served.attempts == 1
    (gone,) = asked(served.url)
    assert (gone.grade, "cannot be reached" in gone.found) == ("broken", True)


def test_one_that_says_nothing(folder: Path) -> None:
    with endpoint(says("")) as served:
        (mute,) = asked(served.url)
    assert (mute.grade, "answered nothing" in mute.found) == ("warning", True)


def test_a_key_that_travels_in_the_open(folder: Path) -> None:
    found = everything(RAG_LLM_BASE_URL="http://models.example/v1", RAG_LLM_MODEL="m", RAG_LLM_API_KEY="k")["model"]
    assert "over plain http" in found[0].found


def test_a_model_without_its_extra(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without(monkeypatch, tmp_path / "linked", "openai")
    (missing,) = everything(RAG_LLM_BASE_URL="http://127.0.0.1:9/v1", RAG_LLM_MODEL="m")["model"]
    assert missing == Finding("broken", "m at 127.0.0.1 needs the extra llm", "pip install 'podcast-rag[llm]'")
    assert "openai" not in sys.modules


def test_a_model_file_that_is_not_there(folder: Path) -> None:
    (missing,) = faults(everything(RAG_LLM_GGUF="none.gguf"))["model"]
    assert (missing.grade, "none.gguf is no file" in missing.found) == ("broken", True)


def test_answers_of_a_model_that_nobody_configured(folder: Path) -> None:
    (none,) = everything(RAG_GENERATOR="llm")["model"]
    assert (none.grade, "RAG_LLM_BASE_URL" in none.mend) == ("broken", True)
