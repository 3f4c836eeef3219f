"""Files of an index that are not as they were built."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from faults.conftest import Record
from faults.forks import Done, Forks
from faults.tiny import AFTER, ANSWER, NEW_ANSWER, QUESTION, answer, write_corpus
from rag.index.store import IndexFolder

Damage = Callable[[Path], object]


def flipped(at: float, bit: int) -> Damage:
    """One bit of the byte that far through a file."""

    def damage(path: Path) -> None:
        data = bytearray(path.read_bytes())
        data[min(int(at * len(data)), len(data) - 1)] ^= 1 << bit
        replaced(path, bytes(data))

    return damage


def replaced(path: Path, data: bytes) -> None:
    path.unlink()  # an encoder is linked from generation to generation: writing to it would damage the original
    path.write_bytes(data)


DAMAGES: dict[str, list[Damage]] = {
    "missing": [Path.unlink],
    "empty": [lambda path: replaced(path, b"")],
    "cut": [lambda path: replaced(path, path.read_bytes()[: path.stat().st_size // 2])],
    "one bit flipped": [flipped(0.3, 0)],
}
THOROUGH = [flipped(at / 64, at % 8) for at in range(64)]


def files(index: Path) -> list[Path]:
    folder, manifest = IndexFolder(index).current()
    return [index / "CURRENT", folder / "manifest.json", *(folder / name for name in sorted(manifest.files))]


def asked(forks: Forks, index: Path) -> Done:
    return forks.run("--index", index, "ask", "--json", QUESTION)


def told_of(done: Done, right: Done, index: Path, path: Path) -> str | None:
    """The refusal, which names the file and the mend; None where the answer is the right one; all else is a defect."""
    if done.code == 0:
        assert whole(done) == whole(right), path
        return None
    assert (done.code, done.out) == (1, ""), (path, done)
    assert done.err.count("\n") == 1, (path, done.err)
    assert "rag index" in done.err, (path, done.err)
    assert str(index) in done.err, (path, done.err)
    told = re.sub(r"generations/[^/]+", "generations/GENERATION", done.err.replace(str(path), "FILE"))
    return told.replace(str(index), "INDEX")


def whole(done: Done) -> object:
    """All of the answer but how long it took."""
    return {name: value for name, value in done.value.items() if name != "timings_ms"}


def test_a_damaged_file_is_refused_by_name(
    forks: Forks, fresh: Callable[[], Path], record: Record, thorough: bool
) -> None:
    index = fresh()
    right = asked(forks, index)
    assert right.value["sentences"][0]["text"] == ANSWER
    for name, damages in DAMAGES.items():
        seen, same = dict[str, set[str]](), set[str]()
        for damage in [*damages, *(THOROUGH if thorough and "flipped" in name else [])]:
            for path in files(index):
                kept = path.read_bytes()
                damage(path)
                refused = told_of(asked(forks, index), right, index, path)
                path.unlink(missing_ok=True)
                path.write_bytes(kept)
                if refused is None:
                    same.add(path.name)
                else:
                    seen.setdefault(refused, set()).add(path.name)
        assert same <= {"CURRENT"}, name  # what it says of the generation was still whole
        record(
            f"a file {name}",
            "each file of a generation, `manifest.json` and `CURRENT`, one at a time",
            sees=seen,
            lost="nothing but the index, which `rag index --rebuild` makes anew",
            served="nothing" + " (the same answer, where `CURRENT` still names it)" * bool(same),
        )


def test_files_swapped_are_refused(forks: Forks, fresh: Callable[[], Path], record: Record) -> None:
    index, seen = fresh(), set[str]()
    right = asked(forks, index)
    some = files(index)
    for path, other in zip(some, [*some[1:], some[0]], strict=True):
        kept, instead = path.read_bytes(), other.read_bytes()
        assert kept != instead
        replaced(path, instead)
        refused = told_of(asked(forks, index), right, index, path)
        replaced(path, kept)
        assert refused is not None, path
        seen.add(refused)
    record(
        "a file swapped with another",
        "each file of a generation, `manifest.json` and `CURRENT`",
        sees=seen,
        lost="nothing but the index, which `rag index --rebuild` makes anew",
        served="nothing",
    )


def test_a_rebuild_mends_whatever_is_damaged(
    forks: Forks, fresh: Callable[[], Path], tmp_path: Path, record: Record
) -> None:
    corpus, seen = write_corpus(tmp_path / "corpus", AFTER), set[str]()
    for at, damage in (
        (0, flipped(0.4, 7)),
        (0, flipped(0, 7)),
        (0, lambda p: replaced(p, b"")),
        (1, Path.unlink),
        (5, Path.unlink),
    ):
        index = fresh()
        damage(files(index)[at])
        done = forks.run("--index", index, "index", "--corpus", corpus, "--rebuild")
        assert done.code == 0, done.err
        seen.add(answer(index))
    assert seen == {NEW_ANSWER}
    record(
        "damage, then `rag index --rebuild`",
        "`CURRENT`, `manifest.json` and files",
        sees="what a build says",
        lost="nothing",
        served="the new index",
    )
