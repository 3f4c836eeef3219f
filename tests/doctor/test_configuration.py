"""Settings and keys that are wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from doctor.conftest import everything, faults
from rag.doctor.finding import Finding
from rag.serve.keys import add_key


def test_every_wrong_setting_is_told_and_the_rest_is_examined_all_the_same(folder: Path) -> None:
    (folder / "corpus").rename(folder / "texts")
    (folder / "rag.toml").write_text('corpus = "texts"\nindx = "x"\n[search]\nk = 500\n[split]\nmax_chars = 9\n')
    found = everything(RAG_SERVE__RATE="many", RAG_SERCH__K="3", RAG_LLM_MODEL="")
    settings = {finding.found.split("'")[1]: finding for finding in faults(found)["settings"]}
    assert all(finding.grade == "broken" for finding in settings.values())
    assert {name: finding.mend for name, finding in settings.items()} == {
        "indx": "remove it from rag.toml; did you mean index?",
        "search.k": "mend it in rag.toml",
        "split.max_chars": "mend it in rag.toml",
        "serve.rate": "set another RAG_SERVE__RATE",
        "serch": "unset RAG_SERCH__K; did you mean search?",
    }
    assert "(found 500)" in settings["search.k"].found
    assert found["corpus"][0].found.startswith("3 documents in texts")


@pytest.mark.parametrize("text", [b"corpus = [", b"\xff", b'corpus = "a"\ncorpus = "b"'])
def test_a_settings_file_that_cannot_be_read(folder: Path, text: bytes) -> None:
    (folder / "rag.toml").write_bytes(text)
    found = everything()
    assert set(faults(found)) == {"settings"}
    assert found["settings"][0].found.startswith("rag.toml cannot be read")
    assert found["settings"][0].mend == "mend rag.toml"


def test_a_settings_file_that_is_not_there(folder: Path) -> None:
    (settings,) = everything(config=folder / "none.toml")["settings"]
    assert (settings.grade, "none.toml" in settings.found) == ("broken", True)


def test_a_value_where_a_section_is_wanted(folder: Path) -> None:
    found = faults(everything(RAG_SEARCH="x", RAG_SEARCH__K="3"))["settings"]
    assert {finding.grade for finding in found} == {"broken"}
    assert any("RAG_SEARCH" in finding.mend for finding in found)


def test_a_key_is_never_shown_and_its_file_is_for_its_owner_alone(folder: Path) -> None:
    file = folder / "rag.toml"
    file.write_text('[llm]\nbase_url = "http://127.0.0.1:9/v1"\nmodel = "m"\napi_key = "s3cret"\n')
    file.chmod(0o644)
    found = everything(RAG_SERVE__RATE="s3cret-not")
    assert "s3cret'" not in repr(found)
    assert (
        Finding("warning", "rag.toml holds a key, and can be read by others than its owner", "chmod 600 rag.toml")
        in found["settings"]
    )
    file.chmod(0o600)
    assert "settings" not in faults(everything())
    found = everything(RAG_LLM_API_KEY="s3cret", RAG_LLM_BASE_URL="s3cret", RAG_LLM_API_KEYS="s3cret")
    assert "s3cret" not in repr(found)


def test_keys(folder: Path) -> None:
    file = folder / "keys.txt"
    add_key(file, "ada")
    assert everything(RAG_SERVE__KEYS="keys.txt")["keys"] == [Finding("ok", "1 in keys.txt")]
    file.chmod(0o644)
    assert faults(everything(RAG_SERVE__KEYS="keys.txt"))["keys"] == [
        Finding("warning", "keys.txt can be read by others than its owner", "chmod 600 keys.txt")
    ]
    file.chmod(0o620)
    (written,) = faults(everything(RAG_SERVE__KEYS="keys.txt"))["keys"]
    assert "can be written" in written.found


@pytest.mark.parametrize("text", [b"ada plain-key\n", b"", b"\xff\n"])
def test_keys_that_cannot_serve(folder: Path, text: bytes) -> None:
    (folder / "keys.txt").write_bytes(text)
    (keys,) = faults(everything(RAG_SERVE__KEYS="keys.txt"))["keys"]
    assert (keys.grade, "`rag keys keys.txt NAME`" in keys.mend) == ("broken", True)
    assert "plain-key" not in repr(keys)
    assert "keys.txt" in keys.found
