"""Files of an index that is open, changed under whoever answers from it."""

from __future__ import annotations

import faulthandler
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

from faults.conftest import Record
from faults.tiny import ANSWER, QUESTION
from rag.assemble import open_service
from rag.index.store import IndexFolder
from rag.settings import Settings


def after(index: Path, name: str, change: Callable[[Path], object]) -> str:
    """What is answered by a process that has opened the index before one of its files changes, or what ended it."""
    folder, _ = IndexFolder(index).current()
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        faulthandler.disable()
        try:
            service = open_service(Settings(index=index))
            change(folder / name)
            found = service.answerer.ask(QUESTION).sentences
            os.write(write, " ".join(sentence.text for sentence in found).encode())
        finally:
            os._exit(0)
    os.close(write)
    with os.fdopen(read) as pipe:
        said = pipe.read()
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return said if code == 0 else signal.Signals(-code).name


def renamed_over(path: Path) -> None:
    other = path.with_name("other")
    other.write_bytes(b"other")
    other.replace(path)


def test_files_replaced_or_removed_under_an_open_index(built: Path, tmp_path: Path, record: Record) -> None:
    changes: dict[str, Callable[[Path], None]] = {"another renamed over it": renamed_over, "removed": Path.unlink}
    for what, change in changes.items():
        seen = set[str]()
        for name in IndexFolder(built).current()[1].files:
            seen.add(after(shutil.copytree(built, tmp_path / "index"), name, change))
            shutil.rmtree(tmp_path / "index")
        assert seen == {ANSWER}
        record(
            f"a file {what}",
            "each file of an index that is open",
            sees="nothing",
            lost="nothing, until it is opened",
            served="the same answer",
        )


def test_a_file_cut_in_place_under_an_open_index(built: Path, tmp_path: Path, record: Record) -> None:
    """No build does this; whoever copies over an index in place does, as `cp` and `rsync --inplace` do."""
    seen = set[str]()
    for name in ("dense.faiss", "keys.npy", "vectors.npy"):
        index = shutil.copytree(built, tmp_path / name)
        seen.add(after(index, name, lambda path: os.truncate(path, 0)))
    record(
        "a file cut in place",
        "a mapped file of an index that is open",
        sees=sorted(seen),
        lost="the process: restart it, and change an index by `rag index` or a rename alone",
        served="nothing",
    )
