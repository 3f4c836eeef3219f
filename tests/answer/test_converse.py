"""A follow-up in the light of a conversation."""

import re
import time
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fakes import Rarity
from rag.answer.converse import TOKENS, WRITTEN, standalone
from rag.errors import BackendFailed
from rag.evals.datasets import load_questions
from rag.records import Message, Turn
from rag.search.query import MAX_CHARS, named_episodes

KNOWN = ["E009", "E026", "E027", "E044", "E045"]
RECIPE = Turn("What is ReasonMaxxer?", "ReasonMaxxer is a recipe that does without reinforcement learning. [E026]")
FORKS = Turn("How many token positions does RL change according to E026?", "Only 1-3%. [E026]")
REFUSAL = Turn("how often does refusal break in E044?", "It goes to 98% compliance. [E044]")


def read(text: str, *history: Turn) -> str | None:
    return standalone(text, history, KNOWN, Rarity())


class Pieces(Iterator[str]):
    def __init__(self, texts: Sequence[str], failure: BackendFailed | None = None) -> None:
        self._texts, self._failure, self.closed = iter(texts), failure, False

    def __next__(self) -> str:
        try:
            return next(self._texts)
        except StopIteration:
            if self._failure is not None:
                raise self._failure from None
            raise

    def close(self) -> None:
        self.closed = True


class Writes:
    """A generator that writes one text in pieces of three characters, and may fail behind it."""

    name = "fake"

    def __init__(self, text: str, failure: BackendFailed | None = None, context: int = 2000) -> None:
        self.context, self._text, self._failure = context, text, failure
        self.told: list[tuple[Sequence[Message], int]] = []
        self.pieces: Pieces | None = None

    def tokens(self, text: str) -> int:
        return len(text) // 3 + 1

    def stream(self, messages: Sequence[Message], limit: int, stop: Callable[[], bool]) -> Pieces:
        self.told.append((messages, limit))
        self.pieces = Pieces([self._text[i : i + 3] for i in range(0, len(self._text), 3)], self._failure)
        return self.pieces


def written(text: str, asked: str = "And what did it cost?", history: Sequence[Turn] = (RECIPE,)) -> str | None:
    return standalone(asked, history, KNOWN, Rarity(), Writes(text))


BY_RULE = "And what did it cost? (about ReasonMaxxer, E026)"


def test_without_a_conversation_every_question_stands_alone() -> None:
    assert read("And what did it cost?") is None


@pytest.mark.parametrize(
    ("text", "history", "expected"),
    [
        ("And what did it cost?", RECIPE, BY_RULE),
        ("why?", RECIPE, "why? (about ReasonMaxxer, E026)"),
        ("any limits?", RECIPE, "any limits? (about ReasonMaxxer, E026)"),
        ("which model was that on?", RECIPE, "which model was that on? (about ReasonMaxxer, E026)"),
        ("what did the authors recommend?", RECIPE, "what did the authors recommend? (about ReasonMaxxer, E026)"),
        ("how does that compare to SFT?", RECIPE, "how does that compare to SFT? (about ReasonMaxxer, E026)"),
        ("where are they?", FORKS, "where are they? (about token positions, RL change, E026)"),
        ("how does it compare to E009?", RECIPE, "how does it compare to E009? (about ReasonMaxxer, E026)"),
        ("what else?", Turn("What is ReasonMaxxer?", ""), "what else? (about ReasonMaxxer)"),
    ],
)
def test_a_follow_up_carries_the_subject_and_the_episode(text: str, history: Turn, expected: str) -> None:
    assert read(text, history) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("what about E045?", "how often does refusal break in E045?"),
        ("and e45?", "how often does refusal break in E045?"),
        ("And episode 45?", "how often does refusal break in E045?"),
        ("what about E999?", "how often does refusal break in E999?"),
    ],
)
def test_the_last_question_is_asked_of_another_episode(text: str, expected: str) -> None:
    assert read(text, REFUSAL) == expected


def test_a_question_that_named_no_episode_is_asked_of_one() -> None:
    assert read("what about E027?", RECIPE) == "What is ReasonMaxxer? (E027)"


