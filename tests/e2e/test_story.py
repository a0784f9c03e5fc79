"""The story that the README promises, told to real processes over real sockets."""

import json
import signal
from typing import Any

import aiohttp
import pytest

from tests.e2e.conftest import DEADLINE, Stack

TESS = {
    "email": "tess@example.org",
    "name": "Tess Teacher",
    "password": "correct horse",
    "role": "teacher",
}


class Person:
    """A client of the proxy, with a token once logged in."""

    def __init__(self, session: aiohttp.ClientSession, stack: Stack) -> None:
        self.session = session
        self.base = f"http://127.0.0.1:{stack.data}"
        self.headers: dict[str, str] = {}

    async def ask(
        self, method: str, path: str, document: object = None
    ) -> tuple[int, Any, aiohttp.ClientResponse]:
        """Return status, JSON document and response."""
        async with self.session.request(
            method, self.base + path, json=document, headers=self.headers
        ) as response:
            body = await response.read()
            return response.status, json.loads(body) if body else None, response

    async def log_in(self, person: dict[str, str]) -> None:
        """Register and log in."""
        status, _, _ = await self.ask("POST", "/api/auth/register", person)
        assert status == 201
        credentials = {key: person[key] for key in ("email", "password")}
        _, answer, _ = await self.ask("POST", "/api/auth/login", credentials)
        self.headers = {"Authorization": f"Bearer {answer['token']}"}


async def test_names_are_plain_for_people_and_ciphertext_for_the_lms(
    stack: Stack,
) -> None:
    """A user created through the proxy reads back, and the database never saw it."""
    async with aiohttp.ClientSession() as session:
        tess = Person(session, stack)
        await tess.log_in(TESS)
        status, ada, _ = await tess.ask(
            "POST", "/api/users", {"email": "ada@example.org", "name": "Ada Lovelace"}
        )
        _, read, _ = await tess.ask("GET", f"/api/users/{ada['id']}")
        _, listed, _ = await tess.ask("GET", "/api/users")

        assert (status, ada["name"], read["name"]) == (
            201,
            "Ada Lovelace",
            "Ada Lovelace",
        )
        names = {user["name"] for user in listed["items"]}
        assert {"Ada Lovelace", "Tess Teacher"} <= names
    for file in stack.database.parent.glob("lms.sqlite3*"):
        stored = file.read_bytes()
        assert b"Lovelace" not in stored
        assert b"Tess Teacher" not in stored
    assert b"lm1r" in stack.database.read_bytes() or list(
        stack.database.parent.glob("lms.sqlite3-wal")
    )


async def test_notes_are_found_again_and_masked_for_an_administrator(
    stack: Stack,
) -> None:
    """Search and list decrypt for the one who may read, and mask for the other."""
    async with aiohttp.ClientSession() as session:
        tess, root = Person(session, stack), Person(session, stack)
        await tess.log_in(TESS)
        await root.log_in({**TESS, "email": "root@example.org", "role": "admin"})
        note = {"title": "t", "text": "Needs help with fractions", "embedding": [1, 0]}
        status, created, _ = await tess.ask("POST", "/api/notes", note)
        _, found, _ = await tess.ask(
            "POST", "/api/notes/search", {"embedding": [1, 0], "limit": 1}
        )
        _, masked, _ = await root.ask("GET", f"/api/notes/{created['id']}")

        assert (status, created["text"]) == (201, note["text"])
        assert "Needs help with fractions" in json.dumps(found)
        assert masked["text"] == "N••• h••• w•••"


async def test_a_masked_value_cannot_overwrite_the_real_one(stack: Stack) -> None:
    """What a mask looks like is refused where a protected value is expected."""
    async with aiohttp.ClientSession() as session:
        tess = Person(session, stack)
        await tess.log_in(TESS)
        refused = []
        for name in ("A••• L•••", "lm1rAAAA"):
            status, problem, _ = await tess.ask(
                "POST", "/api/users", {"email": "x@example.org", "name": name}
            )
            refused.append((status, problem["reason"]))

        assert refused == [(422, "mask-in-request"), (422, "ciphertext-in-request")]


