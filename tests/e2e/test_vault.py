"""Tokens and keys of subjects, in a real keystore behind a real proxy."""

import base64
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.sidecar import Sidecar
from tests.e2e.wiretap import Wiretap, answer, saying
from tests.redis_server import redis_server

POLICY = """\
version: 1
backends: {lms: {servers: ["${BACKEND_URL}"]}}
fields:
  user.iban: {mode: token, max_length: 24}
  user.diary: {mode: random, subject: path(id)}
views: {anyone: {"*": plain}}
rules:
  - id: user
    match: GET,PUT /users/{id}
    allow: anyone
    limits: [{rate: unlimited, per: client}]
    protect:
      request: {$.iban: user.iban, $.diary: user.diary}
      response: {$.iban: user.iban, $.diary: user.diary}
  - id: users
    match: GET /users
    allow: anyone
    protect:
      response: {"$.all[*].iban": user.iban, "$.all[*].diary": user.diary}
  - id: form
    match: POST /form
    allow: anyone
    limits: [{rate: unlimited, per: client}]
    protect: {form: {iban: user.iban}}
"""
JSON = {"Content-Type": "application/json"}
USER = {"iban": "DE89 3704 0044 0532 0130 00", "diary": "dear"}


class Lms:
    """A proxy with a keystore, and what the backend stores behind it."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.wiretap = Wiretap()
        self.environment = environment
        url = f"http://127.0.0.1:{self.wiretap.port}"
        environment["BACKEND_URL"] = url
        self.keys("init", "--bound", "12s")
        self.sidecar = Sidecar(folder, POLICY, environment)

    def keys(self, *arguments: str) -> str:
        """Run an operator's command."""
        return subprocess.run(
            [sys.executable, "-P", "-m", "proxy", "keys", *arguments],
            env={**os.environ, **self.environment},
            cwd=Path(__file__).parents[2],
            check=True,
            capture_output=True,
            text=True,
        ).stdout

    def write(self, who: str) -> dict[str, str]:
        """Write somebody's values; return what the backend stores."""
        body = json.dumps(USER).encode()
        status, _, answered = self.sidecar.ask("PUT", f"/users/{who}", body, JSON)
        assert (status, json.loads(answered)) == (200, USER)
        stored: dict[str, str] = json.loads(self.wiretap.heard[-1].body)
        return stored

    def read(self, path: str, stored: object) -> tuple[int, dict[str, object]]:
        """Read what is stored."""
        data = answer(json.dumps(stored).encode(), "Content-Type: application/json")
        self.wiretap.answers[path] = saying(data)
        status, _, answered = self.sidecar.ask("GET", path)
        del self.wiretap.answers[path]
        return status, json.loads(answered)


@pytest.fixture(name="lms", params=["file", "redis"])
def lms_fixture(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Lms]:
    """A proxy with an empty keystore of each kind."""
    environment = {
        "KEY_ENCRYPTION_KEY": base64.urlsafe_b64encode(os.urandom(32)).decode(),
        "KEYSTORE": str(tmp_path / "keys"),
        "POLICY": str(tmp_path / "policy.yaml"),
    }
    with redis_server(tmp_path) as redis:
        if request.param == "redis":
            environment["KEYSTORE"] = redis.url
        lms = Lms(tmp_path, environment)
        try:
            lms.sidecar.wait()
            yield lms
        finally:
            lms.sidecar.stop()
            lms.wiretap.stop()


def test_a_token_fits_and_comes_back(lms: Lms) -> None:
    """The backend has a word of 24 characters, in JSON and in a form."""
    stored = [lms.write(f"user-{n}") for n in range(3)]

    assert len({one["iban"] for one in stored}) == 3
    assert all(len(one["iban"]) == 24 for one in stored)
    assert lms.read("/users", {"all": stored}) == (200, {"all": [USER] * 3})
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    assert lms.sidecar.ask("POST", "/form", b"iban=DE89", form)[0] == 200
    sent = lms.wiretap.heard[-1].body.decode().removeprefix("iban=")
    assert lms.read("/users/x", {"iban": sent}) == (200, {"iban": "DE89"})


def test_a_forgotten_subject_is_unreadable_everywhere(lms: Lms, tmp_path: Path) -> None:
    """What is stored, and any backup of it, for the proxy and whoever has its keys."""
    ada, again, bob = lms.write("ada"), lms.write("ada"), lms.write("bob")
    [key] = json.loads(lms.keys("list", "--json"))["keys"]
    (tmp_path / "dump").write_text(json.dumps([ada, bob]))
    counted = json.loads(
        lms.keys("census", str(tmp_path / "dump"), "--json", "--dry-run")
    )["values"]
    assert ada["diary"][:12] == again["diary"][:12] != bob["diary"][:12]
    # Three tokens and two subjects' keys are in the keystore, under the tenant's key.
    assert counted[key["id"]] == 5
    assert lms.keys("forget", "ada", "--yes") == "forgotten\n"
    while lms.read("/users/ada", ada)[0] == 200:
        assert lms.sidecar.process.poll() is None
    status, problem = lms.read("/users/ada", again)

    assert (status, problem["reason"]) == (502, "field-undecryptable")
    assert lms.read("/users/bob", bob) == (200, USER)
    new = lms.write("ada")
    assert lms.read("/users/ada", new) == (200, USER)
    with pytest.raises(subprocess.CalledProcessError) as caught:
        lms.keys("forget", "nobody", "--yes")
    assert caught.value.stderr == "nobody of this name has a key\n"


@pytest.mark.parametrize("lms", ["file"], indirect=True)
def test_a_lost_store_stores_and_shows_nothing(lms: Lms) -> None:
    """What would need an entry is refused, and never shown as a token."""
    stored = lms.write("ada")
    path = Path(lms.environment["KEYSTORE"])
    path.write_bytes(b"no database at all, and longer than a header of one" * 20)
    heard = len(lms.wiretap.heard)
    body = json.dumps(USER).encode()
    status, _, refused = lms.sidecar.ask("PUT", "/users/ada", body, JSON)

    assert (status, json.loads(refused)["reason"]) == (503, "keys-unavailable")
    assert len(lms.wiretap.heard) == heard
    assert lms.read("/users/x", {"iban": stored["iban"]})[0] == 502
    assert '"kms-unavailable"' in lms.sidecar.look("/metrics")[1]


def test_a_policy_that_needs_a_keystore_says_so(tmp_path: Path) -> None:
    """Without one the start is refused, with the field."""
    sidecar = Sidecar(tmp_path, POLICY, {"BACKEND_URL": "http://127.0.0.1:9"})
    with pytest.raises(AssertionError):
        sidecar.wait()
    sidecar.stop()

    assert "KEYSTORE is not set, and a keystore has the" in sidecar.log.read_text()
