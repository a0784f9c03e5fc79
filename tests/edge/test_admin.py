"""The metrics port over real sockets: who may ask, and what every answer looks like."""

import contextlib
import json
import logging
from collections.abc import AsyncIterator, Mapping
from typing import Any

import aiohttp
import pytest

from proxy.edge.admin import Admin, AdminPorts
from tests.wire import Answer, Client

TOKEN = "scrape-token-0123456789"


class Process:
    """What the port asks of a process; a test sets what it says."""

    def __init__(self) -> None:
        self.accepted: list[str] = []
        self.asked: list[tuple[str, str, str | None]] = []
        self.given: list[Mapping[str, str]] = []
        self.is_ready = True
        self.error: Exception | None = None

    async def metrics(self, accept: str) -> tuple[bytes, str]:
        """Note the Accept value."""
        if self.error is not None:
            raise self.error
        self.accepted.append(accept)
        return b"lumina_x 1\n", "text/plain; version=0.0.4; charset=utf-8"

    async def ready(self) -> tuple[bool, Mapping[str, str]]:
        """Say what was set."""
        return self.is_ready, {"draining": "no" if self.is_ready else "yes"}

    def policy(self) -> Mapping[str, object]:
        """Return a policy's state."""
        return {"digest": "0123456789abcdef", "last_error": None}

    async def limits(
        self, who: str, rule: str, role: str | None, given: Mapping[str, str]
    ) -> Mapping[str, object]:
        """Note what was asked; there is one rule."""
        self.asked.append((who, rule, role))
        self.given.append(given)
        if self.error is not None:
            raise self.error
        if rule != "login":
            raise KeyError("The policy has no such rule")
        return {"rule": rule, "remaining": 4, "limits": []}

    async def learned(self) -> Mapping[str, object] | None:
        """Have learned something, if it is ready."""
        return {"endpoints": []} if self.is_ready else None

    async def refusal(self, request_id: str) -> Mapping[str, object] | None:
        """Know one refusal."""
        known = {"request_id": "a-1", "reason": "no-rule"}
        return known if request_id == "a-1" else None


class Port:
    """A running metrics port, and the process behind it."""

    def __init__(
        self, admin: Admin, process: Process, session: aiohttp.ClientSession
    ) -> None:
        self.number = admin.port
        self.process = process
        self._session = session

    async def ask(
        self, path: str, method: str = "GET", **headers: str
    ) -> aiohttp.ClientResponse:
        """Return the answer, its body read."""
        address = f"http://127.0.0.1:{self.number}{path}"
        async with self._session.request(method, address, headers=headers) as response:
            await response.read()
            return response

    async def send(self, raw: bytes) -> Answer:
        """Return the answer to bytes as they are."""
        client = await Client.connect(self.number)
        try:
            return await client.request(raw)
        finally:
            await client.close()


@contextlib.asynccontextmanager
async def running(token: str | None = None) -> AsyncIterator[Port]:
    """Run a metrics port on a free port of loopback."""
    process = Process()
    admin = Admin(
        AdminPorts(
            metrics=process.metrics,
            ready=process.ready,
            policy=process.policy,
            limits=process.limits,
            refusal=process.refusal,
            learned=process.learned,
        ),
        token,
    )
    assert admin.port == 0
    await admin.start("127.0.0.1", 0)
    try:
        async with aiohttp.ClientSession() as session:
            yield Port(admin, process, session)
    finally:
        await admin.stop()


async def problem(response: aiohttp.ClientResponse) -> tuple[int, str]:
    """Return status and title of a problem document, which it has to be."""
    assert response.content_type == "application/problem+json"
    document = json.loads(await response.text())
    assert document.keys() == {"title", "status"}
    assert document["status"] == response.status
    return response.status, document["title"]


