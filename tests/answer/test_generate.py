"""A language model behind a real, hostile endpoint."""

from __future__ import annotations

import logging
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from endpoint import (
    Behaviour,
    Served,
    chunk,
    drip,
    drips_headers,
    endless,
    endless_bytes,
    endpoint,
    events,
    half_event,
    hangs,
    not_sse,
    redirects,
    resets,
    retry_after,
    says,
    status,
)
from rag.answer.generate import OpenAIGenerator
from rag.errors import BackendFailed, UserError
from rag.records import Message

KEY = "sk-very-secret-0123456789"
ASKED = [Message("system", "Copy."), Message("user", "Does it rain?")]
SAID = "It rains in Bergen on most days. [E001]"
NO_FORM = "the language model's endpoint did not answer in OpenAI's form"
BROKE_OFF = "the language model's endpoint broke off"
TOO_MUCH = "the language model's endpoint sent more than it was asked for"


def never() -> bool:
    return False


@pytest.fixture(autouse=True)
def _no_thread_is_left() -> Iterator[None]:
    yield
    assert [thread for thread in threading.enumerate() if thread.name == "draft"] == []


def generator(served: Served, timeout: float = 5, retries: int = 0, key: str | None = KEY) -> OpenAIGenerator:
    return OpenAIGenerator(served.url, "scripted", key, timeout=timeout, retries=retries)


def draft(
    script: list[Behaviour] | Behaviour,
    timeout: float = 5,
    retries: int = 0,
    limit: int = 100,
    drops: bool = False,
) -> tuple[str, str | None, Served]:
    """What was written, what failed, and the endpoint, which sees the connection `drops` within a second."""
    text, failed = "", None
    with endpoint(script) as served:
        model = generator(served, timeout, retries)
        with closing(model.stream(ASKED, limit, never)) as pieces:
            try:
                for piece in pieces:
                    text += piece
            except BackendFailed as error:
                failed = str(error)
        assert not drops or served.closed.wait(1)
    return text, failed, served


def test_a_draft_is_what_the_endpoint_says() -> None:
    text, failed, served = draft(says(SAID, reasoning="Let me think."))
    assert (text, failed) == (SAID, None)
    (request,) = served.requests
    assert request.path == "/v1/chat/completions"
    assert request.body == {
        "model": "scripted",
        "messages": [{"role": "system", "content": "Copy."}, {"role": "user", "content": "Does it rain?"}],
        "max_tokens": 100,
        "temperature": 0,
        "stream": True,
    }
    assert request.headers["authorization"] == f"Bearer {KEY}"


def test_pieces_come_as_they_are_written() -> None:
    with endpoint(says("abcdef", pieces=1, pause=0.1)) as served:
        began = time.monotonic()
        with closing(generator(served).stream(ASKED, 10, never)) as pieces:
            assert next(pieces) == "a"
            assert time.monotonic() - began < 0.4
            assert "".join(pieces) == "bcdef"
            with pytest.raises(StopIteration):
                next(pieces)


def test_nothing_is_asked_before_the_first_piece_is() -> None:
    with endpoint(says(SAID)) as served:
        pieces = generator(served).stream(ASKED, 10, never)
        pieces.close()
        pieces.close()
        assert list(pieces) == []
        assert list(generator(served).stream(ASKED, 10, lambda: True)) == []
        assert served.attempts == 0


