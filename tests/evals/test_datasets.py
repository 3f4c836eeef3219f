from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from rag.errors import UserError
from rag.evals.datasets import DatasetError, load_beir, load_questions
from rag.records import Turn

SHARED = Path(__file__).parents[3] / "shared" / "data"

QUESTION: dict[str, Any] = {
    "id": "q1",
    "question": "What did it cost?",
    "type": "numeric",
    "episodes": ["E026"],
    "quotes": [{"document": "reviews/rl", "quote": "for about $25"}],
    "facts": ["$25 | 25 dollars"],
    "split": "dev",
}


def write_questions(folder: Path, *rows: object) -> Path:
    path = folder / "questions.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in rows) + "\n", encoding="utf-8")
    return path


def write_beir(folder: Path, **qrels: str) -> Path:
    (folder / "qrels").mkdir()
    (folder / "corpus.jsonl").write_text(
        '{"_id": "d1", "title": "One", "text": "first\u2028line"}\n\n{"_id": 2, "text": "second"}\n', encoding="utf-8"
    )
    (folder / "queries.jsonl").write_text(
        '{"_id": "7", "text": "which?"}\n{"_id": "8", "text": "not judged"}\n', encoding="utf-8"
    )
    for split, rows in qrels.items():
        (folder / "qrels" / f"{split}.tsv").write_text("query-id\tcorpus-id\tscore\n" + rows, encoding="utf-8")
    return folder


def test_questions_load_from_the_file_or_its_folder(tmp_path: Path) -> None:
    unanswerable = {"id": "q2", "question": "Who?", "type": "unanswerable", "split": "test"}
    path = write_questions(tmp_path, QUESTION, unanswerable)
    path.write_text("\ufeff" + path.read_text(encoding="utf-8"), encoding="utf-8")
    first, second = load_questions(path)
    assert load_questions(str(tmp_path)) == (first, second)
    assert first.quotes == (("reviews/rl", "for about $25"),)
    assert (first.answerable, second.answerable) == (True, False)
    assert second.facts == ()


def test_a_question_may_hold_one_that_the_corpus_does_not_answer(tmp_path: Path) -> None:
    asked = QUESTION | {"question": "What did it cost? What is a zebra?", "lacks": ["What is a zebra?"]}
    assert load_questions(write_questions(tmp_path, asked))[0].lacks == ("What is a zebra?",)


def test_a_question_may_come_after_a_conversation(tmp_path: Path) -> None:
    path = write_questions(tmp_path, QUESTION | {"history": [{"question": "which recipe?", "answer": "That. [E026]"}]})
    assert load_questions(path)[0].history == (Turn("which recipe?", "That. [E026]"),)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"split": "train"}, "'split' is 'train'"),
        ({"fact": ["typo"]}, "unknown key 'fact'"),
        ({"history": [{"question": "which?"}]}, "'history' is"),
        ({"episodes": "E026"}, "'episodes' is 'E026'"),
        ({"quotes": [{"document": "reviews/rl"}]}, "'quotes' is"),
        ({"question": "  "}, "'question' is '  '"),
        ({"id": "q0"}, "'q0' is taken"),
        ({"quotes": [], "episodes": []}, "'q1' has no gold"),
        ({"type": "unanswerable"}, "'q1' is unanswerable"),
        ({"lacks": ["never asked"]}, "'lacks' has 'never asked'"),
    ],
)
def test_a_malformed_question_is_named_by_file_and_line(tmp_path: Path, change: dict[str, Any], says: str) -> None:
    path = write_questions(tmp_path, QUESTION | {"id": "q0"}, QUESTION | change)
    with pytest.raises(DatasetError) as caught:
        load_questions(path)
    assert str(caught.value).startswith(f"{path}:2: ")
    assert says in str(caught.value)
    assert isinstance(caught.value, UserError)


