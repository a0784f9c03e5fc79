"""Tenants of one proxy, and values that are bound to people: nobody reads another's."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import jwt
import pytest

from tests.e2e.sidecar import FAR, Sidecar
from tests.e2e.wiretap import Wiretap, answer, saying

POLICY = """\
version: 1
tenant: $.school
backends: {lms: {servers: ["${BACKEND_URL}"]}}
issuers:
  people:
    issuer: people
    audience: lms
    algorithms: [HS256]
    secret: "${JWT_SECRET}"
    roles: $.role
roles: [student]
fields:
  note.text: {mode: random}
  note.diary: {mode: random, bind: claim(sub)}
  user.login: {mode: deterministic, shared: true}
views: {anyone: {"*": plain}, student: {"*": plain}}
rules:
  - id: note
    match: GET,POST /note
    allow: [student]
    protect:
      request: {$.text: note.text, $.diary: note.diary, $.login: user.login}
      response: {$.text: note.text, $.diary: note.diary, $.login: user.login}
  - id: login
    match: POST /login
    allow: anyone
    limits: [{rate: unlimited, per: client}]
    protect: {request: {$.login: user.login}}
  - {id: open, match: GET /open, allow: [student]}
"""
JSON = {"Content-Type": "application/json"}
NOTE = {"text": "to do", "diary": "dear", "login": "ada"}


class School:
    """A proxy with tenants, in front of a backend that remembers one note."""

    def __init__(self, sidecar: Sidecar, wiretap: Wiretap) -> None:
        self.sidecar = sidecar
        self.wiretap = wiretap

    def ask(
        self, method: str, path: str, body: object = None, **claims: object
    ) -> tuple[int, bytes]:
        """Ask as somebody."""
        usual = {"iss": "people", "aud": "lms", "exp": FAR, "role": "student"}
        token = jwt.encode({**usual, **claims}, self.sidecar.secret)
        fields = {**JSON, "Authorization": f"Bearer {token}"}
        data = None if body is None else json.dumps(body).encode()
        status, _, answered = self.sidecar.ask(method, path, data, fields)
        return status, answered

    def write(self, **claims: object) -> dict[str, str]:
        """Write a note; return what the backend stores."""
        status, _ = self.ask("POST", "/note", NOTE, **claims)
        assert status == 200
        stored: dict[str, str] = json.loads(self.wiretap.heard[-1].body)
        return stored

    def read(self, stored: dict[str, str], **claims: object) -> tuple[int, bytes]:
        """Read what is stored."""
        data = answer(json.dumps(stored).encode(), "Content-Type: application/json")
        self.wiretap.answers["/note"] = saying(data)
        answered = self.ask("GET", "/note", **claims)
        del self.wiretap.answers["/note"]
        return answered


@pytest.fixture(name="school")
def school_fixture(tmp_path: Path) -> Iterator[School]:
    """A proxy and its backend."""
    wiretap = Wiretap()
    url = f"http://127.0.0.1:{wiretap.port}"
    sidecar = Sidecar(tmp_path, POLICY, {"BACKEND_URL": url})
    try:
        sidecar.wait()
        yield School(sidecar, wiretap)
    finally:
        sidecar.stop()
        wiretap.stop()


def test_a_tenant_reads_its_own_values(school: School) -> None:
    """And each value for whom it is bound to; nobody else gets any of it."""
    stored = school.write(sub="ada", school="north")
    own = school.read(stored, sub="ada", school="north")
    text = {key: stored[key] for key in ("text", "login")}

    assert (own[0], json.loads(own[1])) == (200, NOTE)
    assert school.read(text, sub="bob", school="north")[0] == 200
    for claims in (
        {"sub": "bob", "school": "north"},
        {"sub": "ada", "school": "south"},
    ):
        status, body = school.read(stored, **claims)
        assert status == 502
        assert json.loads(body)["reason"] == "field-undecryptable"
        assert b"dear" not in body
    _, shown = school.sidecar.look("/metrics")
    assert re.search(r'operations_total\{.*"note.diary".*"wrong-context"\} 1.0', shown)


def test_a_shared_field_is_found_without_a_token(school: School) -> None:
    """A log-in knows no tenant, and asks for what every tenant stores."""
    stored = school.write(sub="ada", school="north")
    login = json.dumps({"login": "ada"}).encode()
    status, _, _ = school.sidecar.ask("POST", "/login", login, JSON)

    assert status == 200
    assert json.loads(school.wiretap.heard[-1].body) == {"login": stored["login"]}


@pytest.mark.parametrize("claims", [{}, {"school": 7}], ids=["missing", "number"])
def test_a_token_without_a_tenant_reaches_nothing_protected(
    school: School, claims: dict[str, object]
) -> None:
    """It is refused before the backend is asked; what is unprotected is served."""
    for method, body in (("GET", None), ("POST", NOTE)):
        status, answered = school.ask(method, "/note", body, sub="ada", **claims)

        assert (status, json.loads(answered)["reason"]) == (401, "claim-invalid")
    assert school.wiretap.heard == []
    assert school.ask("GET", "/open", sub="ada", **claims)[0] == 200
