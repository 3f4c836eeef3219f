"""The command line, as a person runs it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

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
        path.write_text(text)
    done = rag("index", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "2 documents" in done.stderr
    return folder


def test_help_imports_neither_numpy_nor_onnxruntime(tmp_path: Path) -> None:
    code = "import sys; from rag.cli import main; main(['--help'], standalone_mode=False); print(sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    loaded = done.stdout.splitlines()[-1]
    assert "'rag.cli'" in loaded
    assert not {"'numpy'", "'onnxruntime'", "'pydantic'", "'torch'"} & set(loaded.strip("[]").split(", "))


def test_an_answer_is_one_json_object_whose_quotes_slice_back(folder: Path) -> None:
    done = rag("ask", "how", "long", "until the dough doubles?", "--json", cwd=folder)
    answer = json.loads(done.stdout)
    assert done.returncode == 0
    assert list(answer) == [
        "question", "answer", "abstained", "reason", "sentences", "citations", "hits", "index", "timings_ms"
    ]  # fmt: skip
    assert answer["sentences"][0]["citations"] == ["E001"]
    for sentence in answer["sentences"]:
        for evidence in sentence["evidence"]:
            document = json.loads(rag("show", evidence["document"], "--json", cwd=folder).stdout)
            assert document["text"][evidence["start"] : evidence["end"]] == evidence["quote"]


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
    assert [row["document"] for row in shown["cited_by"]] == ["reviews/r"]


@pytest.mark.parametrize(
    ("arguments", "code", "word"),
    [
        (["ask", "  "], 2, "empty"),
        (["ask", "x", "-k", "0"], 2, "0"),
        (["ask", "x", "--since", "May"], 2, "2026-05-31"),
        (["show", "nothing/here"], 2, "no document"),
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
    assert not done.stdout
