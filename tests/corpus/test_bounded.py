"""A paragraph may be as long as a file: what is done with it grows with its length, not with the square of it."""

import json
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from rag.corpus.load import load
from rag.errors import CorpusError

SECONDS, BYTES = 10, 2**31
COUNT = """
from rag.corpus.markers import sentences
from rag.records import Document, Paragraph
text = {text!r} * {times}
print(sum(1 for _ in sentences(Document("a", "review", "A", text, (Paragraph(0, len(text)),)))))
"""


def bounded() -> None:
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
    resource.setrlimit(resource.RLIMIT_AS, (BYTES, BYTES))


@pytest.mark.parametrize(
    ("text", "times", "least"),
    [
        ("It is so. ", 60_000, 60_000),
        ("It is so E026. But not so. ", 30_000, 60_000),
        ("E026", 120_000, 240),
        ("E026, ", 120_000, 360),
        ('"a. ', 60_000, 120),
    ],
)
def test_a_paragraph_of_many_claims_or_markers_takes_no_square_of_its_length(text: str, times: int, least: int) -> None:
    script = [sys.executable, "-c", COUNT.format(text=text, times=times)]
    done = subprocess.run(script, capture_output=True, text=True, preexec_fn=bounded)
    assert done.returncode == 0, f"ended by {-done.returncode}: more than {SECONDS} s or {BYTES} bytes; {done.stderr}"
    assert int(done.stdout) >= least


@pytest.mark.parametrize("number", ["0x" + "f" * 60_000, "1:" * 9_000 + "1", "18446744073709551616", "-" + "9" * 400])
def test_a_number_that_json_readers_lose_is_refused_with_its_line(tmp_path: Path, number: str) -> None:
    """YAML reads hexadecimal and sexagesimal numbers that are too long for Python itself to write down again."""
    (tmp_path / "a.md").write_text(f"---\ntitle: T\nsize: {number}\n---\nText.\n")
    with pytest.raises(CorpusError, match=r"a\.md:3: size: a whole number of more than 64 bits; write it in quotes"):
        list(load(tmp_path))


def test_the_largest_number_of_64_bits_is_kept(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text(f"---\nsize: {2**63 - 1}\nleast: {-(2**63)}\n---\nText.\n")
    (document,) = load(tmp_path)
    assert json.loads(json.dumps(document.metadata)) == {"size": 2**63 - 1, "least": -(2**63)}
