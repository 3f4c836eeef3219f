"""Nothing is told to anybody who was not named, and nothing is left in a home that was not asked for."""

import os
import subprocess
import sys
from pathlib import Path

from faults.tiny import QUESTION, build_tiny, write_corpus

ASK = """
import sys
from rag.cli import main
main(["--index", sys.argv[1], "ask", sys.argv[2]])
"""
LOADED_BEFORE = "import onnxruntime\n" + ASK


def left_at_home(code: str, tmp_path: Path) -> tuple[str, list[str]]:
    """What is printed, and the files that a home has afterwards; the environment says nothing of telemetry or CI."""
    build_tiny(write_corpus(tmp_path / "corpus"), tmp_path / "index")
    (home := tmp_path / "home").mkdir()
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(sys.path), "HOME": str(home)}
    command = [sys.executable, "-c", code, str(tmp_path / "index"), QUESTION]
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=True)
    return done.stdout, [str(path.relative_to(home)) for path in home.rglob("*") if path.is_file()]


def test_a_question_leaves_nothing_at_home(tmp_path: Path) -> None:
    answer, files = left_at_home(ASK, tmp_path)
    assert "$25" in answer
    assert files == []


def test_what_would_be_sent_is_seen_by_this_test(tmp_path: Path) -> None:
    """Else the test above proves nothing: a runtime that is loaded before us has begun to collect."""
    _, files = left_at_home(LOADED_BEFORE, tmp_path)
    assert any("onnxruntime" in file for file in files)
