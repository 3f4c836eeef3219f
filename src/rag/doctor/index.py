"""The corpus, and the index that was made of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from time import perf_counter
from typing import TYPE_CHECKING

from rag.doctor.finding import Finding, told
from rag.doctor.installation import Installation, digest, size_of
from rag.errors import CorpusError

if TYPE_CHECKING:
    from rag.ports import WholeLibrary

NAMED = 3
"""Documents that are named, of those that differ."""
TOLD = 10
"""Bad documents, or damaged files, that have a line each."""
ASKED = 5
"""Questions that are asked until one has an answer."""


def corpus(installation: Installation) -> Iterator[Finding]:
    """Every document, read as a build reads it."""
    documents, about, wrong = installation.corpus
    for error in wrong[:TOLD]:
        # An index may be served where its corpus is not.
        yield told(error, "warning" if installation.serves and not isinstance(error, CorpusError) else "broken")
    if len(wrong) > TOLD:
        yield Finding("broken", f"{len(wrong) - TOLD} further documents cannot be read", "mend those above first")
    if documents:
        yield Finding("ok", f"{len(documents)} documents in {installation.settings.corpus}, {about} about an episode")


def index(installation: Installation) -> Iterator[Finding]:
    """Whether one is there that this version reads."""
    _, manifest = installation.index
    yield Finding("ok", f"{manifest.generation}, of {manifest.documents} documents")


def files(installation: Installation) -> Iterator[Finding]:
    """Every file of the index against its checksum, large ones too; of one in Milvus, how many rows there are."""
    if installation.settings.engine == "milvus":
        installation.service.check()
        yield Finding("ok", "every row that Milvus is to have is there")
        return
    from rag.index.store import damages

    folder, manifest = installation.index
    wrong = list(damages(folder, manifest, whole=True))
    yield from map(told, wrong[:TOLD])
    if len(wrong) > TOLD:
        yield Finding("broken", f"{len(wrong) - TOLD} further files are damaged", "mend it with `rag index --rebuild`")
    if not wrong:
        yield Finding("ok", f"{len(manifest.files)}, all whole")


def built_with(installation: Installation) -> Iterator[Finding]:
    """What the index was built with, against the settings."""
    from rag.assemble import same_encoder

    chosen, (_, manifest) = installation.settings, installation.index
    same_encoder(chosen, manifest)
    pairs = {
        "split.max_chars": (manifest.max_chars, chosen.split.max_chars),
        "split.min_chars": (manifest.min_chars, chosen.split.min_chars),
        "split.titled": (manifest.titled, chosen.split.titled),
        "id_pattern": (manifest.id_pattern, chosen.id_pattern),
        "vectors": (manifest.vectors, chosen.vectors),
    }
    other = {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}
    for name, (found, wanted) in other.items():
        yield Finding("warning", f"{name} was {found!r}, the settings say {wanted!r}", "rag index")
    if not other:
        yield Finding("ok", f"{manifest.encoder.name} ({manifest.encoder.precision}), and as the settings say")


def opens(installation: Installation) -> Iterator[Finding]:
    """Whether the engines take what the files hold."""
    began = perf_counter()
    passages = installation.service.library.info.passages
    yield Finding("ok", f"{passages} passages in {perf_counter() - began:.1f} s")


def behind(installation: Installation) -> Iterator[Finding]:
    """Documents of the corpus against those that were indexed."""
    now, _, _ = installation.corpus
    if not now:
        yield Finding("info", "there is no corpus here to compare the index with")
        return
    held = {document.id: digest(document) for document in installation.service.library.documents()}
    differences = (
        ("added", now.keys() - held.keys()),
        ("changed", (id for id in now.keys() & held.keys() if now[id] != held[id])),
        ("removed", held.keys() - now.keys()),
    )
    if said := "; ".join(filter(None, (_counted(what, ids) for what, ids in differences))):
        yield Finding("warning", f"since the index was built: {said}", "rag index")
    else:
        yield Finding("ok", "the index holds the corpus as it is")


def _counted(what: str, ids: Iterable[str]) -> str:
    """How many, with the first names; "" for none."""
    names = sorted(ids)
    more = ", …" if len(names) > NAMED else ""
    return f"{len(names)} {what} ({', '.join(names[:NAMED])}{more})" if names else ""


def places(installation: Installation) -> Iterator[Finding]:
    """Whether passages have a place on the map."""
    if installation.service.library.placed(1):
        yield Finding("ok", "drawn at /map")
    else:
        yield Finding("info", "the index holds none", "rag index")


def builds(installation: Installation) -> Iterator[Finding]:
    """A build that is under way, or was killed."""
    folder = installation.folder
    left = folder.left()
    if folder.busy():
        yield Finding("info", "one is writing the index now; what served before serves on")
    elif left:
        named = ", ".join(f"{path.name} ({size_of(path) >> 20} MiB)" for path in left[:NAMED])
        yield Finding("warning", f"{len(left)} left unfinished: {named}", "the next `rag index` sweeps it out")
    else:
        yield Finding("ok", "none under way, none left unfinished")


def question(installation: Installation) -> Iterator[Finding]:
    """Some of the corpus's own questions and titles, until one has an answer whose quote stands where it says."""
    service = installation.service
    for text in (asked := list(islice(_own(service.library), ASKED))):
        answer = service.answerer.ask(text)
        for evidence in (e for sentence in answer.sentences for e in sentence.evidence):
            if service.library.document(evidence.document).text[evidence.start : evidence.end] == evidence.quote:
                took = answer.timings_ms["total"]
                yield Finding("ok", f"{answer.question.text!r} has a quote of {evidence.document} in {took:.0f} ms")
                return
    mend = "`rag ask` something that it says; if that finds nothing either, `rag index --rebuild`"
    yield Finding("warning", f"{len(asked)} of its own titles have no answer, {asked[0]!r} first", mend)


def _own(library: WholeLibrary) -> Iterator[str]:
    """Questions that the first documents say they answer, then their titles as questions."""
    documents = list(islice(library.documents(), 100))
    yield from (asked.text for document in documents for asked in document.questions)
    yield from (f"What is {document.title[:200]}?" for document in documents)
