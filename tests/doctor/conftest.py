from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest

from faults.tiny import build_tiny, write_corpus
from rag.doctor.examine import examine
from rag.doctor.finding import Finding
from rag.doctor.installation import Installation


@pytest.fixture(scope="session")
def well(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a corpus and its index, to be copied."""
    pytest.importorskip("onnx", reason="making an encoder needs the `build` extra")
    folder = tmp_path_factory.mktemp("well")
    build_tiny(write_corpus(folder / "corpus"), folder / "index")
    return folder


@pytest.fixture
def folder(well: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy to break, which is where we stand."""
    copy = Path(shutil.copytree(well, tmp_path / "copy"))
    monkeypatch.chdir(copy)
    return copy


def everything(
    *, port: int = 0, ask_model: bool = False, config: Path | None = None, **environment: str
) -> Mapping[str, list[Finding]]:
    """What each check finds in the folder where we stand."""
    found: dict[str, list[Finding]] = {}
    for check, finding in examine(Installation(config, environment, {}, port, ask_model)):
        found.setdefault(check, []).append(finding)
    return found


def faults(found: Mapping[str, list[Finding]]) -> dict[str, list[Finding]]:
    """Those that are broken or worth mending."""
    kept = {check: [f for f in findings if f.grade in ("broken", "warning")] for check, findings in found.items()}
    return {check: findings for check, findings in kept.items() if findings}
