"""What a check found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from rag.errors import RagError

Grade = Literal["ok", "info", "warning", "broken"]
"""Well; worth knowing; works, and is worth mending; does not work."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check found, in a line; `mend` says what to do about it, "" for nothing."""

    grade: Grade
    found: str
    mend: str = ""


def told(error: RagError, grade: Grade = "broken") -> Finding:
    """An error, as a finding: what stands behind its last semicolon is what mends it.

    >>> told(RagError("index holds no index; build it with `rag index`"))
    Finding(grade='broken', found='index holds no index', mend='build it with `rag index`')
    """
    found, _, mend = str(error).rpartition("; ")
    return Finding(grade, found or mend, mend if found else "")
