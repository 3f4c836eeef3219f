"""All checks together, and the command."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from doctor.conftest import everything, faults
from rag.cli import main
from rag.doctor import examine
from rag.doctor.examine import CHECKS, Check
from rag.doctor.finding import Finding
from rag.doctor.installation import Installation

OPERATIONS = Path(__file__).resolve().parents[2] / "docs" / "operations.md"


def test_what_is_well_has_no_fault_and_a_line_for_each_check(folder: Path) -> None:
    found = everything()
    assert not faults(found)
    assert list(found) == [check.name for check in CHECKS]
    assert all(findings[0].grade == "ok" for findings in found.values())


def test_every_fault_names_its_mend(folder: Path) -> None:
    """As many at once as there may be."""
    shutil.rmtree(folder / "index")
    (folder / "corpus" / "b.md").write_bytes(b"caf\xe9")
    (folder / "rag.toml").write_text("[search]\nk = 500\n")
    found = faults(everything(RAG_SERVE__KEYS="keys.txt", RAG_LLM_GGUF="model.gguf", RAG_SERCH__K="3"))
    assert set(found) == {"settings", "keys", "model", "corpus", "index"}
    assert all(finding.mend for findings in found.values() for finding in findings)


def test_a_check_that_raises_is_a_finding_and_the_others_go_on(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def raises(_: Installation) -> Iterator[Finding]:
        yield Finding("ok", "so far")
        raise ZeroDivisionError("the secret")

    monkeypatch.setattr(examine, "CHECKS", (Check("odd", raises), Check("after", raises, ("odd",)), *CHECKS))
    found = everything()
    assert [(f.grade, f.mend) for f in found["odd"]] == [("ok", ""), ("broken", "report it as a defect")]
    assert re.search(r"ZeroDivisionError at test_examine.py:\d+", found["odd"][1].found)
    assert found["after"] == [Finding("info", "not examined while odd is broken")]
    assert found["question"][0].grade == "ok"


def test_nothing_on_disk_changes(folder: Path) -> None:
    def state() -> dict[Path, tuple[int, bytes]]:
        paths = [folder, *folder.rglob("*")]
        return {p: (p.stat().st_mtime_ns, p.read_bytes() if p.is_file() else b"") for p in paths}

    before = state()
    everything()
    assert state() == before


def test_no_torch_is_imported(folder: Path) -> None:
    code = "import sys; from rag.cli import main; main(['doctor', '--json'], standalone_mode=False)\n"
    code += "print('torch' in sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=folder)
    assert (done.returncode, done.stderr) == (0, "False\n")
    assert {row["check"] for row in json.loads(done.stdout)["findings"]} == {check.name for check in CHECKS}


def test_the_command_fails_only_where_something_is_broken(folder: Path) -> None:
    (folder / "corpus" / "b.md").write_text("The ferry costs nine dollars E002.\n")
    poor = CliRunner().invoke(main, ["doctor"])
    assert poor.exit_code == 0
    assert "warning behind: since the index was built: 1 added (b) -> rag index\n" in poor.output
    shutil.rmtree(folder / "index")
    bad = CliRunner().invoke(main, ["doctor", "--json"])
    assert bad.exit_code == 1
    (index,) = (row for row in json.loads(bad.stdout)["findings"] if row["check"] == "index")
    assert index == {
        "check": "index",
        "grade": "broken",
        "found": "index holds no index",
        "mend": "build it with `rag index`",
    }


def test_flags_say_what_is_examined(folder: Path) -> None:
    (folder / "corpus").rename(folder / "texts")
    (folder / "index").rename(folder / "other")
    arguments = ["--index", "other", "doctor", "--corpus", "texts", "--keys", "none.txt", "--json"]
    done = CliRunner().invoke(main, arguments)
    broken = [row["check"] for row in json.loads(done.stdout)["findings"] if row["grade"] == "broken"]
    assert broken == ["keys"]


def test_a_file_name_cannot_forge_a_line(folder: Path) -> None:
    (folder / "corpus" / "a\nok index: fine\x1b[2J.md").write_bytes(b"\xff")
    done = CliRunner().invoke(main, ["doctor"])
    assert "\x1b" not in done.output
    assert all(line.split()[1].rstrip(":") in {check.name for check in CHECKS} for line in done.output.splitlines())
    assert "\nok index: fine" not in done.output


def test_every_name_is_documented_in_order() -> None:
    section = OPERATIONS.read_text(encoding="utf-8").partition("## `rag doctor`")[2].partition("\n## ")[0]
    assert re.findall(r"^\| `([a-z-]+)` \|", section, re.M) == [check.name for check in CHECKS]
