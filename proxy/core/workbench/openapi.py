"""An OpenAPI document (2.0, 3.0, 3.1) to the operations that a policy is drafted for.

Only what a draft needs is read, and nothing is believed to be there: paths, methods,
who needs a token, and which members of JSON bodies have personal names.
"""

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from proxy.core.learning import step
from proxy.core.looks import personal_kind
from proxy.core.policy_guards import SCOPE
from proxy.core.workbench.sketch import Operation

_METHODS = ("get", "head", "post", "put", "patch", "delete", "options")
_DEPTH = 8
ROLE = "user"
"""Whom a draft allows where a token is needed: OpenAPI knows no roles."""

_LOOKS = {
    "email": "email",
    "date": "date",
    "boolean": "boolean",
}
"""What a format, or else a type, says that values look like."""


def operations_of(document: object) -> tuple[list[Operation], str | None]:
    """Return the operations of a document, and the address of its first server.

    Raises:
        ValueError: it is no OpenAPI document; with a sentence for people.
    """
    if not isinstance(document, dict) or not isinstance(document.get("paths"), dict):
        told = "it has no paths, so it is no OpenAPI document"
        raise ValueError(told)  # noqa: TRY004 - of a document
    reader = _Reader(document)
    base, backend = reader.server()
    operations = [
        reader.operation(method, base + str(path), operation, item)
        for path, item in document["paths"].items()
        for method, operation in reader.methods(item)
    ]
    return operations, backend


class _Reader:
    def __init__(self, document: Mapping[str, Any]) -> None:
        self._document = document

    def server(self) -> tuple[str, str | None]:
        """Return the path that all paths begin with, and the address."""
        base = _text(self._document.get("basePath"))
        servers = self._document.get("servers")
        first = servers[0] if isinstance(servers, list) and servers else None
        url = _text(first.get("url")) if isinstance(first, dict) else ""
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
        except ValueError:
            return base.rstrip("/"), None
        if "{" in url:
            return base.rstrip("/"), None
        address = None
        if parts.scheme == "http" and host and ":" not in host:
            address = f"http://{host}:{port or 80}"
        return (base or parts.path).rstrip("/"), address

    def methods(self, item: object) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Yield the operations of a path."""
        item = self._resolved(item)
        for method in _METHODS:
            operation = item.get(method)
            if isinstance(operation, dict):
                yield method, operation

    def operation(
        self, method: str, path: str, operation: Mapping[str, Any], item: object
    ) -> Operation:
        """Read one operation."""
        needs, scopes = self._security(operation)
        return Operation(
            method=method.upper(),
            path=path if path.startswith("/") else f"/{path}",
            name=_text(operation.get("operationId")),
            roles=(ROLE,) if needs else (),
            scopes=scopes,
            request=self._personal(self._request(operation, self._resolved(item))),
            response=self._personal(self._response(operation)),
        )

    def _security(self, operation: Mapping[str, Any]) -> tuple[bool, tuple[str, ...]]:
        """Return whether a token is needed, and the scopes of the first way in."""
        ways = operation.get("security", self._document.get("security"))
        if not isinstance(ways, list) or not ways or {} in ways:
            return False, ()
        first = ways[0] if isinstance(ways[0], dict) else {}
        scopes = [
            scope
            for asked in first.values()
            if isinstance(asked, list)
            for scope in asked
            if isinstance(scope, str)
        ]
        return True, tuple(dict.fromkeys(filter(_is_scope, scopes)))

    def _request(self, operation: Mapping[str, Any], item: Mapping[str, Any]) -> object:
        body = self._resolved(operation.get("requestBody"))
        if body:
            return self._json(body)
        for source in (operation, item):  # OpenAPI 2
            parameters = source.get("parameters")
            for one in parameters if isinstance(parameters, list) else ():
                parameter = self._resolved(one)
                if parameter.get("in") == "body":
                    return parameter.get("schema")
        return None

    def _response(self, operation: Mapping[str, Any]) -> object:
        responses = self._resolved(operation.get("responses"))
        for status, response in responses.items():
            if str(status).startswith("2"):
                found = self._resolved(response)
                schema = self._json(found) or found.get("schema")
                if schema:
                    return schema
        return None

    def _json(self, body: Mapping[str, Any]) -> object:
        content = body.get("content")
        for kind, media in content.items() if isinstance(content, dict) else ():
            if "json" in str(kind).lower():
                return self._resolved(media).get("schema")
        return None

    def _personal(self, schema: object) -> dict[str, str]:
        return dict(self._walk(schema, "$", "", 0))

    def _walk(
        self, schema: object, place: str, name: str, depth: int
    ) -> Iterator[tuple[str, str]]:
        """Yield JSONPath and kind of every member with a personal name."""
        if depth > _DEPTH or not isinstance(schema, dict):
            return
        found = self._resolved(schema)
        for key in ("allOf", "oneOf", "anyOf"):
            parts = found.get(key)
            for part in parts if isinstance(parts, list) else ():
                yield from self._walk(part, place, name, depth + 1)
        properties = found.get("properties")
        if isinstance(properties, dict):
            for inner, value in properties.items():
                at = place + step(str(inner))
                yield from self._walk(value, at, str(inner), depth + 1)
        elif "items" in found:
            yield from self._walk(found["items"], f"{place}[*]", name, depth + 1)
        elif name and not any(key in found for key in ("allOf", "oneOf", "anyOf")):
            words = (_text(found.get("format")), _text(found.get("type")))
            looks = frozenset(_LOOKS[word] for word in words if word in _LOOKS)
            kind = personal_kind(name, looks)
            if kind is not None and "object" not in words:
                yield place, kind

    def _resolved(self, value: object) -> Mapping[str, Any]:
        """Return a mapping, its reference followed; {} for what is none."""
        for _ in range(_DEPTH):
            if not isinstance(value, dict):
                return {}
            reference = value.get("$ref")
            if not isinstance(reference, str):
                return value
            if not reference.startswith("#/"):
                return {}  # elsewhere
            target: object = self._document
            for part in reference[2:].split("/"):
                name = part.replace("~1", "/").replace("~0", "~")
                target = target.get(name) if isinstance(target, dict) else None
            value = target
        return {}


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _is_scope(word: str) -> bool:
    return SCOPE.fullmatch(word) is not None