def test_a_line_that_is_not_json_or_not_utf8_is_named(tmp_path: Path) -> None:
    path = tmp_path / "questions.jsonl"
    path.write_bytes(b'{"id": \n')
    with pytest.raises(DatasetError, match=r"questions\.jsonl:1: not JSON"):
        load_questions(path)
    path.write_bytes(b"\n\xff\n")
    with pytest.raises(DatasetError, match=r"questions\.jsonl:2: not UTF-8"):
        load_questions(path)
    with pytest.raises(DatasetError, match=r"absent\.jsonl: No such file"):
        load_questions(tmp_path / "absent.jsonl")


def test_a_collection_keeps_judged_queries_only_and_ids_as_strings(tmp_path: Path) -> None:
    collection = load_beir(write_beir(tmp_path, dev="7\t2\t1\n7\td1\t0\n"))
    assert collection.documents == (("d1", "One", "first\u2028line"), ("2", "", "second"))
    assert collection.queries == {"7": "which?"}
    assert collection.qrels == {"7": {"2": 1, "d1": 0}}
    assert (collection.name, collection.split) == (tmp_path.name, "dev")


def test_without_a_split_test_is_taken_or_the_choice_is_listed(tmp_path: Path) -> None:
    folder = write_beir(tmp_path, dev="7\t2\t1\n", train="7\td1\t1\n")
    with pytest.raises(DatasetError, match="choose of dev, train"):
        load_beir(folder)
    with pytest.raises(DatasetError, match="no split 'test'; there is dev, train"):
        load_beir(folder, "test")
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\n7\t2\t3\n", encoding="utf-8")
    assert load_beir(folder).qrels == {"7": {"2": 3}}
    assert load_beir(folder, "train").qrels == {"7": {"d1": 1}}


@pytest.mark.parametrize(
    ("file", "text", "says"),
    [
        ("qrels/test.tsv", "7\t2\t1\n", ":1: no header"),
        ("qrels/test.tsv", "7\t2\t1000000\n7\td1\t1\n", ":1: no header"),
        ("qrels/test.tsv", "query-id\tcorpus-id\tscore\n7\t2\n", ":2: "),
        ("qrels/test.tsv", "query-id\tcorpus-id\tscore\n7\t2\t1\n7\t2\t0\n", ":3: '7' and '2' are judged twice"),
        ("qrels/test.tsv", "query-id\tcorpus-id\tscore\n", ": no judgements"),
        ("qrels/test.tsv", "query-id\tcorpus-id\tscore\n7\t2\t1000000\n", ":2: '7"),
        ("corpus.jsonl", "", ": no document has a text; wanted one at least"),
        ("corpus.jsonl", '{"_id": "1", "title": " ", "text": ""}\n', ": no document has a text"),
        ("corpus.jsonl", '{"_id": "1", "text": "a"}\n{"_id": "1", "text": "b"}\n', ":2: the _id '1' is taken"),
        ("corpus.jsonl", '{"_id": "1", "text": ["a"]}\n', ":1: 'text' is"),
        ("corpus.jsonl", '{"_id": null, "text": "a"}\n', ":1: '_id' is None"),
        ("queries.jsonl", '["7", "which?"]\n', ":1: "),
        ("queries.jsonl", '{"_id": "8", "text": "a"}\n', ": no query '7'"),
    ],
)
def test_a_malformed_collection_is_named_by_file_and_line(tmp_path: Path, file: str, text: str, says: str) -> None:
    folder = write_beir(tmp_path, test="7\t2\t1\n")
    (folder / file).write_text(text, encoding="utf-8")
    with pytest.raises(DatasetError) as caught:
        load_beir(folder)
    assert str(caught.value).startswith(f"{folder / file}{says}")


@pytest.mark.skipif(not SHARED.is_dir(), reason="the judged data of ../shared/data is not here")
@pytest.mark.parametrize(
    ("name", "documents", "queries"), [("scifact", 5183, 809), ("mlquestions", 9211, 1500), ("cranfield", 1400, 225)]
)
def test_the_shared_collections_load_whole(name: str, documents: int, queries: int) -> None:
    collection = load_beir(SHARED / name)
    assert (len(collection.documents), len(collection.queries)) == (documents, queries)
    known = {id for id, _, _ in collection.documents}
    assert all(document in known for grades in collection.qrels.values() for document in grades)
