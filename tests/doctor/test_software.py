"""Python and packages that are not as they have to be."""

from __future__ import annotations

import importlib.metadata
import json
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from doctor.conftest import everything, faults
from rag.doctor.finding import Finding

LIBGOMP = "libgomp.so.1: cannot open shared object file"
METADATA = "Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{more}"


def installed(site: Path, name: str, version: str, more: str = "") -> None:
    """What pip leaves of a package, before all others."""
    folder = site / f"{name.replace('-', '_')}-{version}.dist-info"
    folder.mkdir(parents=True)
    (folder / "METADATA").write_text(METADATA.format(name=name, version=version, more=more))


def linked(folder: Path, *without: str) -> list[str]:
    """A path to import from on which modules are not installed; all others are, linked."""
    held = Path(str(importlib.metadata.distribution("numpy").locate_file("")))
    folder.mkdir()
    for path in held.iterdir():
        if path.name.partition("-")[0] not in without:
            (folder / path.name).symlink_to(path)
    return [str(folder) if Path(p) == held else p for p in sys.path]


def without(monkeypatch: pytest.MonkeyPatch, folder: Path, module: str) -> None:
    monkeypatch.setattr(sys, "path", linked(folder, module))
    for name in [name for name in sys.modules if name.partition(".")[0] == module]:
        monkeypatch.delitem(sys.modules, name)


def test_a_python_that_is_too_old(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installed(tmp_path, "podcast-rag", "0.1.0", "Requires-Python: >=4.11\n")
    monkeypatch.syspath_prepend(tmp_path)
    (python,) = everything()["python"]
    assert (python.grade, python.found) == ("broken", f"{platform.python_version()}, wanted >=4.11")
    assert "python -m venv" in python.mend


def test_packages_that_are_missing_or_too_old(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installed(tmp_path / "site", "click", "7.0")
    monkeypatch.syspath_prepend(tmp_path / "site")
    without(monkeypatch, tmp_path / "linked", "rank_bm25")
    (packages,) = everything()["packages"]
    assert packages == Finding(
        "broken", "click 7.0, wanted >=8.1, no rank-bm25", "pip install 'click>=8.1' 'rank-bm25>=0.2.2'"
    )


def test_the_package_itself_is_not_installed(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without(monkeypatch, tmp_path / "linked", "podcast_rag")
    found = everything()
    assert {check: f.found for check, (f, *_) in faults(found).items()} == {
        "packages": "podcast-rag itself is not installed"
    }
    assert found["question"][0].grade == "ok"


@pytest.mark.parametrize("module", ["pydantic", "packaging"])
def test_what_is_missing_is_told_once_though_most_checks_need_it(folder: Path, tmp_path: Path, module: str) -> None:
    path = linked(tmp_path / "linked", module)
    code = f"import sys; sys.path[:] = {path!r}; from rag.cli import main; main(['doctor', '--json'])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=folder)
    rows = {row["check"]: row for row in json.loads(done.stdout)["findings"]}
    broken = {check: row["mend"] for check, row in rows.items() if row["grade"] == "broken"}
    assert broken.keys() <= {"packages", "imports"}  # an engine may need it too
    assert all(f"pip install {module}" in mend.replace("'", "") for mend in broken.values())
    assert rows["packages"]["found"] == f"no {module}"
    assert rows["port"]["grade"] == "ok"


def test_a_package_that_does_not_load(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "faiss.py").write_text(f"raise ImportError('{LIBGOMP}')\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "faiss")
    found = everything()
    (imports,) = found["imports"]
    assert imports.grade == "broken"
    assert "faiss does not load (ImportError: libgomp.so.1:" in imports.found
    assert "pip install --force-reinstall faiss-cpu" in imports.mend
    assert found["opens"] == [
        Finding("info", f"not examined while packages are broken ({LIBGOMP})"),
    ]
    assert found["corpus"][0].grade == "ok"


def test_an_extra_that_is_missing_is_told_and_one_too_old_is_a_fault(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed(tmp_path / "site", "openai", "1.0")
    monkeypatch.syspath_prepend(tmp_path / "site")
    without(monkeypatch, tmp_path / "linked", "watchfiles")
    extras = {finding.found.split()[1].rstrip(","): finding for finding in everything()["extras"][1:]}
    assert extras["watch"] == Finding(
        "info", "without watch (no watchfiles), which is for `rag index --watch`", "pip install 'podcast-rag[watch]'"
    )
    old = next(finding for finding in extras.values() if finding.grade == "warning")
    assert old.found == "llm, which is for a language model behind an endpoint: openai 1.0, wanted >=3.0"
    assert old.mend == "pip install 'openai>=3.0'"


def test_an_extra_that_the_settings_need(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = "Requires-Dist: opentelemetry-sdk>=1.30; extra == 'otel'\n"
    installed(tmp_path / "site", "podcast-rag", "0.1.0", f"Requires-Python: >=3.11\n{wanted}")
    without(monkeypatch, tmp_path / "linked", "opentelemetry_sdk")
    monkeypatch.syspath_prepend(tmp_path / "site")
    (otel,) = faults(everything(RAG_SERVE__TRACES="http://127.0.0.1:4318"))["extras"]
    assert (otel.grade, otel.mend) == ("broken", "pip install 'podcast-rag[otel]'")
    assert "extras" not in faults(everything())


def test_torch_is_missed_only_where_there_is_no_index(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without(monkeypatch, tmp_path / "linked", "torch")
    assert "torch" not in faults(everything())
    shutil.rmtree(folder / "index")
    (torch,) = everything()["torch"]
    assert (torch.grade, "pip install 'podcast-rag[build]'" in torch.mend) == ("warning", True)
