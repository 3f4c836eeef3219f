"""Records as the JSON objects that the command line and HTTP share; offsets in characters of a document's text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from rag.corpus.markers import sentences
from rag.ports import Library, WholeLibrary
from rag.records import Answer, AnswerSentence, Document, Draft, Dropped, Event, Found, Hit, Sentence


def answer_json(answer: Answer) -> dict[str, Any]:
    """The object of one answer."""
    return {
        "question": answer.question.text,
        "answer": " ".join(map(cited, answer.sentences)),
        "abstained": answer.abstained,
        "reason": answer.reason,
        "unanswered": [asdict(one) for one in answer.unanswered],
        "standalone": answer.standalone,
        "generator": "llm" if answer.draft and answer.draft.passed else "extractive",
        "draft": _draft(answer.draft),
        "confidence": None if answer.confidence is None else round(answer.confidence, 4),
        "sentences": list(map(sentence_json, answer.sentences)),
        "citations": [asdict(c) for c in answer.citations],
        "hits": [_hit(hit) for hit in answer.hits],
        "index": asdict(answer.index) if answer.index else None,
        "timings_ms": dict(answer.timings_ms),
    }


def sentence_json(sentence: AnswerSentence) -> dict[str, Any]:
    """The object of one sentence of an answer."""
    return {
        "text": sentence.text,
        "citations": list(sentence.citations),
        "drafted": sentence.drafted,
        "evidence": [
            {name: value for name, value in asdict(e).items() if name != "title"} | {"episodes": list(e.episodes)}
            for e in sentence.evidence
        ],
    }


def event_json(event: Event) -> tuple[str, dict[str, Any]]:
    """The name and the object of what happens to a question: hits, sentence, dropped, done."""
    if isinstance(event, Found):
        return "hits", {
            "question": event.question.text,
            "standalone": event.standalone,
            "hits": [_hit(hit) for hit in event.hits],
            "index": asdict(event.index),
        }
    if isinstance(event, AnswerSentence):
        return "sentence", sentence_json(event)
    if isinstance(event, Dropped):
        return "dropped", {"objection": event.objection}
    return "done", answer_json(event)


def _draft(draft: Draft | None) -> dict[str, Any] | None:
    if draft is None:
        return None
    return asdict(draft) | {"objections": dict(draft.objections), "dropped": draft.dropped}


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


def episode_json(library: WholeLibrary, episode: str, id_pattern: str) -> dict[str, Any]:
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


def cited(sentence: AnswerSentence) -> str:
    """A sentence with its citations behind it; one of no episode names its document."""
    named = ", ".join(sentence.citations) or sentence.evidence[0].title
    return f"{sentence.text} [{named}]"
