"""Builds that publish while an index is being opened, or asked."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from faults.conftest import Record
from faults.tiny import AFTER, ANSWER, BEFORE, NEW_ANSWER, QUESTION, answer, build_tiny, write_corpus
from rag.assemble import open_service
from rag.index.store import IndexFolder, Manifest
from rag.settings import Settings


def test_builds_that_publish_between_the_check_and_the_opening(
    fresh: Callable[[], Path], tmp_path: Path, record: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    index, corpus, checked, times = fresh(), tmp_path / "corpus", IndexFolder.checked, list[int]()

    def then_two_publish(self: IndexFolder, *, whole: bool = True) -> tuple[Path, Manifest]:
        found = checked(self, whole=whole)
        if not times:  # the second sweeps away what the first left for readers
            times.append(1)
            build_tiny(write_corpus(corpus, BEFORE | {"reviews/s.md": "Bread is old."}), index)
            build_tiny(write_corpus(corpus, AFTER), index)
            assert not found[0].exists()
        return found

    monkeypatch.setattr(IndexFolder, "checked", then_two_publish)
    found = answer(index)
    assert found == NEW_ANSWER
    record(
        "two builds publish",
        "between an index's check and its opening",
        sees="nothing",
        lost="nothing",
        served={NEW_ANSWER: "the new index"}.get(found, found),
    )


def test_builds_that_publish_during_one_answer(fresh: Callable[[], Path], tmp_path: Path, record: Record) -> None:
    index, corpus = fresh(), tmp_path / "corpus"
    asked: Any = open_service(Settings(index=index)).answerer.stream(QUESTION)
    first = [next(asked)]
    for text in ("Bread is old.", "Bread is older.", "Bread is new."):
        build_tiny(write_corpus(corpus, AFTER | {"reviews/s.md": text}), index)
    said = str([*first, *asked])
    assert ANSWER in said
    assert NEW_ANSWER not in said
    record(
        "three builds publish",
        "during one answer that has begun",
        sees="nothing",
        lost="nothing",
        served="the answer of the index that it began with; the next question asks the new one",
    )
