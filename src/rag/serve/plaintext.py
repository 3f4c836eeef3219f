"""What was found, as plain text for a model or a person to read."""

from __future__ import annotations

from typing import Any

from rag.corpus.markers import plain
from rag.records import Answer, Hit, Ranking, Unanswered
from rag.wire import cited


def answer_text(answer: Answer) -> str:
    """An answer with its evidence, or an abstention with the nearest passages."""
    if answer.abstained:
        nearest = [_hit_line(hit, " ".join(hit.passage.text.split())[:300]) for hit in answer.hits[:3]]
        headed = ["", "Nearest passages:", *nearest] if nearest else []
        return "\n".join([f"The corpus does not say: {answer.reason}", *map(_without, answer.unanswered), *headed])
    lines = [" ".join(map(cited, answer.sentences)), *map(_without, answer.unanswered)]
    lines += ["", "Evidence, by the number of the sentence:"]
    for number, sentence in enumerate(answer.sentences, start=1):
        for evidence in sentence.evidence:
            heading = f" › {evidence.heading}" if evidence.heading else ""
            lines.append(f"{number}. {evidence.document}:{evidence.start}-{evidence.end} {evidence.title}{heading}")
            lines.append(f"   “{' '.join(evidence.quote.split())}”")
    if answer.citations:
        lines += ["", "Episodes:"]
    for citation in answer.citations:
        title = citation.title if citation.document else "only mentioned: the corpus has no document about it"
        lines.append(" ".join([citation.episode, title, citation.url or ""]).rstrip())
    return "\n".join(lines)


def _without(one: Unanswered) -> str:
    return f"Not answered: {one.question} ({one.reason})"


def hits_text(hits: Ranking, id_pattern: str) -> str:
    """Passages, best first."""
    return "\n".join(_hit_line(hit, plain(hit.passage.text, id_pattern)) for hit in hits) or "Nothing found."


def _hit_line(hit: Hit, text: str) -> str:
    passage = hit.passage
    named = f" [{', '.join(passage.episodes)}]" if passage.episodes else ""
    heading = f" › {passage.heading}" if passage.heading else ""
    place = f"{passage.document}:{passage.start}-{passage.end}"
    return f"{hit.rank}. {place}{named} {passage.title}{heading}\n   “{text}”"


def document_text(value: dict[str, Any]) -> str:
    """A document's object (`rag.wire.document_json`, `episode_json`), with who cites it."""
    lines = [f"{value['title']} ({value['id']})", "", value["text"].strip()]
    if citing := value.get("cited_by", []):
        lines += ["", f"Cited by ({len(citing)} sentences):"]
        lines += [f"{row['document']}:{row['start']}-{row['end']} “{' '.join(row['text'].split())}”" for row in citing]
    return "\n".join(lines)


def printable(text: str) -> str:
    """Text without control characters, which a terminal would obey; white space of any other kind is a blank."""
    return "".join(c if c.isprintable() or c == "\n" else " " if c.isspace() else "" for c in text)
