"""An Answer as the JSON object that the command line, HTTP and the Python API share."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from rag.records import Answer, AnswerSentence, Hit


def answer_json(answer: Answer) -> dict[str, Any]:
    """The object of one answer; offsets in characters of the document's text."""
    return {
        "question": answer.question.text,
        "answer": " ".join(map(_cited, answer.sentences)),
        "abstained": answer.abstained,
        "reason": answer.reason,
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
        "hits": [hit_json(hit) for hit in answer.hits],
        "index": asdict(answer.index) if answer.index else None,
        "timings_ms": dict(answer.timings_ms),
    }


def hit_json(hit: Hit) -> dict[str, Any]:
    """The object of one hit."""
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