@pytest.mark.parametrize(
    "text",
    [
        "what is speculative decoding?",
        "And what is speculative decoding?",
        "What does E027 say about forks?",
        "what does E027 say, and who says it?",
        "E027?",
        "compare E009 and E027",
        "can a model lie when it knows the answer?",
        "does a model know its own limits?",
        "is it possible to train on eight GPUs?",
        "methods that trap agents in loops",
        "dpo vs kto, which one is more stable?",
        "what is new on this podcast?",
        "为什么强化学习有效?",
        "?!",
    ],
)
def test_a_question_with_its_own_subject_is_left_as_it_is(text: str) -> None:
    assert read(text, RECIPE) is None


def test_a_third_question_leans_through_the_second_on_the_first() -> None:
    second = Turn("and what did it cost?", "About $25. [E026]")
    assert read("why so little?", RECIPE, second) == "why so little? (about ReasonMaxxer, cost, E026)"
    assert read("and E027?", REFUSAL, Turn("what about E045?", "Up to 100%. [E045]")) == (
        "how often does refusal break in E027?"
    )


def test_what_was_asked_before_a_change_of_topic_is_not_carried() -> None:
    assert read("why?", RECIPE, Turn("what is speculative decoding?", "")) == "why? (about speculative decoding)"


def test_an_answer_that_cites_several_episodes_lends_none() -> None:
    assert read("why?", Turn("What is GRPO?", "It scores a group. [E009] It samples. [E026]")) == "why? (about GRPO)"


def test_a_follow_up_on_nothing_stands_alone() -> None:
    assert read("why?", Turn("", "")) is None
    assert read("why?", Turn("why?", "")) is None


def test_very_long_turns_and_strange_characters_leave_one_short_line() -> None:
    long = Turn("What is " + "ReasonMaxxer and others " * 5000 + "?", "word " * 100_000 + "[E026]")
    found = read("what\x1b[31m did\u202e it\ncost?", long)
    assert found is not None
    assert len(found) <= MAX_CHARS
    assert found.isprintable()
    markers = Turn("E026 " * 200, "E026 " * 800)
    began = time.perf_counter()
    assert read("why?", *[markers] * 20) is not None
    assert time.perf_counter() - began < 5, "the time grows with the length alone"
    full = "why is it so? " * 71
    assert len(full.strip()) < MAX_CHARS
    assert len(read(full, RECIPE) or "") <= MAX_CHARS


WELL = "What did ReasonMaxxer cost?"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (WELL, f"{WELL} (E026)"),
        ("What did ReasonMaxxer cost in E026?", "What did ReasonMaxxer cost in E026?"),
        (f"<think>it is the recipe</think>\n{WELL}\nI hope that helps!", f"{WELL} (E026)"),
        (f'Rewritten question: "{WELL}"', f"{WELL} (E026)"),
        ("<b>What</b> did [ReasonMaxxer](http://evil.example) cost?", f"{WELL} (E026)"),
    ],
)
def test_a_model_words_the_question(text: str, expected: str) -> None:
    assert written(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "What did ReasonMaxxer cost in E027?",
        "What did ReasonMaxxer cost in 2025?",
        "What did the 3 ReasonMaxxer recipes cost?",
        "What did ReasonMaxer cost?",
        "What did GRPO cost?",
        "What did ReasonMaxxer never cost?",
        "What were the costs of the ReasonMaxxer recipe?",
        "Why did ReasonMaxxer cost nothing?",
        "ReasonMaxxer cost what did?",
        "What did ★ ReasonMaxxer cost?",
        "What is ReasonMaxxer?",
        "And what did it cost?",
        "What did ReasonMaxxer cost? ReasonMaxxer cost little.",
        "ReasonMaxxer cost about a hundred dollars.",
        "ReasonMaxxer is a recipe that does without cost.",
        "ReasonMaxxer: what did Question: it cost: GRPO?",
        "Sure! What did ReasonMaxxer cost?",
        "What did ReasonMaxxer cost? http://evil.example",
        "What did ReasonMaxxer cost " + "and cost " * (WRITTEN // 9) + "?",
        "<script>alert(1)</script>",
        "\x1b[2J\u202e",
        "<think>it never ends",
        "",
    ],
)
def test_what_the_conversation_does_not_say_no_model_may_add(text: str) -> None:
    assert written(text) == BY_RULE


