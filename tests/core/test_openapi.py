"""OpenAPI documents, of every version and in every state."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.workbench.openapi import operations_of
from proxy.core.workbench.sketch import draft

THREE = {
    "openapi": "3.1.0",
    "servers": [{"url": "http://lms.example:9000/api/"}],
    "security": [{"bearer": []}],
    "paths": {
        "/login": {"post": {"operationId": "logIn", "security": [], "responses": {}}},
        "/users/{user-id}": {
            "parameters": [{"name": "user-id", "in": "path"}],
            "get": {
                "security": [{"oauth": ["users.read", "bad scope"]}],
                "responses": {
                    "404": {"description": "no"},
                    "200": {
                        "content": {
                            "text/html": {},
                            "application/json": {
                                "schema": {"$ref": "#/components/schemas/User"}
                            },
                        }
                    },
                },
            },
            "put": {
                "requestBody": {"$ref": "#/components/requestBodies/User~1body"},
                "responses": {"204": {"description": "done"}},
            },
        },
        "/users": {
            "get": {
                "security": [{"bearer": []}, {}],
                "responses": {
                    "2XX": {
                        "content": {
                            "application/problem+json": {
                                "schema": {
                                    "type": "array",
                                    "items": {"$ref": "#/components/schemas/User"},
                                }
                            }
                        }
                    }
                },
            }
        },
    },
    "components": {
        "requestBodies": {
            "User/body": {
                "content": {
                    "application/json": {
                        "schema": {"$ref": "#/components/schemas/User"}
                    }
                }
            }
        },
        "schemas": {
            "User": {
                "allOf": [
                    {"$ref": "#/components/schemas/Named"},
                    {
                        "properties": {
                            "id": {"type": "integer"},
                            "contact": {"type": "string", "format": "email"},
                            "email_verified": {"type": "boolean"},
                            "manager": {"$ref": "#/components/schemas/User"},
                            "phones": {"type": "array", "items": {"type": "string"}},
                        }
                    },
                ]
            },
            "Named": {"properties": {"firstName": {"type": "string"}}},
        },
    },
}
TWO = {
    "swagger": "2.0",
    "basePath": "/v1",
    "paths": {
        "/people": {
            "post": {
                "parameters": [
                    {"in": "query", "name": "x"},
                    {"in": "body", "schema": {"$ref": "#/definitions/Person"}},
                ],
                "responses": {200: {"schema": {"$ref": "#/definitions/Person"}}},
            }
        }
    },
    "definitions": {"Person": {"properties": {"e-mail": {"type": "string"}}}},
}


def test_document_of_version_three_is_read() -> None:
    """References, inheritance, lists, servers, and who needs a token."""
    operations, backend = operations_of(THREE)
    found = {f"{one.method} {one.path}": one for one in operations}

    assert backend == "http://lms.example:9000"
    assert list(found) == [
        "POST /api/login",
        "GET /api/users/{user-id}",
        "PUT /api/users/{user-id}",
        "GET /api/users",
    ]
    one = found["GET /api/users/{user-id}"]
    assert (one.roles, one.scopes) == (("user",), ("users.read",))
    assert one.response["$.firstName"] == "name"
    assert one.response["$.contact"] == "email"
    assert one.response["$.phones[*]"] == "phone"
    assert one.response["$.manager.firstName"] == "name"
    assert not any("verified" in place for place in one.response)
    assert found["PUT /api/users/{user-id}"].request["$.firstName"] == "name"
    assert found["GET /api/users"].response["$[*].firstName"] == "name"
    assert (found["POST /api/login"].roles, found["GET /api/users"].roles) == ((), ())


def test_document_of_version_two_is_read() -> None:
    """Where bodies are parameters, and nobody needs a token."""
    [operation], backend = operations_of(TWO)

    assert backend is None
    assert operation.path == "/v1/people"
    assert operation.request == operation.response == {"$['e-mail']": "email"}


@pytest.mark.parametrize(
    ("url", "base", "backend"),
    [
        ("/api", "/api", None),
        ("https://lms.example/api", "/api", None),
        ("http://lms.example", "", "http://lms.example:80"),
        ("http://{host}/api", "", None),
        ("http://lms.example:no/api", "", None),
        ("http://[::1]/api", "/api", None),
    ],
)
def test_server_says_where_paths_begin(
    url: str, base: str, backend: str | None
) -> None:
    """As far as it can be told."""
    paths: dict[str, Any] = {"x": {"get": {}}}
    operations, found = operations_of({"servers": [{"url": url}], "paths": paths})

    assert found == backend
    assert [one.path for one in operations] == [f"{base}/x" if not base else f"{base}x"]


@pytest.mark.parametrize("document", [None, [], {}, {"paths": []}, "openapi: 3"])
def test_what_is_none_is_told(document: object) -> None:
    """In a sentence."""
    with pytest.raises(ValueError, match="no OpenAPI document"):
        operations_of(document)


KEYS = st.sampled_from(
    [
        *("paths", "/a", "/a/{b}", "get", "post", "requestBody", "responses", "200"),
        *("content", "application/json", "schema", "$ref", "properties", "items"),
        *("allOf", "email", "security", "parameters", "in", "servers", "url"),
    ]
)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from(["#/paths", "#/a/b", "body", "email", "http://a", ""]),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(KEYS, inner, max_size=4)
    ),
    max_leaves=25,
)


@given(st.dictionaries(KEYS, VALUES, max_size=4))
def test_any_document_is_read_or_refused(document: dict[str, object]) -> None:
    """Nothing that a document holds ends otherwise, loops of references included."""
    document["paths"] = {"/a": document, "/b": {"get": document}}
    operations, _ = operations_of(document)

    assert isinstance(operations, list)
    if operations:
        assert "version: 1" in draft(operations, source="a test")


@pytest.mark.parametrize("reference", ["#/paths/~1a/get", "other.json#/a", "#/nowhere"])
def test_reference_that_leads_nowhere_is_nothing(reference: str) -> None:
    """Nor does one that leads to itself."""
    looped = {"$ref": reference}
    operation = {"requestBody": looped, "responses": looped, **looped}
    paths = {"/a": {"get": operation, "post": looped}, "/b": looped}
    operations, _ = operations_of({"paths": paths})

    assert [one.request for one in operations if one.path == "/a"] == [{}, {}]