def test_two_drafts_at_once() -> None:
    with endpoint(
        lambda exchange: says(exchange.request.body["messages"][0]["content"], pause=0.01)(exchange)
    ) as served:
        model, found = generator(served), {}

        def write(text: str) -> None:
            with closing(model.stream([Message("user", text)], 100, never)) as pieces:
                found[text] = "".join(pieces)

        threads = [threading.Thread(target=write, args=(f"Draft number {n} of some.",)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(found) == 4
        assert all(text == written for text, written in found.items())


@pytest.mark.parametrize(
    ("behaviour", "written", "reason"),
    [
        (not_sse("<html><body>Log in</body></html>"), "", NO_FORM),
        (not_sse('{"choices": [{"message": {"content": "whole"}}]}', "application/json"), "", NO_FORM),
        (not_sse("data: no json\n\n", "text/event-stream"), "", NO_FORM),
        (not_sse("", "text/event-stream"), "", NO_FORM),
        (not_sse("data: x", headers={"Content-Encoding": "gzip"}), "", NO_FORM),
        (half_event(), "", NO_FORM),
        (half_event("It r"), "It r", BROKE_OFF),
        (says("It rains", finish=None), "It rains", BROKE_OFF),
        (events("[]"), "", NO_FORM),
        (events("null"), "", NO_FORM),
        (events('"text"'), "", NO_FORM),
        (events("{}"), "", NO_FORM),
        (events("[" * 100_000), "", NO_FORM),
        (events({"choices": None}), "", NO_FORM),
        (events({"choices": "text"}), "", NO_FORM),
        (events({"choices": [None]}), "", BROKE_OFF),
        (events({"choices": []}), "", BROKE_OFF),
        (events(chunk("text")), "", BROKE_OFF),
        (events(chunk({"content": ["text"]})), "", NO_FORM),
        (events(chunk({"content": {"text": "x"}})), "", NO_FORM),
        (events(chunk({"content": 7})), "", NO_FORM),
        (events(chunk({"content": "a"}), {"error": {"message": f"key {KEY}"}}), "a", "reported an error"),
        (endless_bytes(b"data: \xff\xfe\n\n"), "", NO_FORM),
        (resets(), "", BROKE_OFF),
        (resets("It r"), "It r", BROKE_OFF),
        (status(500, {"error": {"message": f"key {KEY} is bad"}}), "", "HTTP 500"),
        (status(401, f"key {KEY} is bad"), "", "HTTP 401; check RAG_LLM_API_KEY"),
        (status(404), "", "HTTP 404; check RAG_LLM_BASE_URL and RAG_LLM_MODEL"),
        (endless_bytes(b"x" * 10_000, 400), "", "HTTP 400"),
    ],
)
def test_what_is_not_in_form_fails_with_a_reason_of_our_own(behaviour: Behaviour, written: str, reason: str) -> None:
    text, failed, served = draft(behaviour)
    assert text == written
    assert failed is not None
    assert failed.endswith(reason)
    assert failed.startswith("the language model")
    assert served.attempts == 1


@pytest.mark.parametrize(
    "delta",
    [{}, {"content": None}, {"content": ""}, {"content": None, "tool_calls": [{"index": 0}]}, {"refusal": "no"}],
)
def test_what_holds_no_text_is_no_piece(delta: object) -> None:
    text, failed, _ = draft(events(chunk(delta, "stop"), {"choices": [], "usage": {"total_tokens": 9}}, "[DONE]"))
    assert (text, failed) == ("", None)


def test_a_draft_is_text_that_can_be_written_down() -> None:
    text, failed, _ = draft(events(chunk({"content": "\ud83d\ude00 \ud83d"}, "stop")))
    assert (text, failed) == ("\N{GRINNING FACE} \N{REPLACEMENT CHARACTER}", None)
    with (
        endpoint(says(SAID)) as served,
        closing(generator(served).stream([Message("user", "\ud83d")], 9, never)) as ours,
    ):
        assert "".join(ours) == SAID


@pytest.mark.parametrize(
    "behaviour",
    [
        endless("word " * 20),
        endless_bytes(b"x" * 1000),
        endless_bytes(b"x" * 1000, head=b"data: "),
        endless_bytes(b"data: x\n" * 1000),
        endless_bytes(b": wait\r\n" * 1000),
    ],
)
def test_an_answer_without_end_is_cut_off(behaviour: Behaviour) -> None:
    _, failed, _ = draft(behaviour, drops=True)
    assert failed == TOO_MUCH


def test_a_draft_has_at_most_250_000_characters() -> None:
    text, failed, _ = draft(endless("word " * 1000), limit=100_000, drops=True)
    assert failed == TOO_MUCH
    assert 240_000 < len(text) <= 250_000


@pytest.mark.parametrize(
    "behaviour",
    [drip(), drip(text="It r"), drips_headers(), hangs(), hangs("It r"), endless_bytes(b": wait\n\n" * 100)],
)
def test_the_timeout_bounds_a_draft_that_goes_on(behaviour: Behaviour) -> None:
    began = time.monotonic()
    _, failed, _ = draft(behaviour, timeout=0.5, retries=2, drops=True)
    assert failed == "the language model took more than 0.5 s"
    assert time.monotonic() - began < 1.4


@pytest.mark.parametrize("behaviour", [drip(), drips_headers(), hangs(), hangs("It r"), status(500)])
def test_stop_ends_it_at_once(behaviour: Behaviour) -> None:
    with endpoint(behaviour) as served:
        until = time.monotonic() + 0.3
        written = generator(served, 10, 10).stream(ASKED, 9, lambda: time.monotonic() > until)
        assert "".join(written) in ("", "It r")
        assert time.monotonic() - until < 0.5
        assert served.attempts == 1
        if behaviour.__qualname__.split(".")[0] != "status":  # that one waits to ask again
            assert served.closed.wait(1)


@pytest.mark.parametrize("behaviour", [drip(text="It r"), hangs("It r"), endless("It r"), says("It r" * 999, 4, 0.05)])
def test_close_ends_it_at_once(behaviour: Behaviour) -> None:
    with endpoint(behaviour) as served:
        pieces = generator(served).stream(ASKED, 1000, never)
        assert next(pieces) == "It r"
        began = time.monotonic()
        pieces.close()
        assert served.closed.wait(1)
        assert time.monotonic() - began < 1
        assert list(pieces) == []
        pieces.close()


def test_another_thread_may_close_it() -> None:
    with endpoint(hangs("It r")) as served:
        pieces = generator(served).stream(ASKED, 9, never)
        timer = threading.Timer(0.2, pieces.close)
        timer.start()
        assert list(pieces) == ["It r"]
        timer.join()
        assert served.closed.wait(1)


def test_it_asks_again_until_it_is_answered() -> None:
    text, failed, served = draft([status(500), resets(), says(SAID)], retries=2)
    assert (text, failed, served.attempts) == (SAID, None, 3)


def test_it_asks_no_more_often_than_it_may() -> None:
    text, failed, served = draft([status(503), status(500), says(SAID)], retries=1)
    assert (text, failed, served.attempts) == ("", "the language model's endpoint answered HTTP 500", 2)


@pytest.mark.parametrize(
    "behaviour", [status(400), status(401), status(404), half_event("a"), resets("a"), not_sse("")]
)
def test_it_does_not_ask_again_where_that_cannot_help(behaviour: Behaviour) -> None:
    _, failed, served = draft([behaviour, says(SAID)], retries=3)
    assert failed is not None
    assert served.attempts == 1


def test_retry_after_is_kept_within_the_time() -> None:
    began = time.monotonic()
    text, failed, served = draft([retry_after("0.4"), says(SAID)], retries=1)
    assert (text, failed, served.attempts) == (SAID, None, 2)
    assert 0.4 < time.monotonic() - began < 2
    for value in ("60", "1e99", "Wed, 21 Oct 2099 07:28:00 GMT"):
        began = time.monotonic()
        text, failed, served = draft([retry_after(value), says(SAID)], retries=1)
        assert (text, failed, served.attempts) == ("", "the language model's endpoint answered HTTP 429", 1)
        assert time.monotonic() - began < 1


def test_a_retry_after_that_says_nothing_does_no_harm() -> None:
    text, _, served = draft([retry_after("nan"), says(SAID)], retries=1)
    assert (text, served.attempts) == (SAID, 2)


def test_retries_are_within_the_timeout() -> None:
    began = time.monotonic()
    _, failed, _ = draft(status(500), timeout=0.8, retries=10)
    assert failed == "the language model took more than 0.8 s"
    assert time.monotonic() - began < 1.4


def test_a_redirect_is_not_followed() -> None:
    with endpoint(says(SAID)) as other:
        for target in (f"{other.url}/chat/completions", "/v1/other"):
            text, failed, served = draft(redirects(target), retries=2)
            assert (text, failed) == ("", "the language model's endpoint answered HTTP 307")
            assert served.attempts == 1
        assert other.attempts == 0


def test_a_model_that_refuses_a_value_is_asked_without_it() -> None:
    refused = {"error": {"message": "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead."}}
    hot = {"error": {"message": "Only the default (1) value is supported.", "param": "temperature"}}
    with endpoint([status(400, refused), status(400, hot), says("one"), says("two")]) as served:
        model = generator(served)
        assert ["".join(model.stream(ASKED, 50, never)) for _ in range(2)] == ["one", "two"]
        bodies = [request.body for request in served.requests]
        assert [body.get("max_tokens") for body in bodies] == [50, None, None, None]
        assert [body.get("max_completion_tokens") for body in bodies] == [None, 50, 50, 50]
        assert [body.get("temperature") for body in bodies] == [0, 0, None, None]
    _, failed, served = draft(status(400, refused))
    assert failed == "the language model's endpoint answered HTTP 400"
    assert served.attempts == 2


def test_nothing_of_the_environment_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    with endpoint(says("wrong")) as other, endpoint(says(SAID)) as served:
        for name in (
            "OPENAI_API_KEY",
            "OPENAI_ADMIN_KEY",
            "OPENAI_ORG_ID",
            "OPENAI_PROJECT_ID",
            "OPENAI_WEBHOOK_SECRET",
        ):
            monkeypatch.setenv(name, "from-the-environment")
        monkeypatch.setenv(
            "OPENAI_CUSTOM_HEADERS", "X-Custom: from-the-environment\nAuthorization: from-the-environment"
        )
        monkeypatch.setenv("OPENAI_BASE_URL", other.url)
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, other.url)
            monkeypatch.setenv(name.lower(), other.url)
        for key in (KEY, None, "", " \n"):
            with closing(generator(served, key=key).stream(ASKED, 50, never)) as pieces:
                assert "".join(pieces) == SAID
        assert other.attempts == 0
        named = [request.headers.get("authorization") for request in served.requests]
        assert named == [f"Bearer {KEY}", None, None, None]
        for request in served.requests:
            assert "from-the-environment" not in str(request)
            assert not [name for name in request.headers if name.startswith(("openai-", "x-"))]


def test_the_key_is_in_no_log_and_no_error(caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]) -> None:
    leaks = [status(401, f"bad {KEY}", {"X-Request-Id": KEY, "X-Echo": KEY}), not_sse(KEY), resets()]
    with caplog.at_level(logging.DEBUG):
        for behaviour in leaks:
            with endpoint(behaviour) as served:
                model = generator(served, retries=1)
                with pytest.raises(BackendFailed) as caught:
                    list(model.stream(ASKED, 50, never))
                held = (caught.value, caught.value.__cause__, caught.value.__context__, model, vars(caught.value))
                assert KEY not in repr(held)
                assert caught.value.__context__ is None
    assert KEY not in caplog.text
    assert KEY not in "".join(capfd.readouterr())


