"""Settings: where they come from, and which are refused."""

from pathlib import Path

import pytest

from rag.errors import SettingsError
from rag.settings import Settings, SplitSettings, read_settings


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
