"""What is examined."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rag.errors import UserError

if TYPE_CHECKING:
    from rag.assemble import Service
    from rag.errors import SettingsError
    from rag.index.store import IndexFolder, Manifest
    from rag.records import Document
    from rag.settings import Settings


class Installation:
    """An installation, by what its commands are given; each part is read once, when a check first asks for it.

    What cannot be read raises, whoever asks. `config` and `flags` are those of `read_settings`; `port` is the one that
    is to be served on, and `ask_model` allows to ask the language model that is configured, which may cost something.
    """

    def __init__(
        self,
        config: Path | None = None,
        environment: Mapping[str, str] = {},
        flags: Mapping[str, Any] = {},
        port: int = 8000,
        ask_model: bool = False,
    ) -> None:
        self.config, self.environment, self.port, self.ask_model = config, environment, port, ask_model
        self._flags = flags

    @cached_property
    def read(self) -> tuple[Settings, list[SettingsError]]:
        """The settings as far as they are sound, and what is wrong with the others."""
        from rag.settings import read_sound

        return read_sound(self.config, self.environment, self._flags)

    @property
    def settings(self) -> Settings:
        """As far as they are sound."""
        return self.read[0]

    @cached_property
    def corpus(self) -> tuple[dict[str, bytes], int, list[UserError]]:
        """A digest of every document by its ID, how many are about an episode, and what could not be read."""
        from rag.corpus.load import load

        digests, about, wrong = dict[str, bytes](), 0, list[UserError]()
        chosen = self.settings
        try:
            for document in load(chosen.corpus, id_pattern=chosen.id_pattern, on_bad=wrong.append, apart=chosen.index):
                digests[document.id] = digest(document)
                about += document.episode is not None
        except UserError as error:
            wrong.append(error)
        return digests, about, wrong

    @property
    def folder(self) -> IndexFolder:
        """Where the index is, or is to be."""
        from rag.index.store import IndexFolder

        return IndexFolder(self.settings.index)

    @cached_property
    def index(self) -> tuple[Path, Manifest]:
        """The generation that serves, its files unread, and the folder that has them. Raises IndexUnusable."""
        if self.settings.engine == "milvus":
            from rag.assemble import in_milvus

            return self.settings.index, in_milvus(self.settings)
        return self.folder.current()

    @property
    def serves(self) -> bool:
        """Whether there is an index at all."""
        from rag.assemble import index_token

        return index_token(self.settings) is not None

    @cached_property
    def service(self) -> Service:
        """The index, opened. Raises IndexUnusable."""
        from rag.assemble import open_service

        return open_service(self.settings)


def digest(document: Document) -> bytes:
    """The same for the same document, from a file or from an index."""
    return sha256(repr(document).encode("utf-8", "surrogatepass")).digest()


def size_of(folder: Path) -> int:
    """Bytes of all files below a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
