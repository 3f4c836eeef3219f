"""Settings: where they come from, and which are refused."""

from operator import attrgetter
from pathlib import Path

import pytest

from rag.errors import SettingsError
from rag.settings import Settings, SplitSettings, read_settings, read_sound, setting_names


def read(**environment: str) -> Settings:
    return read_settings(None, environment, {})


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_flags_come_before_the_environment_and_that_before_the_file(tmp_path: Path) -> None:
    (tmp_path / "rag.toml").write_text("[search]\nk = 3\ndepth = 30\ndense_weight = 0.3\n")
    settings = read_settings(None, {"RAG_SEARCH__K": "4", "RAG_SEARCH__DEPTH": "40"}, {"search.k": 5})
    assert (settings.search.k, settings.search.depth, settings.search.dense_weight) == (5, 40, 0.3)


@pytest.mark.parametrize(("longest", "least"), [(50, 16), (150, 50), (600, 200), (2000, 200)])
def test_the_least_length_follows_the_longest(longest: int, least: int) -> None:
    assert read(RAG_SPLIT__MAX_CHARS=str(longest)).split == SplitSettings(max_chars=longest, min_chars=least)


@pytest.mark.parametrize("variable", ["RAG_ENGINE", "RAG_SEARCH__K", "RAG_SERVE__WORKERS", "RAG_LLM_TIMEOUT"])
def test_a_value_that_is_no_utf_8_is_told(variable: str) -> None:
    with pytest.raises(SettingsError, match="wants UTF-8"):
        read(**{variable: "5\udce9"})


def test_a_path_need_not_be_utf_8() -> None:
    assert read(RAG_INDEX="in\udcfcdex").index == Path("in\udcfcdex")


def test_a_least_length_above_the_longest_is_refused() -> None:
    with pytest.raises(SettingsError, match="setting 'split': min_chars is 300, above max_chars 100"):
        read(RAG_SPLIT__MAX_CHARS="100", RAG_SPLIT__MIN_CHARS="300")


@pytest.mark.parametrize("pattern", [r"E\d{3,}", r"ep-\d+", r"[A-Z]{2}\d\d", r"(?:S\d+)?E\d+", r"[Ee]\d{3}"])
def test_an_id_pattern_is_taken(pattern: str) -> None:
    assert read(RAG_ID_PATTERN=pattern).id_pattern == pattern


@pytest.mark.parametrize(
    ("pattern", "why"),
    [
        ("E(", "no regular expression"),
        (r"E\d{3}(?", "no regular expression"),
        (r"(?i)E\d{3}", "inline flag"),
        (r"E(?P<n>\d{3})", "capturing group"),
        (r"(E\d{3})", "capturing group"),
        (r"\d+", "bare number"),
        (r"E?\d{3}", "bare number"),
        (r"20\d\d", "bare number"),
        (r"\d{12}", "bare number"),
        ("", "empty string"),
        ("E*", "empty string"),
        ("E" * 201, "200"),
    ],
)
def test_an_id_pattern_that_cannot_serve_is_refused(pattern: str, why: str) -> None:
    with pytest.raises(SettingsError, match=rf"setting 'id_pattern': .*{why}"):
        read(RAG_ID_PATTERN=pattern)


def test_a_language_model_comes_from_the_environment_as_others_spell_theirs() -> None:
    llm = read(
        RAG_LLM_BASE_URL="http://127.0.0.1:11434/v1/",
        RAG_LLM_MODEL="qwen",
        RAG_LLM_API_KEY="sk-1",
        RAG_LLM__RETRIES="1",
    ).llm
    assert (llm.base_url, llm.model, llm.retries) == ("http://127.0.0.1:11434/v1", "qwen", 1)
    assert "sk-1" not in repr(llm)


def test_nothing_set_means_no_model() -> None:
    settings = read()
    assert (settings.generator, settings.llm.base_url, settings.llm.gguf) == ("extractive", None, None)
    assert read(RAG_LLM_BASE_URL="", RAG_LLM_MODEL="", RAG_LLM_API_KEY="") == settings


