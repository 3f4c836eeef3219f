"""YAML front matter: text -> its values, the line each stands on, and the body."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from rag.errors import CorpusError

MAX_CHARS = 64 * 1024
AS_WRITTEN = frozenset({"id", "kind", "title", "episode", "date", "url"})


@dataclass(frozen=True, slots=True)
class Front:
    """`values` by key, `lines` by key (1-based, in the file), and the `body` after the closing line.

    The keys in AS_WRITTEN keep their text: YAML would read `title: No` as false and `id: 026` as 22.
    """

    body: str
    values: Mapping[str, object] = field(default_factory=dict)
    lines: Mapping[str, int] = field(default_factory=dict)


def split_front(text: str, path: str) -> Front:
    r"""Front matter and body; CorpusError for YAML that is broken, too long, or uses aliases.

    >>> front = split_front("---\ntitle: No\ndate: 2026-05-01\n---\nBody.\n", "a.md")
    >>> front.values["title"], front.values["date"], front.lines["date"], front.body
    ('No', '2026-05-01', 3, 'Body.\n')
    """
    from frontmatter.default_handlers import YAMLHandler

    handler = YAMLHandler()
    opened = text.lstrip()
    if not handler.detect(opened):
        return Front(text)
    above = text[: len(text) - len(opened)].count("\n")
    try:
        written, body = handler.split(opened)
    except ValueError:
        mend = "close it with a line of ---, or begin with text where none is meant"
        raise CorpusError(path, above + 1, "front matter is opened with --- and never closed", mend) from None
    if len(written) > MAX_CHARS:
        raise CorpusError(path, above + 1, f"front matter of more than {MAX_CHARS} characters", "move it to the text")
    # the first boundary may take blank lines with it
    first = above + opened[: opened.index(written) if written else 0].count("\n") + 1
    values, lines = _values(written, first, path)
    return Front(body.removeprefix("\n"), values, lines)


def _values(written: str, first: int, path: str) -> tuple[dict[str, object], dict[str, int]]:
    import yaml

    class Loader(yaml.SafeLoader):
        """Safe, without aliases (they can multiply without end), and with a line for every mistake."""

        def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
            if self.check_event(yaml.AliasEvent):
                mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
                raise yaml.MarkedYAMLError(problem="an alias", problem_mark=mark)
            return super().compose_node(parent, index)

        def construct_object(self, node: yaml.Node, deep: bool = False) -> object:
            try:
                return super().construct_object(node, deep)
            except (ValueError, OverflowError) as error:
                raise yaml.MarkedYAMLError(problem=str(error), problem_mark=node.start_mark) from error

    values: dict[str, object] = {}
    lines: dict[str, int] = {}
    try:
        loader = Loader(written)
        node = loader.get_single_node()
        if node is None:
            return values, lines
        if not isinstance(node, yaml.MappingNode):
            raise yaml.MarkedYAMLError(problem="no key: value pairs", problem_mark=node.start_mark)
        for key_node, value_node in node.value:
            key = str(key_node.value)
            if key in values:
                raise yaml.MarkedYAMLError(problem=f"{key} a second time", problem_mark=key_node.start_mark)
            lines[key] = first + key_node.start_mark.line
            plain = isinstance(value_node, yaml.ScalarNode) and not value_node.tag.endswith(":null")
            as_written = plain and key in AS_WRITTEN
            values[key] = value_node.value if as_written else loader.construct_object(value_node, deep=True)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = first + (mark.line if mark else 0)
        found = getattr(error, "problem", None) or "a character that YAML forbids"
        raise CorpusError(path, line, f"front matter: {found}", "mend the YAML (quote values with : or #)") from error
    except RecursionError as error:
        raise CorpusError(path, first, "front matter is nested too deeply", "flatten it") from error
    return values, lines
