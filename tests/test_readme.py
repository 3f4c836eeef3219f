"""What the README shows is what happens."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("torch", reason="exporting an encoder needs the `build` extra")
    folder = tmp_path_factory.mktemp("index")
    done = rag("--index", str(folder), "index")
    assert done.returncode == 0, done.stderr
    return folder


def rag(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "rag", *arguments], cwd=ROOT, capture_output=True, text=True)


def fenced(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.M | re.S)


def test_the_answer_shown_is_the_answer_given(index: Path) -> None:
    question = shlex.split(fenced("sh")[0])[2].removeprefix("Q=")
    given = rag("--index", str(index), "ask", question).stdout
    shown = fenced("text")[0]
    assert " ".join(shown.split()) == " ".join(given.split())


def test_every_command_of_the_readme_exists() -> None:
    from rag.cli import main

    for line in re.findall(r"`rag ([^`]+)`", README):
        command: click.Command = main
        for word in line.split():
            if not isinstance(command, click.Group):
                break
            assert word in command.commands, line
            command = command.commands[word]


def test_the_settings_shown_are_taken(tmp_path: Path) -> None:
    from rag.settings import Settings, read_settings

    (tmp_path / "rag.toml").write_text(fenced("toml")[0])
    assert read_settings(tmp_path / "rag.toml", {}, {}) == Settings()


def test_the_make_targets_shown_are_there() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"make (\w+)", README):
        assert re.search(rf"^{target}:", makefile, re.M), target
