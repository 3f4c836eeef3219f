"""Who is answered, where keys are wanted."""

import base64
import hashlib
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from click.testing import CliRunner

from rag.cli import main
from rag.errors import UserError
from rag.serve.app import create_app
from rag.serve.keys import BEARER, Keyed, Keys, add_key, read_keys


def never() -> Any:
    raise AssertionError("the lifespan did not run: nothing opens the service")


def ask(app: Any, *paths: str, **options: Any) -> list[httpx.Response]:
    async def run() -> list[httpx.Response]:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            return [await client.get(path, **options) for path in paths]

    return anyio.run(run)


def bearing(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


def basic(user: str, key: str) -> dict[str, str]:
    return {"authorization": "Basic " + base64.b64encode(f"{user}:{key}".encode()).decode()}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "keys.txt"


def test_without_a_key_every_door_but_health_and_readiness_is_shut(file: Path) -> None:
    add_key(file, "ada")
    app = create_app(never, keys=file)
    paths = sorted({*app.openapi()["paths"], "/", "/docs", "/metrics", "/map", "/static/style.css", "/nowhere"})
    statuses = dict(zip(paths, (r.status_code for r in ask(app, *paths)), strict=True))
    assert statuses.pop("/healthz") == 200
    assert statuses.pop("/readyz") == 503
    assert len(statuses) > 10
    assert set(statuses.values()) == {401}


def test_a_refusal_is_a_problem_document_that_says_how_to_ask(file: Path) -> None:
    add_key(file, "ada")
    [refused] = ask(create_app(never, keys=file), "/metrics")
    assert refused.headers["content-type"] == "application/problem+json"
    assert refused.json()["status"] == 401
    assert "Basic realm=" in refused.headers["www-authenticate"]
    assert "Bearer" in refused.headers["www-authenticate"]
    assert refused.headers["x-request-id"]
    assert "content-security-policy" in refused.headers


@pytest.mark.parametrize("how", [bearing, lambda key: basic("", key), lambda key: basic("anyone", key)])
def test_a_key_opens_as_a_token_and_as_a_password(file: Path, how: Any) -> None:
    keys = [add_key(file, name) for name in ("ada", "bob")]
    app = create_app(never, keys=file)
    assert [ask(app, "/metrics", headers=how(key))[0].status_code for key in keys] == [200, 200]


@pytest.mark.parametrize(
    "authorization",
    ["", "Bearer", "Bearer ", "Bearer x", "Basic", "Basic ?", "Basic /w==", "Basic YWRh", "Digest x", "Bearer \xff"],
)
def test_what_is_no_key_is_refused(file: Path, authorization: str) -> None:
    add_key(file, "ada")
    app = create_app(never, keys=file)
    assert ask(app, "/metrics", headers={"authorization": authorization.encode("latin-1")})[0].status_code == 401


def test_the_digest_in_the_file_is_no_key(file: Path) -> None:
    key = add_key(file, "ada")
    assert key not in file.read_text()
    assert read_keys(file) == {"ada": hashlib.sha256(key.encode()).hexdigest()}
    assert ask(create_app(never, keys=file), "/metrics", headers=bearing(read_keys(file)["ada"]))[0].status_code == 401


def test_a_key_that_is_added_opens_and_one_that_is_removed_does_not(file: Path) -> None:
    ada = add_key(file, "ada")
    app = create_app(never, keys=file)
    bob = add_key(file, "bob")
    assert ask(app, "/metrics", headers=bearing(bob))[0].status_code == 200
    file.write_text(file.read_text().splitlines()[1])
    assert ask(app, "/metrics", headers=bearing(ada))[0].status_code == 401
    assert ask(app, "/metrics", headers=bearing(bob))[0].status_code == 200


def test_a_file_that_breaks_keeps_the_keys_it_had_and_opens_to_nobody_else(
    file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ada = add_key(file, "ada")
    app = create_app(never, keys=file)
    with caplog.at_level(logging.ERROR, "rag.serve"):
        for broken in (b"ada half a li", b"\xff"):
            file.write_bytes(broken)
            assert ask(app, "/metrics")[0].status_code == 401
            assert ask(app, "/metrics", headers=bearing(ada))[0].status_code == 200
    assert len(caplog.records) == 2


@pytest.mark.parametrize(
    "take", [Path.unlink, lambda file: file.write_text(""), lambda file: file.write_text("# no\n")]
)
def test_who_takes_away_the_last_key_or_the_file_locks_everyone_out_until_there_is_a_key(
    file: Path, take: Callable[[Path], object], caplog: pytest.LogCaptureFixture
) -> None:
    ada = add_key(file, "ada")
    held, app = file.read_text(), create_app(never, keys=file)
    take(file)
    with caplog.at_level(logging.ERROR, "rag.serve"):
        assert [r.status_code for r in ask(app, "/metrics", "/metrics", "/healthz", headers=bearing(ada))] == [
            401,
            401,
            200,
        ]
    [record] = caplog.records
    assert record.getMessage().endswith("until then nobody is answered")
    file.write_text(held)
    assert ask(app, "/metrics", headers=bearing(ada))[0].status_code == 200


def test_a_file_whose_rights_alone_change_is_read_again(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ada = add_key(file, "ada")
    keys, read = Keys(file), Path.read_text
    file.chmod(0o000)

    def denied(self: Path, *arguments: Any, **options: Any) -> str:
        """As for whoever is not root."""
        if not self.stat().st_mode & 0o400:
            raise PermissionError(13, "Permission denied", str(self))
        return read(self, *arguments, **options)

    monkeypatch.setattr(Path, "read_text", denied)
    assert keys.whose(ada) is None
    file.chmod(0o600)
    assert keys.whose(ada) == "ada"


def test_those_behind_learn_whose_key_it_was(file: Path) -> None:
    names = []

    async def notes(scope: Any, receive: Any, send: Any) -> None:
        names.append(scope[BEARER])
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body"})

    keys = {name: add_key(file, name) for name in ("ada", "bob")}
    for name in ("bob", "ada"):
        ask(Keyed(notes, Keys(file)), "/", headers=bearing(keys[name]))
    assert names == ["bob", "ada"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (None, "cannot be read"),
        ("", "holds 0 keys"),
        ("# nobody yet\n\n", "holds 0 keys"),
        ("ada hunter2", "keys.txt:1"),
        (f"ada {'0' * 64}\nada {'1' * 64}\n", "keys.txt:2"),
        (f"a da {'0' * 64}", "keys.txt:1"),
    ],
)
def test_a_file_that_holds_no_keys_ends_the_start(file: Path, text: str | None, told: str) -> None:
    if text is not None:
        file.write_text(text)
    with pytest.raises(UserError, match=told) as raised:
        create_app(never, keys=file)
    assert "hunter2" not in str(raised.value)


def test_rag_keys_prints_the_key_once_and_keeps_the_file_to_its_owner(file: Path) -> None:
    first, again = (CliRunner().invoke(main, ["keys", str(file), "ada"], standalone_mode=False) for _ in range(2))
    assert ask(create_app(never, keys=file), "/metrics", headers=bearing(first.output.strip()))[0].status_code == 200
    assert again.exit_code == 2
    assert read_keys(file).keys() == {"ada"}
    assert file.stat().st_mode & 0o777 == 0o600
