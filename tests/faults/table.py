"""What the tests of faults saw, as the table of docs/reliability.md."""

from __future__ import annotations

import re
from dataclasses import astuple, dataclass
from pathlib import Path

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reliability.md"
HEAD = "| Fault | Where | What the user sees | Lost | Served |\n| --- | --- | --- | --- | --- |\n"
_ROW = re.compile(r"^\| (.+?) \| \[(.+?)\]\(\.\./tests/faults/(\S+?)#(\S+?)\) \| (.+) \| (.+?) \| (.+?) \|$", re.M)
_VARYING = {
    r"\d{8}T\d{6}-[0-9a-f]{8}-[0-9a-f]{4}": "GENERATION",
    r"\.building-\w{8}": "BUILD",
    r"[0-9a-f]{32}": "SEGMENT",
    r"[0-9a-f]{12}…": "…",
    r"127\.0\.0\.1:\d+": "127.0.0.1:PORT",
    r"in \d+\.\d s": "in … s",
}


@dataclass(frozen=True, slots=True)
class Row:
    """One fault: what struck where, what the user was told, what was lost, and what was served meanwhile."""

    fault: str
    where: str
    file: str
    test: str
    sees: str
    lost: str
    served: str


def normal(text: str, index: Path | None = None) -> str:
    """Text without what differs from run to run, on one line that a cell of a table can hold."""
    if index is not None:
        text = text.replace(str(index), "INDEX")
    for pattern, name in _VARYING.items():
        text = re.sub(pattern, name, text)
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")


def rows() -> list[Row]:
    """The rows of the page as it stands."""
    return [Row(*found) for found in _ROW.findall(PAGE.read_text(encoding="utf-8"))]


def write(found: list[Row]) -> None:
    """Put these rows in the place of those that the page has of the same tests."""
    tests = {(row.file, row.test) for row in found}
    kept = [row for row in rows() if (row.file, row.test) not in tests]
    lines = []
    for row in sorted([*kept, *found], key=lambda row: row.file):
        fault, where, file, test, sees, lost, served = astuple(row)
        lines.append(f"| {fault} | [{where}](../tests/faults/{file}#{test}) | {sees} | {lost} | {served} |\n")
    before = PAGE.read_text(encoding="utf-8").partition("| Fault |")[0]
    PAGE.write_text(before + HEAD + "".join(lines), encoding="utf-8")
