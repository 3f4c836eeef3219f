"""The command line, as a person runs it."""

import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from endpoint import endpoint, says

PAGES = {
    "episodes/E001.md": """---
id: E001
title: Bread
topics: [baking]
---
Yeast makes gas. The dough doubles in 2 hours.
""",
    "reviews/r.md": """---
title: Review
---
## Rising

Dough doubles in 2 hours E001. A plain loss costs $25 E002.
""",
    "reviews/on-E001.md": """---
title: 'The zoo \\'
date: 2026-05-02
---
A ratio\tof\u00a01:100:1 [sic] works E001.
""",
}


def rag(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "rag", *arguments]
    return subprocess.run(command, cwd=cwd, env=os.environ | environment, capture_output=True, text=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("torch", reason="exporting an encoder needs the `build` extra")
    folder = tmp_path_factory.mktemp("project")
    for name, text in PAGES.items():
        path = folder / "corpus" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    done = rag("index", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "3 documents" in done.stderr
    return folder


def test_help_imports_neither_numpy_nor_onnxruntime(tmp_path: Path) -> None:
    code = "import sys; from rag.cli import main; main(['--help'], standalone_mode=False); print(sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    loaded = done.stdout.splitlines()[-1]
    assert "'rag.cli'" in loaded
    assert not {"'numpy'", "'onnxruntime'", "'pydantic'", "'torch'"} & set(loaded.strip("[]").split(", "))


def test_what_has_no_answer_among_several_questions_is_told_behind_the_answer(folder: Path) -> None:
    asked = "How long until the dough doubles, and what is a zebra?"
    told = rag("ask", asked, cwd=folder).stdout.splitlines()
    assert "[E001]" in told[0]
    assert told[-2:-1] == [""]
    assert told[-1].startswith("Not answered: what is a zebra? (")
    answer = json.loads(rag("ask", asked, "--json", cwd=folder).stdout)
    assert [one["question"] for one in answer["unanswered"]] == ["what is a zebra?"]


def test_an_answer_is_one_json_object_whose_quotes_slice_back(folder: Path) -> None:
    done = rag("ask", "how", "long", "until the dough doubles?", "--json", cwd=folder)
    answer = json.loads(done.stdout)
    assert done.returncode == 0
    assert list(answer) == [
        "question", "answer", "abstained", "reason", "unanswered", "standalone", "generator", "draft", "confidence",
        "sentences", "citations", "hits", "index", "timings_ms",
    ]  # fmt: skip
    assert answer["sentences"][0]["citations"] == ["E001"]
    for sentence in answer["sentences"]:
        for evidence in sentence["evidence"]:
            document = json.loads(rag("show", evidence["document"], "--json", cwd=folder).stdout)
            assert document["text"][evidence["start"] : evidence["end"]] == evidence["quote"]


def test_asking_for_a_model_that_is_not_configured_is_one_line_and_searching_needs_none(folder: Path) -> None:
    done = rag("ask", "--generator", "llm", "how long?", cwd=folder)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert "set RAG_LLM_BASE_URL and RAG_LLM_MODEL" in done.stderr


def test_a_model_drafts_and_what_became_of_it_is_said_last(folder: Path) -> None:
    drafted = "The dough doubles in 2 hours [E999].\nThe dough doubles in 3 hours [E001].\n\x1b[31mIt costs $9."
    with endpoint([says(drafted)]) as served:
        there = {"RAG_LLM_BASE_URL": served.url, "RAG_LLM_MODEL": "scripted", "RAG_LLM_API_KEY": "sk-secret"}
        done = rag("ask", "--generator", "llm", "how long until the dough doubles?", cwd=folder, **there)
        whole = rag("ask", "--generator", "llm", "--json", "how long until the dough doubles?", cwd=folder, **there)
    first, *_, last = done.stdout.splitlines()
    assert first == "The dough doubles in 2 hours. [E001]"
    assert last.startswith("Draft by scripted: 1 kept under another citation, 2 dropped (")
    answer = json.loads(whole.stdout)
    assert (answer["generator"], answer["draft"]["mended"], answer["draft"]["dropped"]) == ("llm", 1, 2)
    for text in (done.stdout, whole.stdout, done.stderr, whole.stderr):
        assert not any(bad in text for bad in ("E999", "3 hours", "$9", "\x1b", "sk-secret"))


def test_where_the_model_cannot_be_reached_the_corpus_answers_and_says_so(folder: Path) -> None:
    with endpoint([says("")]) as served:
        gone = served.url
    there = {"RAG_LLM_BASE_URL": gone, "RAG_LLM_MODEL": "scripted", "RAG_LLM_RETRIES": "0"}
    done = rag("ask", "--generator", "llm", "how long until the dough doubles?", cwd=folder, **there)
    assert (done.returncode, done.stderr) == (0, "")
    assert "doubles in 2 hours" in done.stdout.splitlines()[0]
    assert "the language model's endpoint cannot be reached; 1 added from the corpus" in done.stdout.splitlines()[-1]


def test_an_index_without_vectors_of_sentences_answers_too(folder: Path, tmp_path: Path) -> None:
    for name in ("corpus", "index"):
        shutil.copytree(folder / name, tmp_path / name)
    assert rag("index", cwd=tmp_path, RAG_SENTENCE_VECTORS="false").returncode == 0
    current = tmp_path / "index" / "generations" / (tmp_path / "index" / "CURRENT").read_text().split()[0]
    assert not (current / "sentences.faiss").exists()
    answer = json.loads(rag("ask", "how long until the dough doubles?", "--json", cwd=tmp_path).stdout)
    assert answer["sentences"][0]["text"] == "The dough doubles in 2 hours."
    assert {name for hit in answer["hits"] for name in hit["found_by"]} <= {"dense", "bm25"}


def test_what_the_corpus_does_not_say_is_said_so(folder: Path) -> None:
    done = rag("ask", "who discovered penicillin?", "--json", cwd=folder)
    answer = json.loads(done.stdout)
    assert (done.returncode, answer["abstained"], answer["answer"]) == (0, True, "")
    assert answer["reason"]
    assert answer["hits"]


def test_a_question_that_names_an_episode_is_answered_from_it(folder: Path) -> None:
    answer = json.loads(rag("ask", "what does e2 say about cost", "--json", cwd=folder).stdout)
    assert [c["episode"] for c in answer["citations"]] == ["E002"]
    assert answer["sentences"][0]["text"] == "A plain loss costs $25."


def test_an_episode_is_shown_with_the_sentences_that_cite_it(folder: Path) -> None:
    shown = json.loads(rag("show", "e1", "--json", cwd=folder).stdout)
    assert shown["id"] == "episodes/E001"
    assert [row["document"] for row in shown["cited_by"]] == ["reviews/on-E001", "reviews/r"]


@pytest.mark.parametrize(
    ("arguments", "code", "word"),
    [
        (["ask", "  "], 2, "empty"),
        (["ask", "x", "-k", "0"], 2, "0"),
        (["ask", "x", "--since", "May"], 2, "2026-05-31"),
        (["ask", "x", "--episode", "E999"], 2, "the corpus has no episode E999"),
        (["show", "nothing/here"], 2, "no document"),
        (["show", "E001 E002"], 2, "E001 and E002; give one"),
        (["show", "what about E001"], 2, "no document"),
        (["--index", "/dev/null", "ask", "x"], 1, "rag: /dev/null is no folder"),
        (["--index", "/dev/null", "index"], 1, "rag: /dev/null is no folder"),
        (["--index", "/a\nb\x1b", "ask", "x"], 1, r"/a\nb\x1b holds no index"),
        (["--index", "elsewhere", "ask", "x"], 1, "rag index"),
        (["ask", "x", "--json"], 1, "built with all-MiniLM-L6-v2 (int8), the settings say all-MiniLM-L6-v2 (fp32)"),
    ],
)
def test_an_error_is_one_line_that_names_the_mend(folder: Path, arguments: list[str], code: int, word: str) -> None:
    environment = {"RAG_ENCODER__PRECISION": "fp32"} if "fp32" in word else {}
    done = rag(*arguments, cwd=folder, **environment)
    assert done.returncode == code
    assert word in done.stderr
    assert "Traceback" not in done.stderr
    assert code == 2 or done.stderr.count("\n") == 1
    assert not done.stdout


def test_text_of_the_corpus_is_shown_as_it_is(folder: Path) -> None:
    shown = rag("show", "reviews/on-E001", cwd=folder).stdout
    assert shown.startswith("The zoo \\  reviews/on-E001\n")
    assert "A ratio of 1:100:1 [sic] works E001." in shown
    assert "1:100:1 [sic] works" in rag("search", "ratio", cwd=folder).stdout


@pytest.mark.parametrize(
    ("name", "id"),
    [
        ("e001", "episodes/E001"),
        ("episode 1", "episodes/E001"),
        ("E2", "E002"),
        ("reviews/on-E001", "reviews/on-E001"),
    ],
)
def test_what_is_shown_is_a_document_or_else_an_episode(folder: Path, name: str, id: str) -> None:
    assert json.loads(rag("show", name, "--json", cwd=folder).stdout)["id"] == id


def test_a_file_that_cannot_be_written_is_one_line(folder: Path, tmp_path: Path) -> None:
    question = {"id": "q", "question": "how long?", "type": "single", "episodes": ["E001"], "split": "dev"}
    (tmp_path / "questions.jsonl").write_text(json.dumps(question))
    for option in ("--run-out", "--qrels-out"):
        done = rag("eval", "retrieval", str(tmp_path), option, "/nonexistent/x", cwd=folder)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1)
        assert done.stderr.startswith(f"rag: {option} /nonexistent/x: there is no folder /nonexistent; ")


@pytest.fixture(scope="module")
def judged(folder: Path) -> Path:
    """Three questions about the corpus, beside it."""
    quote = {"document": "episodes/E001", "quote": "The dough doubles in 2 hours."}
    cost = {"document": "reviews/r", "quote": "A plain loss costs $25"}
    gold = {"type": "numeric", "split": "test"}
    rows = [
        gold | {"id": "q1", "question": "how long until dough doubles?", "episodes": ["E001"], "quotes": [quote]},
        gold | {"id": "q2", "question": "what does a loss cost?", "episodes": ["E002"], "quotes": [cost]},
        {"id": "q3", "question": "who discovered penicillin?", "type": "unanswerable/field", "split": "test"},
    ]
    (folder / "evals").mkdir()
    (folder / "evals" / "questions.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return folder


def test_retrieval_is_judged_by_episodes_and_passages_and_compared(judged: Path) -> None:
    files = ["--run-out", "A.run", "--qrels-out", "A.qrels", "--level", "passage"]
    for name, retriever in (("A.json", "hybrid"), ("B.json", "bm25")):
        done = rag("eval", "retrieval", "--retriever", retriever, "--json", *files, cwd=judged)
        (judged / name).write_text(done.stdout, encoding="utf-8")
    report = json.loads((judged / "A.json").read_text(encoding="utf-8"))
    assert (report["kind"], report["name"], report["queries"]) == ("retrieval", "evals (episodes)", 2)
    assert report["passages"]["questions"]["q2"] == "what does a loss cost?"
    assert report["found"]["q1"][0]["id"] == "E001"
    assert (judged / "A.qrels").read_text(encoding="utf-8").startswith("q1 0 episodes/E001:")
    for arguments in (["A.json", "B.json"], ["A.json", "B.json", "--level", "passage"]):
        compared = rag("eval", "compare", *arguments, "--measure", "RR", cwd=judged)
        assert compared.stdout.splitlines()[1].split()[:3] == ["measure", "before", "after"]
        assert compared.stdout.splitlines()[2].split()[0] == "RR"
    compared = rag("eval", "compare", "A.run", "A.run", "--qrels", "A.qrels", "--json", cwd=judged)
    assert {d["difference"] for d in json.loads(compared.stdout)["differences"]} == {0}
    (judged / "E.qrels").write_text("q1 0 E001 1\nq2 0 E002 1\n", encoding="utf-8")
    unlike = rag("eval", "compare", "A.run", "A.run", "--qrels", "E.qrels", cwd=judged)
    assert (unlike.returncode, unlike.stderr.count("\n")) == (2, 1)
    assert unlike.stderr.startswith("rag: A.run: none of its documents is judged; wanted a run on those of E.qrels")


def test_two_reports_that_do_not_compare_are_one_line(judged: Path) -> None:
    (judged / "answers.json").write_text(rag("eval", "answers", "--json", cwd=judged).stdout, encoding="utf-8")
    for level, said in (
        ("episode", " is on answers, which have no level; --level is for"),
        ("passage", ": no 'passages'"),
    ):
        levelled = rag("eval", "compare", "answers.json", "answers.json", "--level", level, cwd=judged)
        assert (levelled.returncode, levelled.stderr.count("\n")) == (2, 1)
        assert levelled.stderr.startswith(f"rag: answers.json{said}")
    done = rag("eval", "compare", "answers.json", "evals/questions.jsonl", cwd=judged)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert "rag: evals/questions.jsonl: not JSON; wanted what `rag eval retrieval --json`" in done.stderr


def test_the_gate_passes_what_it_was_made_of_and_refuses_other_questions(judged: Path) -> None:
    missing = rag("eval", "gate", cwd=judged)
    assert (missing.returncode, missing.stderr.count("\n")) == (2, 1)
    assert "--update" in missing.stderr
    nowhere = rag("eval", "gate", "--update", "--baseline", "none/b.json", cwd=judged)
    assert (nowhere.returncode, nowhere.stderr[:28]) == (2, "rag: --baseline none/b.json:")
    updated = rag("eval", "gate", "--update", "--json", cwd=judged)
    assert json.loads(updated.stdout) == {"written": "evals/baseline.json", "questions": 3}
    assert rag("eval", "gate", cwd=judged).stdout.splitlines()[-1] == "nothing is worse beyond chance"
    baseline = judged / "evals" / "baseline.json"
    assert str(judged) not in baseline.read_text(encoding="utf-8")
    baseline.write_text(baseline.read_text(encoding="utf-8").replace('"q3"', '"q4"'), encoding="utf-8")
    refused = rag("eval", "gate", cwd=judged)
    assert refused.returncode == 2
    assert "1 new (q3), 1 gone (q4)" in refused.stderr


def test_lint_fails_on_a_question_that_the_corpus_does_not_bear_out(judged: Path, tmp_path: Path) -> None:
    assert rag("eval", "lint", cwd=judged).stdout.splitlines()[-1] == "0 errors, 0 warnings"
    text = (judged / "evals" / "questions.jsonl").read_text(encoding="utf-8")
    (tmp_path / "questions.jsonl").write_text(text.replace("in 2 hours", "in 3 hours"), encoding="utf-8")
    done = rag("eval", "lint", str(tmp_path), cwd=judged)
    assert done.returncode == 1
    assert done.stdout.startswith("error  q1  quotes what 'episodes/E001' does not say")


@pytest.mark.parametrize("arguments", [["show", "E001"], ["show", "E001", "--json"], ["--help"]])
@pytest.mark.parametrize(("stdout", "said"), [("/dev/full", "No space left"), ("&-", "stdout")])
def test_output_that_cannot_be_written_is_one_line(folder: Path, arguments: list[str], stdout: str, said: str) -> None:
    line = f'exec "$0" -m rag "$@" >{stdout}'
    done = subprocess.run(["sh", "-c", line, sys.executable, *arguments], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 1
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_terminal_that_lacks_letters_gets_the_others(folder: Path) -> None:
    plain = rag("ask", "how long until the dough doubles?", cwd=folder, PYTHONIOENCODING="ascii")
    assert plain.returncode == 0
    assert "?The dough doubles in 2 hours.? (" in plain.stdout
    data = rag("show", "reviews/on-E001", "--json", cwd=folder, PYTHONIOENCODING="ascii").stdout
    assert "of\u00a01" in json.loads(data)["text"]


def test_k_comes_from_the_settings_unless_it_is_given(folder: Path) -> None:
    def found(*arguments: str) -> int:
        done = rag("search", "dough yeast loss", "--json", *arguments, cwd=folder, RAG_SEARCH__K="1")
        return len(json.loads(done.stdout)["hits"])

    assert (found(), found("-k", "2")) == (1, 2)


def test_a_date_may_be_written_without_hyphens(folder: Path) -> None:
    done = rag("search", "ratio", "--since", "20260501", "--episode", "e001", "--json", cwd=folder)
    assert [hit["document"] for hit in json.loads(done.stdout)["hits"]] == ["reviews/on-E001"]


def test_a_port_in_use_is_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = rag("serve", "--port", port, cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr == f"rag: 127.0.0.1:{port}: Address already in use; give another --host or --port\n"


@pytest.mark.parametrize("command", ["ask", "search"])
def test_asking_imports_nothing_that_builds_or_serves(folder: Path, command: str) -> None:
    code = "import sys; from rag.cli import main; main(sys.argv[1:], standalone_mode=False); print(*sys.modules)"
    asking = [sys.executable, "-c", code, command, "yeast"]
    done = subprocess.run(asking, cwd=folder, capture_output=True, text=True, check=True)
    loaded = set(done.stdout.splitlines()[-1].split())
    assert {"rag.answer.answerer", "faiss", "tantivy"} <= loaded
    assert not {"rag.index.build", "rag.index.export", "rag.corpus.load"} & loaded
    assert not {"torch", "fastapi", "pydantic", "sklearn"} & loaded
