"""What is deployed says what the program has: options, settings, routes, extras."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from rag.cli import main

ROOT = Path(__file__).resolve().parent.parent
HEALTH = "http://127.0.0.1:8000/readyz"


def stages() -> list[list[tuple[str, str]]]:
    """The instructions of each stage of the Dockerfile, as (name, the rest)."""
    text = re.sub(r"\\\n\s*", "", (ROOT / "Dockerfile").read_text(encoding="utf-8"))
    found: list[list[tuple[str, str]]] = []
    for line in filter(lambda line: line and not line.startswith("#"), text.splitlines()):
        name, _, rest = line.partition(" ")
        if name == "FROM":
            found.append([])
        found[-1].append((name, rest))
    return found


def of(stage: list[tuple[str, str]], name: str) -> list[str]:
    """What stands behind each instruction of that name, arguments at their defaults."""
    values = {name: value.strip('"') for name, _, value in (rest.partition("=") for n, rest in stage if n == "ARG")}
    return [re.sub(r"\$\{(\w+)\}", lambda m: values.get(m[1], m[0]), rest) for found, rest in stage if found == name]


def compose() -> dict[str, Any]:
    value: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))
    return value["services"]["rag"]  # type: ignore[no-any-return]


def unit() -> list[tuple[str, str]]:
    lines = (ROOT / "deploy" / "rag.service").read_text(encoding="utf-8").splitlines()
    pairs = (line.partition("=") for line in lines if "=" in line and not line.startswith("#"))
    return [(name, value) for name, _, value in pairs]


def test_the_image_that_serves_has_no_torch_and_is_not_root() -> None:
    build, serve = stages()
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    [installed] = [run for run in of(serve, "RUN") if "pip install" in run]
    assert "--constraint requirements.lock" in installed
    for extra in re.findall(r"\.\[([a-z,]+)\]", installed)[0].split(","):
        assert not [line for line in extras[extra] if "torch" in line or "sentence-transformers" in line]
    assert any(".[build," in run for run in of(build, "RUN"))
    assert of(serve, "USER") == ["10001"]
    names = [name for name, _ in serve]
    assert names.index("USER") < names.index("ENTRYPOINT")


def test_what_is_copied_into_the_image_is_there_and_not_ignored() -> None:
    kept = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    for stage in stages():
        for copied in of(stage, "COPY"):
            if not copied.startswith("--from"):
                for path in copied.split()[:-1]:
                    assert (ROOT / path).exists(), path
                    assert f"!{path}" in kept


@pytest.mark.parametrize("where", ["Dockerfile", "compose.yaml", "deploy/milvus/compose.yaml"])
def test_health_is_asked_where_the_program_answers(where: str) -> None:
    assert HEALTH in (ROOT / where).read_text(encoding="utf-8")
    serve = (ROOT / "src" / "rag" / "serve" / "app.py").read_text(encoding="utf-8")
    assert '"/readyz"' in serve


def test_the_container_is_open_to_this_machine_alone_and_can_do_little() -> None:
    service = compose()
    assert all(port.startswith("127.0.0.1:") for port in service["ports"])
    assert service["read_only"]
    assert service["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in service["security_opt"]


def test_every_option_that_is_deployed_is_one_of_the_program() -> None:
    listed = CliRunner().invoke(main, ["serve", "--help"]).output
    general = CliRunner().invoke(main, ["--help"]).output
    [command] = of(stages()[1], "CMD")
    commands = [command, *(value for name, value in unit() if name == "ExecStart")]
    page = (ROOT / "docs" / "deployment.md").read_text(encoding="utf-8")
    commands += re.findall(r"`(rag serve [^`]*)`", page)
    options = {option for text in commands for option in re.findall(r"--[a-z-]+", text)}
    assert {"--host", "--log", "--index", "--name", "--proxy"} <= options
    for option in options:
        assert option in listed or option in general, option


def test_the_service_has_longer_to_stop_than_the_program_takes_and_no_rights() -> None:
    values = dict(unit())
    assert int(values["TimeoutStopSec"]) > 10
    assert values["DynamicUser"] == values["NoNewPrivileges"] == "yes"
    assert values["ProtectSystem"] == "strict"
    assert values["CapabilityBoundingSet"] == ""
