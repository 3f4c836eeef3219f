"""The page says what the tests see, and nothing else."""

from __future__ import annotations

import ast
from pathlib import Path

from faults import table


def test_every_row_stands_on_a_test_that_there_is() -> None:
    here = Path(__file__).parent
    for row in table.rows():
        tree = ast.parse((here / row.file).read_text(encoding="utf-8"))
        assert row.test in {item.name for item in tree.body if isinstance(item, ast.FunctionDef)}, row


def test_every_line_of_the_table_is_a_row() -> None:
    lines = table.PAGE.read_text(encoding="utf-8").partition(table.HEAD)[2].splitlines()
    assert len(lines) == len(table.rows()) > 0