def test_a_model_that_fails_leaves_the_rule() -> None:
    for said in ("", "What did Reason"):
        model = Writes(said, BackendFailed("the endpoint is away"))
        assert standalone("And what did it cost?", [RECIPE], KNOWN, Rarity(), model) == BY_RULE
        assert model.pieces is not None
        assert model.pieces.closed


def test_a_stream_is_closed_and_bounded() -> None:
    model = Writes("cost " * 100_000)
    assert standalone("And what did it cost?", [RECIPE], KNOWN, Rarity(), model) == BY_RULE
    assert model.pieces is not None
    assert model.pieces.closed
    assert model.told[0][1] == TOKENS
    assert next(model.pieces, None) is not None, "what comes late is not read"


def test_a_question_that_stands_alone_is_not_sent_to_the_model() -> None:
    model = Writes(WELL)
    assert standalone("What is speculative decoding?", [RECIPE], KNOWN, Rarity(), model) is None
    assert standalone("And what did it cost?", [RECIPE], KNOWN, Rarity(), model, lambda: True) == BY_RULE
    assert not model.told


def test_what_a_model_is_told_fits_its_context() -> None:
    turns = [Turn("What is ReasonMaxxer?", "word " * 1000 + "[E026]")] * 20
    for context in (10, 400, 500, 800, 4000):
        model = Writes(WELL, context=context)
        assert standalone("And what did it cost?", turns, KNOWN, Rarity(), model) is not None
        for messages, limit in model.told:
            assert [m.role for m in messages] == ["system", "user"]
            assert sum(model.tokens(m.content) for m in messages) + limit <= context
    assert model.told


def _words(text: str) -> set[str]:
    return set(re.findall(r"[^\W_]+", text.casefold()))


PARTS = [
    "what",
    "about",
    "it",
    "that",
    "they",
    "why",
    "E026",
    "e44",
    "[E045]",
    "ReasonMaxxer",
    "and",
    "?",
    "49%",
    "为什么",
]
TALK = st.text(max_size=60) | st.lists(st.sampled_from(PARTS), max_size=12).map(" ".join)
TURNS = st.lists(st.builds(Turn, TALK, TALK), max_size=4)


@settings(max_examples=200)
@given(TALK, TURNS, st.none() | TALK.map(Writes))
def test_nothing_is_said_that_was_not_said(text: str, history: list[Turn], model: Writes | None) -> None:
    found = standalone(text, history, KNOWN, Rarity(), model)
    if found is None:
        return
    assert history
    assert 0 < len(found) <= MAX_CHARS
    assert "\n" not in found
    heard = " ".join([text, *(part for turn in history for part in (turn.question, turn.answer))])
    assert set(named_episodes(found, KNOWN)) <= set(named_episodes(heard, KNOWN))
    if model is None:
        clean = _words(
            "".join(c for c in heard if unicodedata.category(c) not in ("Cf", "Co", "Cs", "Cc") or c.isspace())
        )
        ids = _words(" ".join(named_episodes(heard, KNOWN)))
        assert _words(found) <= clean | ids | {"about", "and"}


CONVERSATIONS = Path(__file__).resolve().parents[2] / "evals" / "conversations.jsonl"


def test_most_conversations_of_the_evaluation_are_read_as_they_are_meant() -> None:
    rows = load_questions(CONVERSATIONS)
    known = [f"E{n:03d}" for n in range(1, 186)]
    found = {True: 0, False: 0}
    for row in rows:
        found[row.type == "leans"] += standalone(row.text, row.history, known, Rarity()) is not None
    assert found[False] == 0
    assert found[True] >= 27, "of 34; what is missed is asked as it was typed"


def test_every_conversation_of_the_evaluation_quotes_its_document() -> None:
    corpus = CONVERSATIONS.parents[1] / "corpus"
    rows = load_questions(CONVERSATIONS)
    assert {row.split for row in rows} == {"dev", "test"}
    for row in rows:
        for document, quote in row.quotes:
            assert quote in (corpus / f"{document}.md").read_text(encoding="utf-8"), row.id
        assert (row.split == "dev") == (int(row.episodes[0][1:]) % 2 == 1), row.id
