"""The page that describes the API, from its OpenAPI description; nothing of it is loaded from elsewhere."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Request, Response

from rag.serve.state import Current
from rag.serve.web.site import Site

_EXAMPLES = {
    "/v1/ask": {"question": "How much did it cost to match full RL on a 32B model?"},
    "/v1/search": {"query": "reward hacking", "k": 3},
    "/v1/chat/completions": {"model": "extractive", "messages": [{"role": "user", "content": "What is GRPO?"}]},
}


@dataclass(frozen=True, slots=True)
class Operation:
    """What may be asked of the API; `body` and `answer` name schemas."""

    method: str
    path: str
    summary: str
    body: str | None
    answer: str | None
    streams: bool
    example: str | None


@dataclass(frozen=True, slots=True)
class FieldOf:
    """A field of a schema."""

    name: str
    type: str
    required: bool


@dataclass(frozen=True, slots=True)
class Schema:
    """The shape of an object."""

    name: str
    text: str
    fields: tuple[FieldOf, ...]


def router(site: Site, openapi: Callable[[], dict[str, Any]]) -> APIRouter:
    """`/docs`."""
    out = APIRouter(include_in_schema=False)

    @out.api_route("/docs", methods=["GET", "HEAD"])
    async def reference(request: Request) -> Response:
        """The API, to read."""
        base = str(request.base_url).rstrip("/")
        return await site.page(lambda current: _reference(site, current, openapi(), base))

    return out


def _reference(site: Site, current: Current, description: dict[str, Any], base: str) -> Response:
    return site.show(
        current,
        "reference.html",
        base=base,
        operations=tuple(_operations(description)),
        schemas=tuple(_schemas(description)),
    )


def _operations(description: dict[str, Any]) -> Iterator[Operation]:
    for path, methods in description["paths"].items():
        for method, of in methods.items():
            body = of.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})
            answer = of["responses"].get("200", {}).get("content", {}).get("application/json", {}).get("schema", {})
            example = _EXAMPLES.get(path)
            yield Operation(
                method.upper(),
                path,
                of.get("description") or of.get("summary", ""),
                _named(body),
                _named(answer),
                "text/event-stream" in of["responses"].get("200", {}).get("content", {}),
                json.dumps(example, ensure_ascii=False) if example else None,
            )


def _schemas(description: dict[str, Any]) -> Iterator[Schema]:
    for name, schema in sorted(description.get("components", {}).get("schemas", {}).items()):
        required = set(schema.get("required", ()))
        fields = (FieldOf(n, _type(of), n in required) for n, of in schema.get("properties", {}).items())
        yield Schema(name, schema.get("description", ""), tuple(fields))


def _named(schema: dict[str, Any]) -> str | None:
    return schema["$ref"].rsplit("/", 1)[-1] if "$ref" in schema else None


def _type(schema: dict[str, Any]) -> str:
    """A schema in a few words.

    >>> _type({"anyOf": [{"type": "array", "items": {"$ref": "#/components/schemas/HitOut"}}, {"type": "null"}]})
    'array of HitOut or null'
    >>> _type({"type": "integer", "minimum": 1, "maximum": 100})
    'integer, 1 to 100'
    """
    if named := _named(schema):
        return named
    if several := schema.get("anyOf") or schema.get("oneOf"):
        return " or ".join(dict.fromkeys(map(_type, several)))
    if "enum" in schema or "const" in schema:
        return " or ".join(json.dumps(value) for value in schema.get("enum", [schema.get("const")]))
    if schema.get("type") == "array":
        return f"array of {_type(schema['items'])}" if "items" in schema else "array"
    least, most = schema.get("minimum", schema.get("minLength")), schema.get("maximum", schema.get("maxLength"))
    bounds = f", {least:g} to {most:g}" if least is not None and most is not None else ""
    bounds = bounds or (f", at most {most:g}" if most is not None else "")
    return f"{schema.get('format') or schema.get('type', 'any')}{bounds}"
