"""What the build makes of pip-audit's words, by a stand-in that says them."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

AUDIT = Path(__file__).resolve().parents[1] / ".ci" / "audit.py"
WELL: dict[str, Any] = {"name": "click", "version": "8.5.1", "vulns": []}
UNKNOWN: dict[str, Any] = {"name": "torch", "skip_reason": "not found"}
WEAK: dict[str, Any] = {
    "name": "lxml",
    "version": "1.0",
    "vulns": [{"id": "PYSEC-1", "fix_versions": ["1.1"]}, {"id": "PYSEC-2", "fix_versions": []}],
}


def audited(folder: Path, said: str, complaint: str = "", status: int = 0) -> tuple[int, list[str]]:
    tool = folder / "pip-audit"
    tool.write_text(
        f"#!{sys.executable}\nimport sys\nprint({said!r})\nsys.stderr.write({complaint!r})\nsys.exit({status})\n"
    )
    tool.chmod(0o755)
    done = subprocess.run([sys.executable, AUDIT, tool, "requirements.lock"], capture_output=True, text=True)
    assert not done.stderr
    return done.returncode, done.stdout.splitlines()


def about(*packages: dict[str, Any]) -> str:
    return json.dumps({"dependencies": packages, "fixes": []})


def test_a_known_weakness_fails_the_build_and_is_named_with_its_mend(tmp_path: Path) -> None:
    assert audited(tmp_path, about(WELL, WEAK), status=1) == (
        1,
        [
            "audit: lxml 1.0 has PYSEC-1; mended in 1.1",
            "audit: lxml 1.0 has PYSEC-2",
            "audit: 2 packages asked about, 2 known weaknesses",
        ],
    )


def test_packages_that_nothing_is_known_of_are_named(tmp_path: Path) -> None:
    assert audited(tmp_path, about(WELL, UNKNOWN)) == (
        0,
        ["audit: nothing is known of 1 packages: torch", "audit: 1 packages asked about, 0 known weaknesses"],
    )


@pytest.mark.parametrize(
    ("said", "complaint", "why"),
    [
        (about(UNKNOWN, UNKNOWN), "", "nothing is known here of any of the 2 packages"),
        ("", "Traceback\nConnectionError: no route", "ConnectionError: no route"),
        ("", "", "pip-audit said nothing"),
    ],
)
def test_what_could_not_be_asked_is_no_clean_audit_and_no_failure(
    tmp_path: Path, said: str, complaint: str, why: str
) -> None:
    status, [line] = audited(tmp_path, said, complaint, status=1)
    assert (status, line) == (0, f"audit: NOT DONE, the advisories could not be asked: {why}")
