"""What the service refuses, in Django REST framework's words."""

import json
from io import BytesIO

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient

Client = TestClient[web.Request, web.Application]

GOOD: dict[str, object] = {"email": "a@example.org", "name": "Ada"}
EMAIL = "Enter a valid email address."
LONG = "Ensure this field has no more than {} characters."
STRING = "Not a valid string."
NUMBER = "A valid number is required."
TITLE_LIMIT = 200


@pytest.mark.parametrize(
    ("change", "field", "message"),
    [
        ({"email": "ada"}, "email", EMAIL),
        ({"email": "a@b"}, "email", EMAIL),
        ({"email": "a b@example.org"}, "email", EMAIL),
        ({"email": "a@" + "b" * 64 + ".org"}, "email", EMAIL),
        ({"email": "a@" + "b." * 125 + "org"}, "email", LONG.format(254)),
        ({"email": "é@example.org"}, "email", EMAIL),
        ({"email": ""}, "email", "This field may not be blank."),
        ({"email": None}, "email", "This field may not be null."),
        ({"email": "x" * 243 + "@example.org"}, "email", LONG.format(254)),
        ({"name": "x" * 151}, "name", LONG.format(150)),
        ({"name": "  "}, "name", "This field may not be blank."),
        ({"name": ["Ada"]}, "name", STRING),
        ({"name": True}, "name", STRING),
        ({"name": "A\0"}, "name", "Null characters are not allowed."),
        ({"name": "\ud800"}, "name", "Surrogate characters are not allowed."),
        ({"role": "root"}, "role", '"root" is not a valid choice.'),
        ({"role": 1}, "role", '"1" is not a valid choice.'),
        ({"password": ""}, "password", "This field may not be blank."),
        ({"password": "x" * 129}, "password", LONG.format(128)),
    ],
)
async def test_a_bad_user_is_refused(
    lms: Client,
    change: dict[str, object],
    field: str,
    message: str,
) -> None:
    """One bad member is answered with 400 and one sentence under its name."""
    answer = await lms.post("/api/users", json={**GOOD, **change})
    assert answer.status == 400
    assert await answer.json() == {field: [message]}


@pytest.mark.parametrize(
    "change",
    [
        {"email": "x" * 242 + "@example.org"},
        {"email": "o'neil+tag@sub.example.org"},
        {"name": "x" * 150},
        {"name": "Zoë 李"},
        {"unknown": "ignored"},
    ],
)
async def test_what_just_fits_is_accepted(
    lms: Client,
    change: dict[str, object],
) -> None:
    """Limits are inclusive, names are Unicode, unknown members do not matter."""
    answer = await lms.post("/api/users", json={**GOOD, **change})
    assert answer.status == 201


async def test_every_complaint_comes_at_once(lms: Client) -> None:
    """Missing members are all named in one answer."""
    required = ["This field is required."]
    answer = await lms.post("/api/auth/register", json={})
    expected = {"email": required, "name": required, "password": required}
    assert await answer.json() == expected


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"\xff", b'{"name": NaN}', b"[" * 100_000],
)
async def test_what_is_not_json_is_refused(lms: Client, body: bytes) -> None:
    """A body that is no JSON text gets the parser's 400."""
    answer = await lms.post("/api/users", data=body)
    assert answer.status == 400
    assert await answer.json() == {"detail": "JSON parse error"}


async def test_json_that_is_no_object_is_refused(lms: Client) -> None:
    """A list where an object belongs is named as such."""
    answer = await lms.post("/api/users", json=[1])
    message = "Invalid data. Expected a dictionary, but got list."
    assert await answer.json() == {"non_field_errors": [message]}


@pytest.mark.parametrize(
    ("path", "body", "field", "message"),
    [
        ("pathways", {"title": "x" * 201}, "title", LONG.format(TITLE_LIMIT)),
        (
            "pathways",
            {"title": "x", "steps": "x"},
            "steps",
            "Expected a list of items.",
        ),
        ("pathways", {"title": "x", "steps": [[]]}, "steps", STRING),
        ("generate-assessment", {}, "topic", "This field is required."),
        (
            "generate-assessment",
            {"topic": "x", "questions": 0},
            "questions",
            "Ensure this value is greater than or equal to 1.",
        ),
        (
            "generate-assessment",
            {"topic": "x", "questions": 51},
            "questions",
            "Ensure this value is less than or equal to 50.",
        ),
        (
            "generate-assessment",
            {"topic": "x", "questions": 1.5},
            "questions",
            "A valid integer is required.",
        ),
        ("notes", {"text": "x", "title": "x" * 201}, "title", LONG.format(TITLE_LIMIT)),
        (
            "notes",
            {"text": "x", "embedding": {}},
            "embedding",
            "Expected a list of items.",
        ),
        ("notes", {"text": "x", "embedding": ["1"]}, "embedding", NUMBER),
        ("notes", {"text": "x", "embedding": [10**400]}, "embedding", NUMBER),
        (
            "notes",
            {"text": "x", "embedding": [0] * 4097},
            "embedding",
            "Ensure this field has no more than 4096 elements.",
        ),
        ("assessments/1/complete", {"score": "1"}, "score", NUMBER),
        (
            "assessments/1/complete",
            {"score": 101},
            "score",
            "Ensure this value is less than or equal to 100.",
        ),
    ],
)
async def test_bad_content_is_refused(
    lms: Client,
    path: str,
    body: dict[str, object],
    field: str,
    message: str,
) -> None:
    """Each content endpoint names the member it refuses."""
    answer = await lms.post(f"/api/{path}", data=json.dumps(body))
    assert answer.status == 400
    assert await answer.json() == {field: [message]}


async def test_an_infinite_number_is_refused(lms: Client) -> None:
    """A JSON number too large for a double is no embedding."""
    answer = await lms.post("/api/notes", data='{"text": "x", "embedding": [1e999]}')
    assert await answer.json() == {"embedding": [NUMBER]}


async def test_unknown_paths_and_methods(lms: Client) -> None:
    """The service answers 404 and 405 in JSON, the latter with Allow (RFC 9110)."""
    missing = await lms.get("/api/nothing")
    assert (missing.status, await missing.json()) == (404, {"detail": "Not found."})
    wrong = await lms.delete("/api/users")
    assert wrong.status == 405
    assert await wrong.json() == {"detail": 'Method "DELETE" not allowed.'}
    assert wrong.headers["Allow"] == "GET,HEAD,POST"


async def test_a_huge_json_body_is_refused(lms: Client) -> None:
    """Only uploads may be larger than 16 MiB."""
    answer = await lms.post("/api/notes", data=BytesIO(bytes(16 * 1024 * 1024 + 1)))
    assert answer.status == 413
    assert await answer.json() == {"detail": "Request body too large."}
