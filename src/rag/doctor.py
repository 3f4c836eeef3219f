"""Is this installation well? Every check says what it found, and how to mend it."""

from __future__ import annotations

import os
import shutil
import socket
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from rag.errors import CorpusError, RagError

if TYPE_CHECKING:
    from rag.assemble import Service
    from rag.records import Document
    from rag.settings import Settings

EXTRAS = {
    "build": "exporting an encoder, once a model",
    "llm": "a language model behind an endpoint",
    "local": "a language model in this process",
    "mcp": "serving MCP clients",
    "otel": "`rag serve --traces`",
    "watch": "`rag index --watch`",
}
_NAMED = 3  # documents that are named, of those that are wrong


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check found: `good`, `poor` (it works, with less) or `bad`; `mend` says what to do, "" for nothing."""

    subject: str
    verdict: Literal["good", "poor", "bad"]
    found: str
    mend: str = ""


def examine(settings: Settings, environment: Mapping[str, str], port: int = 8000) -> Iterator[Finding]:
    """Every finding, one at a time; a check that fails says so, and the others go on. Asks nothing of any network."""
    for subject, check in (
        ("python", _python),
        ("packages", _packages),
        ("settings", lambda: _settings(environment)),
        ("corpus", lambda: _corpus(settings)),
        ("index", lambda: _index(settings)),
        ("language model", lambda: _model(settings)),
        ("server", lambda: _server(port)),
    ):
        yield from _safely(subject, check)


def _safely(subject: str, check: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
    try:
        yield from check()
    except RagError as error:
        yield Finding(subject, "bad", str(error))
    except Exception as error:  # the doctor outlives what it examines
        yield Finding(subject, "bad", f"the check itself failed ({type(error).__name__})", "report it as a defect")


def _python() -> Iterator[Finding]:
    yield Finding("python", "good", ".".join(map(str, sys.version_info[:3])))


def _packages() -> Iterator[Finding]:
    """The base packages, and which extras are whole; floors are pip's to keep."""
    wanted: dict[str, list[str]] = {"": []}
    for line in requires("podcast-rag") or ():
        requirement, _, marker = line.partition(";")
        extra = marker.split("extra ==")[-1].strip(" '\"") if "extra ==" in marker else ""
        name = requirement.split("[")[0]
        wanted.setdefault(extra, []).append(name[: next((n for n, c in enumerate(name) if c in "<>=!~ "), len(name))])
    if missing := [name for name in wanted.pop("") if not _installed(name)]:
        yield Finding("packages", "bad", f"missing: {', '.join(missing)}", "pip install podcast-rag")
    else:
        yield Finding("packages", "good", f"podcast-rag {version('podcast-rag')}, with all that a question needs")
    whole = [extra for extra in EXTRAS if all(map(_installed, wanted.get(extra, ())))]
    yield Finding("extras", "good", f"installed: {', '.join(whole) or 'none'}")
    for extra in EXTRAS.keys() - set(whole):
        yield Finding("extras", "good", f"without {extra}, which is for {EXTRAS[extra]}")


def _installed(name: str) -> bool:
    try:
        version(name)
    except PackageNotFoundError:
        return False
    return True


def _settings(environment: Mapping[str, str]) -> Iterator[Finding]:
    read = sorted(name for name in environment if name.startswith("RAG_"))
    file = "rag.toml" if Path("rag.toml").exists() else "no rag.toml"
    yield Finding("settings", "good", f"{file}; {', '.join(read) or 'no RAG_… variable'}")


def _corpus(settings: Settings) -> Iterator[Finding]:
    bad: list[CorpusError] = []
    documents = _documents(settings, bad.append)
    if bad:
        named = "; ".join(map(str, bad[:_NAMED]))
        yield Finding("corpus", "bad", f"{len(bad)} documents cannot be read: {named}", "mend them, or --skip-bad")
    about = {d.episode for d in documents if d.episode}
    yield Finding("corpus", "good", f"{len(documents)} documents in {settings.corpus}, {len(about)} about an episode")


def _documents(settings: Settings, on_bad: Callable[[CorpusError], None]) -> list[Document]:
    from rag.corpus.load import load

    return list(load(settings.corpus, id_pattern=settings.id_pattern, on_bad=on_bad, apart=settings.index))


def _index(settings: Settings) -> Iterator[Finding]:
    from rag.assemble import open_service

    service = open_service(settings)
    service.check()  # every file against its digest, large ones too
    info = service.library.info
    yield Finding("index", "good", f"{info.generation}: {info.passages} passages, {info.encoder}, every file whole")
    try:
        now = {d.id: d for d in _documents(settings, lambda _: None)}
    except RagError:
        now = {}  # said of the corpus
    held = {d.id: d for d in service.library.documents()}
    if changed := sorted(id for id in now.keys() | held.keys() if now.get(id) != held.get(id)):
        named = ", ".join(changed[:_NAMED])
        yield Finding("index", "poor", f"behind its corpus in {len(changed)}: {named}", "rag index")
    if not service.library.placed(1):
        yield Finding("index", "poor", "it holds no map", "rag index")
    if not os.access(settings.index, os.W_OK):
        yield Finding("index", "poor", f"{settings.index} is read-only", "serving works; give `rag index` another one")
    size = sum(path.stat().st_size for path in (settings.index / "generations" / info.generation).rglob("*"))
    free = shutil.disk_usage(settings.index).free
    if free < 2 * size:
        yield Finding("disk", "poor", f"{free >> 20} MiB free, a build may need {2 * size >> 20}", "make room")
    yield from _question(service)


def _question(service: Service) -> Iterator[Finding]:
    """A question that a document says it answers, else one by a title."""
    asked = (q.text for d in service.library.documents() for q in d.questions)
    titles = (f"What is {d.title}?" for d in service.library.documents())
    answer = service.answerer.ask(next(asked, None) or next(titles))
    what = "abstained from" if answer.abstained else "answered"
    yield Finding("question", "good", f"{answer.question.text!r} {what} in {answer.timings_ms['total']:.0f} ms")


def _model(settings: Settings) -> Iterator[Finding]:
    from rag.assemble import open_generator

    if settings.llm.base_url is None and settings.llm.gguf is None and settings.generator == "extractive":
        yield Finding("language model", "good", "none; none is ever called")
        return
    generator = open_generator(settings)
    name = generator.name if generator else "none"
    yield Finding("language model", "good", f"{name} is configured; it was not asked anything")


def _server(port: int) -> Iterator[Finding]:
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError:
        yield Finding("server", "poor", f"port {port} is taken", "give `rag serve` another --port")
    else:
        yield Finding("server", "good", f"port {port} is free")