async def test_who_may_not_is_refused_with_a_reason(stack: Stack) -> None:
    """No token is 401, the wrong role 403, no rule 404, a wrong method 405."""
    async with aiohttp.ClientSession() as session:
        nobody, sam = Person(session, stack), Person(session, stack)
        await sam.log_in({**TESS, "email": "sam@example.org", "role": "student"})
        outcomes = [
            await nobody.ask("GET", "/api/users"),
            await sam.ask("POST", "/api/users", {"email": "a@b.org", "name": "A"}),
            await sam.ask("GET", "/api/unheard-of"),
            await sam.ask("DELETE", "/api/pathways"),
            await sam.ask("GET", "/api//users"),
        ]

        assert [(status, problem["reason"]) for status, problem, _ in outcomes] == [
            (401, "token-missing"),
            (403, "role-not-allowed"),
            (404, "no-rule"),
            (405, "method-not-allowed"),
            (400, "path-ambiguous"),
        ]
        assert outcomes[0][2].headers["WWW-Authenticate"].startswith("Bearer ")
        assert outcomes[3][2].headers["Allow"] == "GET, HEAD, POST"


async def test_the_sixth_login_of_a_minute_is_429(stack: Stack) -> None:
    """Guessing passwords is slowed down, and the answer says for how long."""
    async with aiohttp.ClientSession() as session:
        guesser = Person(session, stack)
        answers = [
            await guesser.ask(
                "POST", "/api/auth/login", {"email": "t@e.org", "password": "no"}
            )
            for _ in range(6)
        ]

        assert [status for status, _, _ in answers] == [401] * 5 + [429]
        refusal = answers[-1][2].headers
        assert 1 <= int(refusal["Retry-After"]) <= 12
        assert refusal["RateLimit-Policy"] == '"login";q=5;w=60'
        assert refusal["RateLimit"].startswith('"login";r=0;t=')
        async with session.get(
            f"http://127.0.0.1:{stack.metrics}/limits/127.0.0.1",
            params={"rule": "/api/auth/login"},
        ) as response:
            assert (await response.json())["remaining"] == 0


async def test_the_metrics_port_shows_what_happened(stack: Stack) -> None:
    """Latency, decisions and the specification's five metrics are there."""
    async with aiohttp.ClientSession() as session:
        tess = Person(session, stack)
        await tess.log_in(TESS)
        await tess.ask("POST", "/api/pathways", {"title": "Fractions"})
        async with session.get(f"http://127.0.0.1:{stack.metrics}/metrics") as response:
            shown = await response.text()

    for expected in (
        "lumina_request_duration_seconds_bucket{",
        'lumina_decisions_total{reason="served",role="teacher",rule="pathway-create"}',
        "lumina_overhead_seconds_bucket{",
        'lumina_cipher_operations_total{field="user.name",operation="encrypt"',
        "lumina_system_cpu_usage ",
        "lumina_system_memory_usage ",
        "lumina_active_users 1.0",
        "lumina_pathways_generated_total 1.0",
        "lumina_assessments_completed_total 0.0",
    ):
        assert expected in shown or expected.split("{")[0] in shown, expected
    assert "tess@example.org" not in shown
    assert "Tess Teacher" not in stack.log.read_text()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_proxy_cleanly(stack: Stack, number: signal.Signals) -> None:
    """No traceback, exit status 0."""
    stack.proxy.send_signal(number)

    assert stack.proxy.wait(timeout=DEADLINE) == 0
    assert "Traceback" not in stack.log.read_text()


async def test_addresses_are_found_again_and_never_stored(stack: Stack) -> None:
    """Validation, uniqueness and login by e-mail work on what the LMS cannot read."""
    async with aiohttp.ClientSession() as session:
        tess, again = Person(session, stack), Person(session, stack)
        await tess.log_in(TESS)
        loud = {**TESS, "email": " TESS@Example.ORG"}
        taken, complaint, _ = await again.ask("POST", "/api/auth/register", loud)
        _, answer, _ = await again.ask("POST", "/api/auth/login", loud)
        _, me, _ = await tess.ask("GET", "/api/me")
        new = {"email": "tess@new.example", "name": "Tess", "role": "teacher"}
        changed, moved, _ = await tess.ask("PUT", f"/api/users/{me['id']}", new)
        strange, problem, _ = await tess.ask(
            "POST", "/api/users", {"email": "no address", "name": "X"}
        )
        _, listed, _ = await tess.ask("GET", "/api/users")

        assert (taken, list(complaint)) == (400, ["email"])
        assert answer["user"]["email"] == me["email"] == TESS["email"]
        assert (changed, moved["email"]) == (200, "tess@new.example")
        assert (strange, problem["reason"]) == (422, "field-unencryptable")
        assert [user["email"] for user in listed["items"]] == ["tess@new.example"]
    stored = b"".join(
        file.read_bytes() for file in stack.database.parent.glob("lms.sqlite3*")
    ).lower()
    assert b"@enc.lms.example" in stored
    assert b"tess@" not in stored
