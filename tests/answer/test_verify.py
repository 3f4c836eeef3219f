import re
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakes import HashedTokens
from rag.answer.verify import Verification, verify
from rag.corpus.markers import plain
from rag.records import Verdict

CORPUS = Path(__file__).resolve().parents[2] / "corpus"

# A true sentence of the corpus, one thing changed, and what that is.
MUTATED: list[tuple[str, str, str, Verdict | None]] = [
    # where it stands, what is written there, what the claim says instead, the verdict where only one will do
    ("E026", "97-99% of positions", "97-98% of positions", "number_changed"),
    ("E026", "only 1-3% of token", "only 1-5% of token", "number_changed"),
    ("E026", "7-12 times", "7-12%", None),
    ("E026", "for about $25,", "for about 25%,", "number_changed"),
    ("E026", "about $103,000", "about $103", "number_changed"),
    ("E026", "no online generation", "online generation", "negation_changed"),
    ("E026", "is never a stranger", "is a stranger", "negation_changed"),
    ("E026", "bring no gain", "bring gain", "negation_changed"),
    ("E026", "a 32B model", "a 23B model", "number_changed"),
    ("E009", "+3.8 points with Qwen2.5-Math-7B", "+38 points with Qwen2.5-Math-7B", "number_changed"),
    ("E009", "Qwen2.5-Math-7B", "Qwen2.5-Math-70B", "number_changed"),
    ("E009", "by +22.2 with Llama", "by -22.2 with Llama", "number_changed"),
    ("E009", "sat in DeepSpeed", "sat in OpenRLHF", "stitched"),
    ("E009", "just 50 RL steps", "just 50 SFT steps", "stitched"),
    ("E009", "less than a point", "more than a point", None),
    ("E044", "100% refusal to 98% compliance", "98% refusal to 100% compliance", "number_changed"),
    ("E044", "Claude Sonnet 4.6", "Claude Opus 4.6", "unsupported"),
    ("E044", "fail harder", "do not fail harder", "negation_changed"),
    ("E076", "eight of ten", "nine of ten", "number_changed"),
    ("E130", "beats that manager by ten points and costs", "that manager beats by ten points and costs", "unsupported"),
    ("E130", "slower", "faster", "unsupported"),
    ("E099", "8B model that results outperforms one of 235B", "235B model that results outperforms one of 8B", None),
    ("E099", "1.5% to 21%", "15% to 21%", "number_changed"),
    ("E099", "feedback does not work", "feedback does work", "negation_changed"),
    ("E059", "240 MCP servers and 993 tools", "993 MCP servers and 240 tools", "number_changed"),
    ("E059", "A 4B model", "A 4M model", "number_changed"),
    ("E031", "92% on noticing and 30% on acting", "30% on noticing and 92% on acting", "number_changed"),
    ("E031", "perform worse than the raw", "perform better than the raw", "unsupported"),
]


def read(episode: str) -> list[str]:
    text = next((CORPUS / "episodes").glob(f"{episode}*.md")).read_text(encoding="utf-8").split("---", 2)[2]
    return [s for line in text.splitlines() for s in re.split(r"(?<=\.)\s+(?=[A-Z])", line) if len(s.split()) > 3]


def original(episode: str, span: str) -> str:
    found = [s for s in read(episode) if span in s]
    assert found, f"{episode} no longer says {span!r}"
    return found[0]


@pytest.mark.parametrize(("episode", "span", "put", "verdict"), MUTATED)
def test_one_thing_changed_in_a_true_sentence_is_never_supported(
    episode: str, span: str, put: str, verdict: Verdict | None
) -> None:
    true = original(episode, span)
    assert verify(true, read(episode)).verdict == "supported"
    found = verify(true.replace(span, put), read(episode))
    assert found.verdict != "supported"
    assert found.support < 0.9
    if verdict:
        assert found.verdict == verdict


@pytest.mark.parametrize(("episode", "span"), [(m[0], m[1]) for m in MUTATED])
def test_another_episodes_id_is_misattributed(episode: str, span: str) -> None:
    true, quotes = original(episode, span), read(episode)
    episodes = [[episode]] * len(quotes)
    assert verify(true, quotes, cited=[episode], attributed=episodes).verdict == "supported"
    assert verify(true, quotes, cited=["E777"], attributed=episodes).verdict == "misattributed"
    assert verify(true, quotes, cited=[episode, "E777"], attributed=episodes).verdict == "misattributed"
    assert verify(f"{true} [E777]", quotes, attributed=episodes).verdict == "misattributed"


