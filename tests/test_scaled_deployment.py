"""Milvus and the servers before it as they are deployed: pinned, closed, no password set, every name a known one."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from rag.cli import main
from rag.errors import SettingsError
from rag.settings import read_settings

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "deploy" / "milvus"
SECRET = re.compile(r"PASSWORD|SECRET|TOKEN")


def compose() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((FOLDER / "compose.yaml").read_text(encoding="utf-8"))
    return found


def services() -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = compose()["services"]
    return found


def values() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((FOLDER / "values.yaml").read_text(encoding="utf-8"))
    return found


def milvus_config() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(values()["extraConfigFiles"]["user.yaml"])
    return found


def environment(service: dict[str, Any]) -> dict[str, str]:
    """What a service is told, every variable of the deployment filled in."""
    given = service.get("environment", {})
    return {name: re.sub(r"\$\{\w+:\?[^}]*\}", "given", value) for name, value in given.items()}


@pytest.mark.parametrize("name", list(services()))
def test_an_image_is_of_one_version_or_built_here(name: str) -> None:
    service = services()[name]
    assert "build" in service or re.search(r":(v?\d+\.\d+\.\d+|RELEASE\.\d{4}-\d\d-\d\dT[\d-]+Z)", service["image"])


def test_both_deployments_run_the_same_milvus() -> None:
    assert services()["milvus"]["image"] == f"milvusdb/milvus:{values()['image']['all']['tag']}"


@pytest.mark.parametrize("name", list(services()))
def test_a_secret_has_to_be_given(name: str) -> None:
    for variable, value in services()[name].get("environment", {}).items():
        if SECRET.search(variable):
            assert re.fullmatch(r"(root:)?\$\{\w+:\?[^}]+\}", value), variable


def test_milvus_lets_nobody_in_without_a_password() -> None:
    told = services()["milvus"]["environment"]
    assert told["COMMON_SECURITY_AUTHORIZATIONENABLED"] == "true"
    assert "COMMON_SECURITY_DEFAULTROOTPASSWORD" in told
    security = milvus_config()["common"]["security"]
    assert security["authorizationEnabled"]
    assert security["tlsMode"] == 1
    [password] = values()["mixCoordinator"]["extraEnv"]
    assert password["name"] == "COMMON_SECURITY_DEFAULTROOTPASSWORD"
    assert "secretKeyRef" in password["valueFrom"]


@pytest.mark.parametrize("path", sorted(FOLDER.iterdir()), ids=lambda path: path.name)
def test_no_password_that_everybody_knows_is_in_a_file(path: Path) -> None:
    assert not re.search(r"minioadmin|root:Milvus|secretKey:|accessKey:", path.read_text(encoding="utf-8"))


def test_the_certificate_is_where_milvus_looks_for_it() -> None:
    proxy, tls = values()["proxy"], milvus_config()["tls"]
    [mount], [volume] = proxy["volumeMounts"], proxy["volumes"]
    assert mount["name"] == volume["name"]
    assert {tls["serverPemPath"], tls["serverKeyPath"]} == {f"{mount['mountPath']}/tls.{end}" for end in ("crt", "key")}


@pytest.mark.parametrize("name", list(services()))
def test_a_service_is_open_to_this_machine_alone(name: str) -> None:
    service = services()[name]
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ()))
    assert "no-new-privileges:true" in service["security_opt"]
    assert set(service["networks"]) <= set(compose()["networks"])


def test_what_readers_reach_reaches_no_store() -> None:
    assert services()["proxy"]["networks"] == ["front"]
    assert not {"front"} & {net for name in ("etcd", "minio", "milvus") for net in services()[name]["networks"]}


@pytest.mark.parametrize("name", [name for name in services() if name != "index"])
def test_a_service_that_stays_says_whether_it_is_well(name: str) -> None:
    check = services()[name]["healthcheck"]
    assert check["test"][0] == "CMD"
    assert check["timeout"]


def test_servers_share_nothing_but_milvus() -> None:
    servers = [services()[name] for name in ("rag-1", "rag-2")]
    assert servers[0] == servers[1]
    assert servers[0]["read_only"]
    assert servers[0]["cap_drop"] == ["ALL"]
    assert "volumes" not in servers[0]
    [mounted] = servers[0]["tmpfs"]
    assert servers[0]["environment"]["RAG_INDEX"].startswith(f"{mounted}/")


def test_the_proxy_asks_servers_by_names_that_they_answer_to() -> None:
    caddy = (FOLDER / "Caddyfile").read_text(encoding="utf-8")
    [line] = re.findall(r"reverse_proxy ([^{]+)\{", caddy)
    asked = [address.removesuffix(":8000") for address in line.split()]
    told = services()["rag-1"]["command"]
    assert asked == [told[at + 1] for at, word in enumerate(told) if word == "--name"] == ["rag-1", "rag-2"]
    assert "health_uri /readyz" in caddy
    assert "respond /metrics 404" in caddy


def test_every_option_and_command_is_one_of_the_program() -> None:
    for name in ("rag-1", "index"):
        words = [word for word in services()[name]["command"] if word != "rag"]
        listed = CliRunner().invoke(main, [words[0], "--help"])
        assert listed.exit_code == 0
        for option in (word for word in words if word.startswith("--")):
            assert option in listed.output


@pytest.mark.parametrize("name", ["rag-1", "index"])
def test_every_setting_is_one_of_the_program(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    told = {n: v for n, v in environment(services()[name]).items() if n.startswith("RAG_")}
    read_settings(None, told, {})
    for setting in told:
        with pytest.raises(SettingsError):
            read_settings(None, told | {f"{setting}X": told[setting]}, {})