async def test_metrics_are_shown_in_the_format_asked_for() -> None:
    """Body and content type are the exporter's, which sees the Accept field."""
    async with running() as port:
        response = await port.ask("/metrics", Accept="application/openmetrics-text")
        assert response.status == 200
        assert await response.text() == "lumina_x 1\n"
        assert response.headers["Content-Type"] == (
            "text/plain; version=0.0.4; charset=utf-8"
        )
        await port.send(b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n")

        assert port.process.accepted == ["application/openmetrics-text", ""]


async def test_health_is_that_of_the_process() -> None:
    """It answers, so it lives; whether it is ready is another question."""
    async with running() as port:
        port.process.is_ready = False
        response = await port.ask("/health")

        assert (response.status, await response.json()) == (200, {"status": "ok"})


@pytest.mark.parametrize(
    ("is_ready", "status", "document"),
    [
        (True, 200, {"status": "ready", "checks": {"draining": "no"}}),
        (False, 503, {"status": "not ready", "checks": {"draining": "yes"}}),
    ],
    ids=["ready", "draining"],
)
async def test_ready_says_so_in_its_status(
    is_ready: bool, status: int, document: object
) -> None:
    """Load balancers look at the status, people at the checks."""
    async with running() as port:
        port.process.is_ready = is_ready
        response = await port.ask("/ready")

        assert (response.status, await response.json()) == (status, document)


async def test_policy_is_shown() -> None:
    """As the process tells it, null included."""
    async with running() as port:
        response = await port.ask("/policy")

        assert await response.json() == {
            "digest": "0123456789abcdef",
            "last_error": None,
        }


@pytest.mark.parametrize(
    ("path", "asked"),
    [
        ("/limits/user_123?rule=login", ("user_123", "login", None)),
        ("/limits/user_123?rule=login&role=admin", ("user_123", "login", "admin")),
        ("/limits/user_123?rule=login&role=", ("user_123", "login", None)),
        ("/limits/127.0.0.1?rule=login", ("127.0.0.1", "login", None)),
        ("/limits/2001:db8::1?rule=login", ("2001:db8::1", "login", None)),
        ("/limits/a%2Fb%3Fc%25?rule=login", ("a/b?c%", "login", None)),
        ("/limits/%7Bada%7D?rule=login", ("{ada}", "login", None)),
        ("/limits/ada%20l%C3%B6ve?rule=login", ("ada löve", "login", None)),
        ("/limits/a%2Bb+c?rule=login", ("a+b+c", "login", None)),
    ],
)
async def test_limits_of_anybody_can_be_asked_for(
    path: str, asked: tuple[str, str, str | None]
) -> None:
    """Whatever a subject is made of, it arrives as it is."""
    async with running() as port:
        response = await port.ask(path)

        assert (response.status, port.process.asked) == (200, [asked])
        assert (await response.json())["remaining"] == 4


async def test_rule_may_be_a_path() -> None:
    """Encoded in the query, as clients do; 404 says that there is no such rule."""
    async with running() as port:
        response = await port.ask("/limits/ada?rule=/api/auth/%7Bid%7D%3Fa")

        assert await problem(response) == (404, "The policy has no such rule")
        assert port.process.asked == [("ada", "/api/auth/{id}?a", None)]


@pytest.mark.parametrize("query", ["", "?", "?rule=", "?role=admin", "?Rule=login"])
async def test_limits_of_no_rule_are_a_question_without_a_subject(query: str) -> None:
    """The answer says what is missing, and nobody is asked."""
    async with running() as port:
        response = await port.ask(f"/limits/ada{query}")

        assert await problem(response) == (
            400,
            "Say which rule: ?rule=ID, its id or its path",
        )
        assert port.process.asked == []


PATHS = ("/metrics", "/health", "/ready", "/policy", "/limits/ada")


@pytest.mark.parametrize(
    "path",
    ["/", "/limits", "/limits/", "/limits/a/b", "/metrics/", "//metrics", "/admin"],
)
async def test_unknown_paths_are_404(path: str) -> None:
    """As a problem document, like every error."""
    async with running() as port:
        assert await problem(await port.ask(path)) == (404, "Not Found")


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
async def test_other_methods_are_405(path: str, method: str) -> None:
    """Nothing can be changed here; what can be done is in Allow."""
    async with running() as port:
        response = await port.ask(path, method)

        assert await problem(response) == (405, "Method Not Allowed")
        assert response.headers["Allow"] == "GET,HEAD"


@pytest.mark.parametrize("path", PATHS[:4])
async def test_head_is_get_without_a_body(path: str) -> None:
    """As RFC 9110 has it."""
    async with running() as port:
        client = await Client.connect(port.number)
        close = b"Host: a\r\nConnection: close\r\n\r\n"
        await client.send(f"HEAD {path} HTTP/1.1\r\n".encode() + close)
        head, _, body = (await client.rest()).partition(b"\r\n\r\n")
        await client.close()

        assert head.startswith(b"HTTP/1.1 200 OK\r\n")
        assert body == b""


@pytest.mark.parametrize("path", [*PATHS, "/nowhere"])
async def test_no_answer_is_stored_or_sniffed(path: str) -> None:
    """Errors too: what is true now is not true later."""
    async with running() as port:
        response = await port.ask(path)

        assert response.headers["Cache-Control"] == "no-store"
        assert response.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize("path", ["/metrics", "/limits/ada%0Alovelace?rule=login"])
async def test_failure_is_a_problem_and_is_logged(
    path: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The answer has no detail, the log has the traceback, neither has the person."""
    async with running() as port:
        port.process.error = ZeroDivisionError("of our own")
        with caplog.at_level(logging.ERROR):
            response = await port.ask(path)

        assert await problem(response) == (500, "The proxy failed. It is logged")
        assert "of our own" not in await response.text()
    [record] = caplog.records
    assert record.getMessage().startswith("the metrics port failed: /")
    assert "ZeroDivisionError: of our own" in caplog.text
    assert "lovelace" not in caplog.text


# -- the token


@pytest.mark.parametrize("path", ["/health", "/ready"])
async def test_probes_need_no_token(path: str) -> None:
    """They carry none; a wrong one does not matter either."""
    async with running(TOKEN) as port:
        assert (await port.ask(path)).status == 200
        assert (await port.ask(path, Authorization="Bearer wrong")).status == 200


@pytest.mark.parametrize(
    "path",
    [
        *("/metrics", "/policy", "/limits/ada?rule=login", "/", "/nowhere"),
        *("//health", "/health/", "/Ready", "/ready/../metrics", "/health%2F"),
        *("/health;a", "/limits/health?rule=login"),
    ],
)
async def test_everything_else_needs_the_token(path: str) -> None:
    """Also what does not exist: nobody without it learns which paths there are."""
    async with running(TOKEN) as port:
        raw = f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode()
        answer = await port.send(raw)

        assert answer.status == 401
        assert answer["WWW-Authenticate"] == 'Bearer realm="lumina-proxy metrics"'
        assert answer["Content-Type"] == "application/problem+json"
        assert answer["Cache-Control"] == "no-store"
        assert json.loads(answer.body) == {
            "title": "The metrics token is missing or wrong",
            "status": 401,
        }
        assert port.process.asked == []


@pytest.mark.parametrize("method", ["POST", "HEAD"])
async def test_no_method_goes_round_the_token(method: str) -> None:
    """The token comes before everything."""
    async with running(TOKEN) as port:
        assert (await port.ask("/metrics", method)).status == 401


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"Bearer",
        b"Bearer ",
        TOKEN.encode(),
        b"Bearer" + TOKEN.encode(),
        b"Bearer " + TOKEN.encode() + b"x",
        b"Bearer " + TOKEN[:-1].encode(),
        b"Bearer " + TOKEN.upper().encode(),
        b"Bearer Bearer " + TOKEN.encode(),
        b"Bearer " + TOKEN.encode() + b", Bearer " + TOKEN.encode(),
        b"Basic " + TOKEN.encode(),
        b'Bearer "' + TOKEN.encode() + b'"',
        "Bearer scrape-tökén".encode(),
        b"Bearer \xff\xfe",
    ],
    ids=ascii,
)
async def test_wrong_token_is_refused(sent: bytes) -> None:
    """Whatever bytes it is made of; it is nowhere in the answer."""
    async with running(TOKEN) as port:
        answer = await port.send(
            b"GET /metrics HTTP/1.1\r\nHost: a\r\nAuthorization: %b\r\n\r\n" % sent
        )

        assert answer.status == 401
        assert TOKEN.encode() not in answer.body
        assert port.process.accepted == []


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
@pytest.mark.parametrize("gap", [" ", "   "])
async def test_right_token_is_let_in(scheme: str, gap: str) -> None:
    """The name of the scheme has no case (RFC 9110 section 11.1)."""
    async with running(TOKEN) as port:
        response = await port.ask("/metrics", Authorization=f"{scheme}{gap}{TOKEN}")

        assert response.status == 200


@pytest.mark.parametrize("token", ["tökén-日本", "with space?", "?"])
async def test_token_may_be_any_text(token: str) -> None:
    """In UTF-8 on the wire; a byte that is none does not pass for "?"."""
    async with running(token) as port:
        right = token.encode()
        wrong = right.replace(b"?", b"\xff") + b"\xff" * (b"?" not in right)
        statuses = [
            (
                await port.send(
                    b"GET /policy HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer %b\r\n"
                    b"\r\n" % sent
                )
            ).status
            for sent in (right, wrong)
        ]

        assert statuses == [200, 401]


async def test_without_a_token_set_nobody_is_asked_for_one() -> None:
    """The port is on loopback then, and a token that is sent does no harm."""
    async with running() as port:
        assert (await port.ask("/metrics")).status == 200
        assert (await port.ask("/metrics", Authorization="Bearer x")).status == 200


# -- the socket


async def test_address_that_is_taken_is_an_error() -> None:
    """Not a port that silently answers somewhere else."""
    async with running() as port:
        process = port.process
        second = Admin(
            AdminPorts(
                metrics=process.metrics,
                ready=process.ready,
                policy=process.policy,
                limits=process.limits,
                refusal=process.refusal,
                learned=process.learned,
            ),
            None,
        )
        with pytest.raises(OSError, match="ddress already in use"):
            await second.start("127.0.0.1", port.number)
        await second.stop()

        assert second.port == 0


async def test_nobody_listens_after_stop() -> None:
    """The port is free again."""
    async with running() as port:
        number = port.number

    with pytest.raises(ConnectionRefusedError):
        await Client.connect(number)


@contextlib.asynccontextmanager
async def commanded() -> AsyncIterator[tuple[int, list[Mapping[str, Any]]]]:
    """Yield the port of one with a query and a command, and what it was told."""
    told: list[Mapping[str, Any]] = []

    async def command(order: Mapping[str, Any]) -> Mapping[str, object]:
        told.append(order)
        if "bad" in order:
            raise ValueError("That is bad")
        return {"done": True}

    async def query() -> Mapping[str, object]:
        return {"told": len(told)}

    process = Process()
    ports = AdminPorts(
        metrics=process.metrics,
        ready=process.ready,
        policy=process.policy,
        limits=process.limits,
        refusal=process.refusal,
        learned=process.learned,
        queries={"/orders": query},
        commands={"/orders": command},
    )
    admin = Admin(ports, TOKEN)
    await admin.start("127.0.0.1", 0)
    try:
        yield admin.port, told
    finally:
        await admin.stop()


@pytest.mark.parametrize(
    ("body", "kind", "token", "status", "answer"),
    [
        pytest.param("{}", "application/json", TOKEN, 200, {"done": True}, id="done"),
        pytest.param(
            '{"bad": 1}', "application/json", TOKEN, 400, "That is bad", id="refused"
        ),
        pytest.param("{", "application/json", TOKEN, 400, "Send a JSON", id="half"),
        pytest.param("[]", "application/json", TOKEN, 400, "Send a JSON", id="list"),
        pytest.param("{}", "text/plain", TOKEN, 415, "Send Content-Type", id="a form"),
        pytest.param("{}", "application/json", "other", 401, "token", id="a stranger"),
    ],
)
async def test_commands_are_json_objects_of_those_who_may(
    body: str, kind: str, token: str, status: int, answer: Any
) -> None:
    """What a page in a browser could send is refused; what is wrong is explained."""
    headers = {"Content-Type": kind, "Authorization": f"Bearer {token}"}
    async with commanded() as (port, told), aiohttp.ClientSession() as session:
        url = f"http://127.0.0.1:{port}/orders"
        async with session.post(url, data=body, headers=headers) as got:
            document = await got.json(content_type=None)
            found = document if status == 200 else document["title"]

        assert got.status == status
        assert found == answer if status == 200 else answer in found
        async with session.get(
            url, headers={"Authorization": f"Bearer {TOKEN}"}
        ) as got:
            assert await got.json() == {"told": len(told)}