def test_the_halves_of_two_sentences_are_stitched() -> None:
    wrong, made = [], 0
    for one, two in pairwise(MUTATED):
        a, b = plain(original(*one[:2])).split(), plain(original(*two[:2])).split()
        if a != b:
            claim = " ".join(a[: len(a) // 2] + b[len(b) // 2 :])
            found = verify(claim, [original(*one[:2]), original(*two[:2])]).verdict
            made += 1
            wrong += [(found, claim)] if found not in ("stitched", "number_changed", "negation_changed") else []
            assert found != "supported", claim
    assert made > 20
    assert len(wrong) <= 2, wrong


@pytest.mark.parametrize(
    ("claim", "quote"),
    [
        ("It costs $25 on 50 problems.", "It costs about $25 on 50 problems."),
        ("It costs 25 dollars.", "It costs $25."),
        ("It costs roughly $103,000.", "It costs $103000 E026."),
        ("Agreement is 97-99%.", "Agreement is 97–99 percent."),
        ("It gains −5 points.", "It gains -5 points."),
        ("Seven of ten fail.", "7 of 10 fail."),
        ("SFT is beaten by RL on MATH.", "RL beats SFT on MATH."),
        ("The student is trained by the teacher.", "The teacher trains the student, cheaply."),
        ("RL beats SFT on MATH.", "On MATH, RL beats SFT."),
        ("RL beats SFT.", "The authors show that RL beats SFT."),
        ("RL beats SFT.", "On MATH, RL beats SFT by a wide margin."),
        ("RL beats SFT.", "RL, which costs more, beats SFT."),
        ("Models can't tell.", "But models cannot tell."),
        ("The model improved.", "The model improves."),
        ("RL wins. Costs fall.", "RL wins. Later, costs fall."),
        ("It says “costs fall”.", "It says: costs fall."),
    ],
)
def test_mild_paraphrases_are_supported(claim: str, quote: str) -> None:
    found = verify(claim, ["Cats sleep.", quote])
    assert (found.verdict, found.best) == ("supported", 1)
    assert found.support >= 0.9


@pytest.mark.parametrize(
    ("claim", "quote"),
    [
        ("RL beats SFT.", "It is not true that RL beats SFT."),
        ("RL beats SFT.", "RL beats SFT only on MATH."),
        ("RL beats SFT.", "RL beats SFT in 5% of cases."),
        ("RL beats SFT.", "If tuned, RL beats SFT."),
        ("RL beats SFT.", "Critics claim that RL beats SFT."),
        ("RL beats SFT.", "RL rarely beats SFT."),
        ("RL beats SFT.", "RL beats SFT variants."),
        ("RL beats SFT.", "RL beats SFT?"),
        ("RL beats SFT.", "RL or DPO beats SFT."),
        ("RL beats SFT.", "RL beats DPO and trails SFT."),
        ("RL beats SFT.", "SFT is what RL beats least."),
        ("RL beats SFT.", "SFT beats RL."),
        ("RL beats SFT.", "RL is beaten by SFT."),
        ("the models fail.", "Half of the models fail."),
        ("They understand.", "They route before they understand."),
        ("Models fail.", "Small models fail."),
        ("SFT scores 50.", "SFT scores 30 and RL scores 50."),
        ("SFT scores 50.", "SFT scores 30, and RL scores 50."),
        ("On MATH, RL wins.", "On MATH, SFT wins, and on code, RL wins."),
        ("On MATH, RL wins.", "On MATH, SFT wins; on code, RL wins."),
        ("A few models learn.", "Few models learn."),
        ("It costs $25.", "It costs $25 million."),
        ("It costs $25.", "It costs $25 per problem."),
        ("It drops 5.", "It drops 5 – 6%."),
        ("It is 10.", "It is 10²."),
        ("It is 5%.", "It is >5%."),
        ("It rose 50%.", "It rose by half."),
        ("It weighs 5 GB.", "It weighs 5 Gb."),
        ("Forgetting is not only the way.", "Forgetting is not the only way."),
        ("It trains nothing.", "It trains nothing but a hub."),
        ("It undermines plans.", "It undermines plans in which it is meant to help."),
        ("It pays more than rewards.", "It pays more than rewards for being right."),
        ("Knowing is not.", "Knowing is not yet doing."),
        ("Z loses.", "Models trained on X, Y, and Z lose."),
        ("AIDS helps.", "Aids helps."),
        ("The universe trains.", "The university trains."),
        ('It "never wins".', "It wins."),
        ("", "It wins."),
        ("[E026]", "It wins E026."),
        ("RL wins. Costs rise.", "RL wins. Costs fall."),
    ],
)
def test_what_the_quote_does_not_say_is_not_supported(claim: str, quote: str) -> None:
    assert verify(claim, [quote]).verdict != "supported"


def test_two_sentences_need_one_quote() -> None:
    assert verify("RL wins. Costs fall.", ["RL wins.", "Costs fall."]).verdict == "stitched"


def test_a_quotation_that_nobody_wrote_is_not_found() -> None:
    assert verify("Agents “dream of sheep”.", ["Agents sleep.", "Sheep graze."]).verdict == "not_found"
    assert verify("Agents “dream of sheep”.", []).verdict == "not_found"


def test_no_quotes_support_nothing() -> None:
    assert verify("RL wins.", []) == Verification("unsupported", 0.0, None)


PLACES = [(m[0], m[1]) for m in MUTATED if any(c.isdigit() for c in m[1])]


@given(st.sampled_from(PLACES), st.data())
def test_no_changed_digit_is_forgiven(place: tuple[str, str], data: st.DataObject) -> None:
    true = original(*place)
    at = data.draw(st.sampled_from([i for i, c in enumerate(true) if c.isdigit()]))
    put = data.draw(st.sampled_from("0123456789").filter(lambda d: d != true[at]))
    assert verify(true[:at] + put + true[at + 1 :], read(place[0])).verdict != "supported"


@given(st.sampled_from(MUTATED), st.booleans(), st.data())
def test_white_space_and_markers_change_nothing(
    case: tuple[str, str, str, Verdict | None], changed: bool, data: st.DataObject
) -> None:
    episode, span, put, _ = case
    claim = original(episode, span)
    claim = claim.replace(span, put) if changed else claim
    spaces = st.sampled_from([" ", "  ", "\n", "\t", "\u00a0"])
    spaced = "".join(data.draw(spaces) if c == " " else c for c in claim)
    marker = data.draw(st.sampled_from(["", " E026.", " [E009, E044]."]))
    marked = spaced.removesuffix(".") + marker if marker else spaced
    quotes = [f"{q.removesuffix('.')} [E001]." for q in read(episode)]
    assert verify(marked, quotes) == verify(claim, read(episode))


@given(st.text(), st.lists(st.text(), max_size=3))
def test_any_text_gets_a_verdict(claim: str, quotes: list[str]) -> None:
    found = verify(claim, quotes)
    assert 0 <= found.support <= 1
    assert (found.support >= 0.9) == (found.verdict == "supported")


@pytest.mark.parametrize("encoder", [None, HashedTokens()])
def test_what_comes_near_is_told_from_what_does_not(encoder: HashedTokens | None) -> None:
    true = original("E009", "Qwen2.5-Math-7B")
    changed = true.replace("+3.8", "+3.9")
    near, far = (verify(changed, read(episode), encoder=encoder) for episode in ("E009", "E130"))
    assert near.verdict == "number_changed"
    assert near.best is not None
    assert "Qwen2.5-Math-7B" in read("E009")[near.best]
    assert far.support < near.support < 0.5


def test_an_entailment_model_says_how_near_and_never_that_it_is_supported() -> None:
    class Sure:
        name = "sure"

        def probability(self, premise: str, hypothesis: str) -> float:
            return 1.0 if premise.startswith("RL") else 0.0

    found = verify("RL outdoes SFT.", ["SFT is cheap.", "RL beats SFT."], entailment=Sure())
    assert (found.verdict, found.best) == ("unsupported", 1)
    assert 0.5 < found.support < 0.9


def test_a_long_text_is_no_trap() -> None:
    text = "x, " * 2000 + "y."
    assert verify(text, [text]).verdict == "supported"
    assert verify(text, ["x, " * 4000]).verdict != "supported"


def test_a_quote_that_ends_with_a_semicolon_is_a_sentence() -> None:
    assert verify("Agents committed crimes.", ["agents committed crimes E185;"]).verdict == "supported"


@pytest.mark.parametrize(
    ("claim", "quote"),
    [
        ("The algorithm was noted to blame.", "The algorithm was not to blame."),
        ("The ones lie there.", "The on lie there."),
    ],
)
def test_a_function_word_is_no_form_of_a_word_that_looks_like_it(claim: str, quote: str) -> None:
    assert verify(claim, [quote]).verdict != "supported"