def test_the_client_logs_no_header_even_where_it_is_told_to_log_all(caplog: pytest.LogCaptureFixture) -> None:
    with endpoint([status(500), says(SAID)]) as served:
        model = generator(served, retries=1)
        for name in ("openai", "httpx2", "httpcore2"):
            caplog.set_level(logging.DEBUG, name)
        assert "".join(model.stream(ASKED, 50, never)) == SAID
    assert "httpcore2" in {record.name.split(".")[0] for record in caplog.records}
    assert KEY not in caplog.text
    assert "earer" not in caplog.text


def test_an_endpoint_that_is_not_there() -> None:
    with endpoint(says(SAID)) as served:
        model = generator(served)
    with pytest.raises(BackendFailed, match=r"^the language model's endpoint cannot be reached$"):
        list(model.stream(ASKED, 50, never))


def test_a_name_that_is_looked_up_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    found = threading.Event()

    def hang(*_: object, **__: object) -> None:
        found.wait(10)
        raise socket.gaierror

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    model = OpenAIGenerator("http://llm.example/v1", "m", None, timeout=0.2)
    began = time.monotonic()
    with pytest.raises(BackendFailed, match=r"took more than 0\.2 s"):
        list(model.stream(ASKED, 50, never))
    assert time.monotonic() - began < 2
    found.set()
    for thread in [thread for thread in threading.enumerate() if thread.name == "draft"]:
        thread.join(5)


