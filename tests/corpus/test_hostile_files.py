"""A corpus that somebody made to do harm: it is refused in a line, or read as text; nothing else is opened."""

import gzip
import io
import os
import tarfile
import zipfile
from pathlib import Path

import pytest

from rag.corpus.load import load
from rag.errors import CorpusError

OUTSIDE = "text of another folder"
FEED = (
    '<?xml version="1.0"{encoding}?>{doctype}<rss version="2.0"><channel><title>Show</title>'
    "<item><title>E001</title><description>{text}</description></item></channel></rss>"
)
LAUGHS = "<!DOCTYPE rss [<!ENTITY a 'ha'>{}]>".format(
    "".join(f"<!ENTITY {b} '{f'&{a};' * 20}'>" for a, b in zip("abcdefgh", "bcdefghi", strict=True))
)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A corpus with one good document, and a secret beside it."""
    (tmp_path / "secret.md").write_text(OUTSIDE)
    root = tmp_path / "corpus"
    root.mkdir()
    (root / "good.md").write_text("A good document. E001")
    return root


def read(root: Path) -> tuple[list[str], list[str]]:
    """The ids of what is read, and what was said of the rest; no text of it is the secret."""
    said: list[str] = []
    documents = list(load(root, on_bad=lambda error: said.append(str(error))))
    assert not any(OUTSIDE in document.text for document in documents)
    assert not any(OUTSIDE in line for line in said)
    return [document.id for document in documents], said


@pytest.mark.parametrize("to", ["../secret.md", "/etc/passwd", "/dev/zero", "/proc/self/environ", "link.md"])
def test_a_link_out_of_the_corpus_is_not_followed(root: Path, to: str) -> None:
    (root / "link.md").symlink_to(to)
    ids, [said] = read(root)
    assert ids == ["good"]
    assert "leads out of the corpus, or nowhere" in said


def test_a_folder_that_is_a_link_is_not_entered(root: Path) -> None:
    for name, to in (("out", ".."), ("round", "."), ("system", "/etc")):
        (root / name).symlink_to(to, target_is_directory=True)
    assert read(root)[0] == ["good"]


def test_what_is_no_file_is_not_opened(root: Path) -> None:
    os.mkfifo(root / "pipe.md")
    (root / "folder.md").mkdir()
    ids, [said] = read(root)
    assert ids == ["good"]
    assert "not a regular file" in said


def test_archives_are_passed_over(root: Path) -> None:
    with zipfile.ZipFile(root / "a.zip", "w") as archive:
        archive.writestr("../evil.md", "text")
    with tarfile.open(root / "b.tar", "w") as tar:
        tar.addfile(tarfile.TarInfo("../../evil.md"), io.BytesIO())
    (root / "c.md.gz").write_bytes(gzip.compress(b"text"))
    (root / "d.md").write_bytes(gzip.compress(b"text"))
    ids, [said] = read(root)
    assert ids == ["good"]
    assert "d.md" in said


@pytest.mark.parametrize(
    "front",
    [
        "a: &a [x, x]\nb: [*a, *a]",
        "a: &a {b: *a}",
        "a: !!python/object/apply:os.system [exit 7]",
        "a: !!python/name:os.system",
        "a: " + "[" * 20_000,
        "a: " + "{b: " * 9_000,
        "a: 1" + "0" * 60_000,
        "title: 'x\n",
    ],
)
def test_front_matter_multiplies_nothing_and_runs_nothing(root: Path, front: str) -> None:
    (root / "bad.md").write_text(f"---\n{front}\n---\nA body.\n")
    ids, [said] = read(root)
    assert ids == ["good"]
    assert "bad.md" in said


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "cp037", "utf-7"])
@pytest.mark.parametrize(
    ("doctype", "text"),
    [
        (LAUGHS, "&i;"),
        ("<!DOCTYPE rss [<!ENTITY x SYSTEM 'file:{secret}'>]>", "&x;"),
        ("<!DOCTYPE rss [<!ENTITY % x SYSTEM 'file:{secret}'>%x;]>", "text"),
        ("<!DOCTYPE rss SYSTEM 'file:{secret}'>", "text"),
    ],
)
def test_a_feed_opens_nothing_and_multiplies_nothing(root: Path, encoding: str, doctype: str, text: str) -> None:
    declared = FEED.format(
        encoding=f' encoding="{encoding}"', doctype=doctype.format(secret=root.parent / "secret.md"), text=text
    )
    (root / "feed.xml").write_bytes(declared.encode(encoding))
    ids, said = read(root)
    assert "good" in ids
    assert len(ids) + len(said) == 2
    assert all(len(document.text) < 1000 for document in load(root, on_bad=lambda _: None))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("deep.html", "<div>" * 50_000 + "words that are deep"),
        ("deep.html", "<table><tr><td>" * 5_000 + "words that are deep"),
        ("deep.html", "<b><i>" * 5_000 + "words that are deep"),
        ("deep.md", ">" * 5_000 + " words that are deep"),
        ("deep.md", "".join(f"{'  ' * n}- words\n" for n in range(300))),
        ("deep.md", "[" * 20_000 + "words"),
        ("deep.md", "*a_ " * 10_000),
        ("deep.jsonl", '{"_id": "a", "text": "words", "more": ' + "[" * 100_000),
        ("deep.jsonl", '{"_id": "a", "text": "words", "more": ' + "[" * 100_000 + "]" * 100_000 + "}"),
        ("deep.jsonl", '{"_id": "a", "text": "words", "more": ' + "1" * 10_000 + "}"),
        ("deep.xml", "<rss><channel><item><description>" + "<a>" * 50_000),
    ],
)
def test_what_is_nested_deeply_is_read_or_refused_in_a_line(root: Path, name: str, text: str) -> None:
    (root / name).write_text(text)
    ids, said = read(root)
    assert "good" in ids
    assert len(ids) + len(said) == 2


def test_an_element_of_many_attributes_is_refused_before_a_tree_is_made_of_it(root: Path) -> None:
    """A tree takes the square of their number: a minute for these, hours for as many as a file may hold."""
    (root / "many.html").write_text(f"<p {' '.join(f'a{n}=b' for n in range(80_000))}>Words. E001</p>")
    ids, [said] = read(root)
    assert ids == ["good"]
    assert said.startswith(f"{root}/many.html:1: an element with 80000 attributes, wanted at most 256; remove")


def test_an_element_may_have_as_many_attributes_as_pages_have(root: Path) -> None:
    (root / "page.html").write_text(f"<p {' '.join(f'a{n}=b' for n in range(256))}>Words. E001</p>")
    assert read(root) == (["good", "page"], [])


def test_an_id_is_no_way_out_of_the_corpus(root: Path) -> None:
    (root / "rows.jsonl").write_text('{"_id": "../../secret", "text": "words"}\n')
    for document in load(root, on_bad=lambda _: None):
        assert OUTSIDE not in document.text


def test_bad_bytes_raise_corpus_error_where_nobody_reports(root: Path) -> None:
    (root / "bad.md").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(CorpusError):
        list(load(root))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "cp037", "utf-7"])
def test_entities_are_refused_however_they_are_written(root: Path, encoding: str) -> None:
    doctype = "<!DOCTYPE rss [<!ENTITY x 'few'>]>"
    text = FEED.format(encoding=f' encoding="{encoding}"', doctype=doctype, text="&x;")
    data = text.encode(encoding)
    if encoding == "utf-7":
        data = text.replace("<!ENTITY", "+ADwAIQ-ENTITY").encode()
    (root / "feed.xml").write_bytes(data)
    ids, [said] = read(root)
    assert ids == ["good"]
    assert "entities" in said or "as UTF-8" in said
