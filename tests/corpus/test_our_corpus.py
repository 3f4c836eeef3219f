"""The corpus of this repository: whole, and true to its sources."""

import json
import re
from pathlib import Path

import pytest

from rag.corpus.load import load
from rag.corpus.markers import find_markers, sentences
from rag.records import Document

CORPUS = Path(__file__).resolve().parents[2] / "corpus"
NUMBER = re.compile(r"\d+(?:[.,]\d+)*")


@pytest.fixture(scope="module")
def documents() -> dict[str, Document]:
    return {document.id: document for document in load(CORPUS)}


def numbers(text: str) -> set[str]:
    return set(NUMBER.findall(re.sub(r"E\d{3,}", "", text)))


def test_every_episode_cited_has_a_document(documents: dict[str, Document]) -> None:
    known = {d.episode for d in documents.values() if d.episode}
    assert len(known) == 84
    for document in documents.values():
        cited = {e for marker in find_markers(document.text) for e in marker.episodes}
        assert cited <= known, document.id


def test_all_forms_of_markers_occur_in_the_reviews(documents: dict[str, Document]) -> None:
    forms = {
        "grouped" if text.startswith("[") and "," in text else "run together" if len(m.episodes) > 1 else "single"
        for d in documents.values()
        if d.kind == "review"
        for m in find_markers(d.text)
        for text in [d.text[m.start : m.end]]
    }
    assert forms == {"single", "grouped", "run together"}


def test_every_sentence_slices_back(documents: dict[str, Document]) -> None:
    for document in documents.values():
        for sentence in sentences(document):
            assert document.text[sentence.start : sentence.end] == sentence.text


def test_every_number_known_of_an_episode_stands_in_its_document(documents: dict[str, Document], shared: Path) -> None:
    for line in (shared / "facts" / "episodes.jsonl").read_text(encoding="utf-8").splitlines():
        episode = json.loads(line)
        known = {n for fact in episode["facts"] for n in numbers(fact["fact"])}
        assert known <= numbers(documents[f"episodes/{episode['id']}"].text), episode["id"]