def test_an_endpoint_that_speaks_no_tls() -> None:
    with endpoint(says(SAID)) as served:
        model = OpenAIGenerator(served.url.replace("http:", "https:"), "m", KEY, timeout=3, retries=0)
        with pytest.raises(BackendFailed, match="cannot be reached"):
            list(model.stream(ASKED, 50, never))


@pytest.mark.parametrize(
    "url", ["", "127.0.0.1:8000", "ftp://host/v1", "http://", "http://[", f"http://me:{KEY}@host/v1"]
)
def test_a_bad_address_is_refused_and_not_shown(url: str) -> None:
    with pytest.raises(UserError, match="base_url") as caught:
        OpenAIGenerator(url, "m", None)
    assert KEY not in str(caught.value)


@pytest.mark.parametrize("key", ["two words", "sk-é", "sk\nx", "sk-\u2013"])
def test_a_key_that_no_header_holds_is_refused_and_not_shown(key: str) -> None:
    with pytest.raises(UserError, match="key") as caught:
        OpenAIGenerator("http://127.0.0.1:1/v1", "m", key)
    assert key not in str(caught.value)


@pytest.mark.parametrize("package", ["openai", "httpx2"])
def test_a_missing_package_is_named(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(UserError, match=r"pip install 'podcast-rag\[llm\]'"):
        OpenAIGenerator("http://127.0.0.1:1/v1", "m", None)


MODEL = OpenAIGenerator("http://127.0.0.1:1/v1", "m", None)


@pytest.mark.parametrize(
    ("text", "least"),
    [
        # What SmolLM2's tokenizer finds, which has a small vocabulary and writes each digit apart.
        ("", 0),
        ("The capital of France is Paris.", 7),
        ("E0001 E123 S02E104", 16),
        ("1,234,567.89 2024-05-03", 23),
        ("a b c d e f", 6),
        ("don't it's we're", 6),
        ("methylenetetrahydrofolate reductase acetylcholinesterase", 14),
        ("MKVLAAGIVGLCAKRPEL", 11),
        ("deadbeef0123456789", 13),
        ("咖啡因会影响睡眠质量吗", 26),
        ("カフェインは睡眠に影響しますか", 29),
        ("Влияние кофеина на сон человека", 21),
        ("한국어 문장입니다", 21),
        ("\N{GRINNING FACE}\N{THUMBS UP SIGN}\N{ROCKET}", 8),
    ],
)
def test_the_estimate_errs_upwards(text: str, least: int) -> None:
    assert MODEL.tokens(text) >= least


@given(st.text())
def test_the_estimate_is_of_any_text(text: str) -> None:
    assert 0 <= MODEL.tokens(text) <= len(text.encode())
    assert MODEL.tokens(text + "1") > MODEL.tokens(text)


def test_the_estimate_of_half_a_surrogate_pair() -> None:
    assert MODEL.tokens("\ud83d") == 1
