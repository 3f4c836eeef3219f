"""Records as the JSON objects that the command line and HTTP share; offsets in characters of a document's text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Protocol

from rag.corpus.markers import sentences
from rag.ports import Library
from rag.records import Answer, AnswerSentence, Document, Hit, Passage, Sentence


class _CitingLibrary(Library, Protocol):
    def citing(self, episode: str) -> Sequence[Passage]: ...


def answer_json(answer: Answer) -> dict[str, Any]:
    """The object of one answer."""
    return {
        "question": answer.question.text,
        "answer": " ".join(map(_cited, answer.sentences)),
        "abstained": answer.abstained,
        "reason": answer.reason,
        "confidence": None if answer.confidence is None else round(answer.confidence, 4),
        "sentences": [
            {
                "text": s.text,
                "citations": list(s.citations),
                "evidence": [
                    {name: value for name, value in asdict(e).items() if name != "title"}
                    | {"episodes": list(e.episodes)}
                    for e in s.evidence
                ],
            }
            for s in answer.sentences
        ],
        "citations": [asdict(c) for c in answer.citations],
        "hits": [_hit(hit) for hit in answer.hits],
        "index": asdict(answer.index) if answer.index else None,
        "timings_ms": dict(answer.timings_ms),
    }


def search_json(query: str, hits: Sequence[Hit], library: Library, neighbours: int = 0) -> dict[str, Any]:
    """The object of one search; with `neighbours`, each hit has up to so many passages before it and after it."""
    rows = [_hit(hit) for hit in hits]
    if neighbours:
        for row, hit in zip(rows, hits, strict=True):
            row["neighbours"] = [
                {"start": p.start, "end": p.end, "text": p.text, "episodes": list(p.episodes)}
                for p in library.neighbours(hit.passage, neighbours)
            ]
    return {"query": query, "hits": rows}


def document_json(document: Document, id_pattern: str) -> dict[str, Any]:
    """The object of one document, with its sentences and who they are attributed to."""
    return {
        "id": document.id,
        "kind": document.kind,
        "title": document.title,
        "text": document.text,
        "metadata": dict(document.metadata),
        "sentences": [_sentence(s) for s in sentences(document, id_pattern)],
    }


def episode_json(library: _CitingLibrary, episode: str, id_pattern: str) -> dict[str, Any]:
    """The object of an episode's document, an empty one where there is none, and the sentences that cite it."""
    about = library.about(episode)
    empty = {"id": episode, "kind": "episode", "title": episode, "text": "", "metadata": {}, "sentences": []}
    cited_by = [
        {"document": p.document, **_sentence(s)}
        for p in library.citing(episode)
        for s in p.sentences
        if episode in s.episodes
    ]
    return (document_json(about, id_pattern) if about else empty) | {"cited_by": cited_by}


def _sentence(sentence: Sentence) -> dict[str, Any]:
    return {name: value for name, value in asdict(sentence).items() if name != "asked"}


def _hit(hit: Hit) -> dict[str, Any]:
    p = hit.passage
    return {
        "rank": hit.rank,
        "score": round(hit.score, 6),
        "document": p.document,
        "title": p.title,
        "heading": p.heading,
        "start": p.start,
        "end": p.end,
        "text": p.text,
        "episodes": list(p.episodes),
        "found_by": list(hit.found_by),
    }


def _cited(sentence: AnswerSentence) -> str:
    named = ", ".join(sentence.citations) or sentence.evidence[0].title
    return f"{sentence.text} [{named}]"