@pytest.mark.parametrize(
    ("environment", "why"),
    [
        ({"RAG_LLM_BASE_URL": "http://a.example/v1"}, "RAG_LLM_MODEL="),
        ({"RAG_LLM_BASE_URL": "ftp://a.example", "RAG_LLM_MODEL": "m"}, "no http address"),
        ({"RAG_LLM_BASE_URL": "http://me:sk-1@a.example/v1", "RAG_LLM_MODEL": "m"}, "RAG_LLM_API_KEY"),
        ({"RAG_LLM_BASE_URL": "http://a", "RAG_LLM_MODEL": "m", "RAG_LLM_GGUF": "x.gguf"}, "two models"),
        ({"RAG_LLM_CONTEXT": "2048", "RAG_LLM_ANSWER": "2000"}, "above half of context"),
        ({"RAG_LLM_KEY": "sk-1"}, "llm.key"),
        ({"RAG_LLM_BASE_URL": "http://a:99999/v1", "RAG_LLM_MODEL": "m"}, "no http address"),
        ({"RAG_LLM_BASE_URL": "http://a b/v1", "RAG_LLM_MODEL": "m"}, "no http address"),
        ({"RAG_API_KEY": "sk-1"}, "api_key"),
        ({"RAG_SERVE__TRACES": "ftp://a.example/sk-1"}, "http://127.0.0.1:4318"),
        ({"RAG_SERVE__TRACES": "http://me:sk-1@a.example"}, "OTEL_EXPORTER_OTLP_HEADERS"),
        ({"RAG_SERVE__TRACES": "http://a.example?key=sk-1"}, "holds a query"),
        ({"RAG_LLM": "sk-1", "RAG_LLM_MODEL": "m"}, "set llm.NAME"),
        ({"RAG_LLM_API_KEY": "sk-1", "RAG_LLM_API_KEY__X": "m"}, "set api_key.NAME"),
    ],
)
def test_an_address_that_cannot_serve_is_refused_without_its_key(environment: dict[str, str], why: str) -> None:
    with pytest.raises(SettingsError) as refused:
        read(**environment)
    assert why in str(refused.value)
    assert "sk-1" not in str(refused.value)
    assert refused.value.__cause__ is None


def test_what_is_sound_is_read_and_each_wrong_value_told(tmp_path: Path) -> None:
    (tmp_path / "rag.toml").write_text('corpus = "texts"\nindx = "x"\nvectors = "pq"\n[search]\nk = 500\ndepth = 30\n')
    variables = {"RAG_SPLIT__MIN_CHARS": "900", "RAG_SERVE__PROXIES": "10.0.0.1,x", "RAG_VECTORS__A": "1"}
    settings, wrong = read_sound(None, variables, {"search.retriever": "dense"})
    assert sorted(error.setting for error in wrong) == ["indx", "search.k", "serve.proxies.1", "split", "vectors"]
    assert (str(settings.corpus), settings.vectors, settings.search.depth) == ("texts", "pq", 30)
    assert (settings.search.k, settings.search.retriever, settings.serve.proxies) == (10, "dense", ())
    with pytest.raises(SettingsError, match="setting 'vectors' is a section"):
        read_settings(None, variables, {})


@pytest.mark.parametrize(
    ("name", "spelled", "value"),
    [
        ("search.k", " 7 ", 7),
        ("search.feedback", "1e-1", 0.1),
        ("split.titled", "No", False),
        ("serve.log_questions", "on", True),
        ("sentence_vectors", "FALSE", False),
        ("serve.keys", "null", Path("null")),
        ("llm.gguf", "null", "null"),
        ("serve.proxies", "10.0.0.1, ::1,", ("10.0.0.1", "::1")),
        ("serve.origins", "https://A.example", ("https://a.example",)),
    ],
)
def test_a_text_is_read_as_what_the_setting_is(name: str, spelled: str, value: object) -> None:
    assert attrgetter(name)(read(**{f"RAG_{name.upper().replace('.', '__')}": spelled})) == value


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("search.k", "x", "wants a whole number (found 'x')"),
        ("search.k", float("nan"), "wants a whole number (found nan)"),
        ("search.k", 500, "wants a whole number <= 100 (found 500)"),
        ("search.fusion", "none", "wants one of weighted, convex, rrf (found 'none')"),
        ("serve.log_questions", "maybe", "wants true or false (found 'maybe')"),
        ("serve.proxies", 3, "wants a list (found 3)"),
        ("encoder.sha256", 3, "wants text (found 3)"),
        ("encoder", "x", "wants a section (found 'x')"),
        ("corpus", 3, "wants text (found 3)"),
        ("ray", "embedded", "is no Ray cluster; write it as auto or 10.0.0.7:6379 (found 'embedded')"),
        ("serve.traces", "text", "is no http address; write it as http://127.0.0.1:4318"),
        ("llm.timeout", "sk-1", "wants a number"),
        ("milvus.token", 3, "wants text"),
        ("search.kk", "sk-1", "there is no such setting"),
    ],
)
def test_what_is_wanted_is_said_plainly(name: str, value: object, told: str) -> None:
    with pytest.raises(SettingsError) as refused:
        read_settings(None, {}, {name: value})
    assert str(refused.value) == f"setting {name!r}: {told}"


def test_every_setting_has_a_name() -> None:
    assert {"corpus", "search", "search.k", "llm.api_key", "serve.proxies"} <= set(setting_names())


@pytest.mark.parametrize("name", ["a - at `$b", "a` - at `$.search.k", "", "x.y", "`"])
def test_an_unknown_name_is_told_whatever_it_holds(name: str, tmp_path: Path) -> None:
    (tmp_path / "rag.toml").write_text(f"'{name}' = 1\n[search]\nk = 5\n'{name}' = 1\n")
    settings, wrong = read_sound(None, {}, {})
    assert [error.setting for error in wrong] == [name, f"search.{name}"]
    assert settings.search.k == 5
