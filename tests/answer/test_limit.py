"""So many drafts at once, and no wait without end."""

import threading
from collections.abc import Callable, Generator, Sequence

import pytest

from fakes import Writes
from rag.answer.drafting import Tried
from rag.answer.limit import Limited
from rag.errors import BackendFailed
from rag.records import Message


class Held(Writes):
    """Writes a piece, and goes on once it may."""

    def __init__(self) -> None:
        super().__init__("one")
        self.may, self.writing, self.most = threading.Event(), 0, 0

    def stream(self, messages: Sequence[Message], limit: int, stop: Callable[[], bool]) -> Generator[str, None, None]:
        self.writing += 1
        self.most = max(self.most, self.writing)
        yield "one"
        self.may.wait(5)
        self.writing -= 1


def never() -> bool:
    return False


def test_no_more_drafts_are_written_at_once_than_there_are_slots() -> None:
    held = Held()
    limited = Limited(held, 2)
    threads = [threading.Thread(target=lambda: list(limited.stream((), 9, never))) for _ in range(6)]
    for thread in threads:
        thread.start()
    held.may.set()
    for thread in threads:
        thread.join(10)
    assert held.most <= 2


def test_whoever_gets_no_turn_in_time_is_told_so_and_a_slot_is_free_again_after_a_draft() -> None:
    held = Held()
    limited = Limited(held, 1, wait=0.15)
    first = limited.stream((), 9, never)
    assert next(first) == "one"
    with pytest.raises(BackendFailed, match="busy"):
        next(limited.stream((), 9, never))
    first.close()
    assert next(limited.stream((), 9, never)) == "one"


def test_whoever_leaves_waits_no_longer() -> None:
    limited = Limited(Held(), 1)
    next(first := limited.stream((), 9, never))
    assert list(limited.stream((), 9, lambda: True)) == []
    first.close()


def test_a_generator_that_failed_is_not_tried_again_for_the_same_question() -> None:
    inner = Writes(BackendFailed("gone"))
    tried = Tried(inner)
    for _ in range(2):
        with pytest.raises(BackendFailed, match="gone"):
            list(tried.stream((), 9, never))
    assert len(inner.told) == 1
