"""The data path with ports in memory: the order of stages, and every way out of it.

The ports are small real classes. What they do over real sockets is shown in ``edge``
and ``e2e``; here it is seen what the pipeline asks of them, and when.
"""

import asyncio
import ipaddress
import json
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from proxy.core.audit_chain import Value
from proxy.core.authn import Authenticator, Trusted, Unsettled, VerificationKey
from proxy.core.bucket import Grant
from proxy.core.ciphers import Ciphers
from proxy.core.errors import Refused
from proxy.core.exchange import Exchange
from proxy.core.keyring import Keyring
from proxy.core.keyset import Keyset
from proxy.core.limits import Take
from proxy.core.message import Body, RawHeaders, Request, Response, Whole
from proxy.core.policy import Rule
from proxy.core.policy_parser import parse_policy
from proxy.core.reasons import Reason
from proxy.edge.body import BodyStream
from proxy.edge.waiter import Waiter, step
from proxy.pipeline import Pipeline
from proxy.ports import Clocks, Snapshot

SECRET = "thirty-two bytes, every one of which is a secret"
NOW = 1_000_000.0
POLICY = """
version: 1
deployment: test
backends: {lms: {servers: ["http://127.0.0.1:9"]}}
issuers:
  lumina:
    issuer: lumina
    audience: lms
    algorithms: [HS256]
    secret: "${SECRET}"
    roles: $.role
roles: [student, teacher]
limits: {api: {rate: 5/minute, per: subject}, door: {rate: 5/minute, per: client}}
fields: {user.name: {mode: random}}
views:
  student: {user.name: mask}
  teacher: {user.name: plain}
rules:
  - {id: open, match: GET /open, allow: anyone, limits: [door]}
  - id: user
    match: GET,POST /users/{id}
    allow: [student, teacher]
    limits: [api]
    count: lumina_users_total
    protect:
      request: {$.name: user.name}
      response: {$.name: user.name}
  - {id: small, match: PUT /small, allow: [teacher], max_body: 4B}
  - {id: written, match: GET /written, allow: [teacher], limits: [api], audit: required}
  - {id: nothing, match: PUT /nothing, allow: [teacher], max_body: 0B}
"""


def a_snapshot(policy: str = POLICY, trusted: Trusted | None = None) -> Snapshot:
    """Return what a request holds."""
    compiled, _ = parse_policy([("policy.yaml", policy)], {"SECRET": SECRET})
    keyset = Keyset.from_text("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=")
    return Snapshot(
        compiled,
        Authenticator(compiled.issuers, trusted=trusted),
        Ciphers(Keyring(keyset), compiled.deployment, compiled.fields, bytes),
    )


def bearer(role: str | list[str] = "teacher", **claims: Any) -> bytes:
    """Return the value of Authorization for a person with a role."""
    document = {"iss": "lumina", "aud": "lms", "sub": "ada", "role": role}
    token = jwt.encode(document | {"exp": NOW + 60} | claims, SECRET, "HS256")
    return b"Bearer " + token.encode()


def raw(*lines: tuple[bytes, bytes]) -> RawHeaders:
    """Return field lines as a parser would."""
    return [(name.lower(), name, value) for name, value in lines]


def a_request(
    method: str, target: str, *lines: tuple[bytes, bytes], body: Body | None = None
) -> Request:
    """Return a request with a Host, from an ordinary client."""
    headers = raw((b"Host", b"lms.example"), *lines)
    request = Request(
        method, target, "1.1", headers, peer="192.0.2.1", peer_trusted=False
    )
    if body is not None:
        request.body = body
    return request


def an_answer(
    body: bytes = b"{}", status: int = 200, kind: bytes = b"application/json"
) -> Response:
    """Return an answer that is all there."""
    response = Response(
        status,
        b"OK",
        raw((b"Content-Type", kind), (b"ETag", b"x")),
        length=len(body),
        bodiless=False,
    )
    response.body = Whole(body)
    return response


class Ports:
    """Everything that the pipeline knows of the world, and what it asked of it.

    Attributes:
        told: what happened, in order.
        grants: what the store answers; an exception is raised instead.
        told_by_issuer: whether an issuer answers.
        answer: what the backend answers; an exception is raised instead.
        sent: head and body that the backend got.
        got: status, lines and body that the client got.
        records: the exchanges that were recorded.
    """

    def __init__(self) -> None:
        self.told: list[str] = []
        self.grants: Waiter[list[Grant]] | None = None
        self.allowed = True
        self.told_by_issuer: Waiter[bool] = Waiter()
        self.answer: Waiter[Response] = Waiter()
        self.sent: tuple[bytes, bytes | Body, bool] | None = None
        self.got: tuple[int, list[bytes], bytes] | None = None
        self.records: list[Exchange] = []
        self.bugs: list[BaseException] = []
        self.method = "GET"
        self.accept = b""
        self.peer = "192.0.2.1"
        self.started = False
        self.aborted = False
        self.closes = False
        self.written = b""
        self.write_fails: BaseException | None = None
        self.unwritten: Refused | None = None

    # The store.

    def take(self, takes: Sequence[Take]) -> Waiter[list[Grant]]:
        """Answer with ``grants``, or with a token from each bucket."""
        self.told.append("take " + " ".join(take.key.split("}")[0] for take in takes))
        assert all(take.cost == 1 for take in takes)
        if self.grants is not None:
            return self.grants
        return Waiter.of([Grant(self.allowed, 4, 7.0, 12.0) for _ in takes])

    def settle(self, takes: Sequence[Take]) -> None:
        """Note what is charged or given back afterwards."""
        self.told.append("settle " + " ".join(f"{one.id}:{one.cost}" for one in takes))

    # The issuers.

    def inquire(self, question: Unsettled) -> Waiter[bool]:
        """Note what is asked; answer with ``told_by_issuer``."""
        self.told.append(f"inquire {question.issuer.id} {question.kid}")
        return self.told_by_issuer

    # The backend.

    def exchange(
        self,
        rule: Rule,
        method: str,
        head: bytes,
        body: bytes | Body,
        *,
        chunked: bool = False,
    ) -> Waiter[Response]:
        """Note what is sent; answer with ``answer``."""
        self.told.append(f"exchange {rule.backend.id} {method}")
        self.sent = head, body, chunked
        return self.answer

    # The client.

    def send(self, status: int, phrase: bytes, lines: list[bytes], body: bytes) -> None:
        """Note a whole answer."""
        assert phrase
        self.told.append(f"send {status}")
        self.started = True
        self.got = status, lines, body

    def start(
        self, status: int, phrase: bytes, lines: list[bytes], length: int | None
    ) -> None:
        """Note the head of an answer."""
        assert phrase
        self.told.append(f"start {status} {length}")
        self.started = True
        self.got = status, lines, b""

    async def write(self, chunk: bytes) -> None:
        """Note a part of a body."""
        if self.write_fails is not None:
            raise self.write_fails
        self.written += chunk

    def switch(self, phrase: bytes, lines: list[bytes], connection: object) -> None:
        """Note a 101."""
        assert phrase
        assert connection is not None
        self.told.append("switch")
        self.got = 101, lines, b""

    def end(self) -> None:
        """Note the end of a body."""
        self.told.append("end")

    def close_after_answer(self) -> None:
        """Note that the connection will not be kept."""
        self.closes = True

    def abort(self) -> None:
        """Note that the connection is broken off."""
        self.aborted = True

    # The observer.

    def record(self, exchange: Exchange) -> None:
        """Note an exchange that is over."""
        self.told.append("record")
        self.records.append(exchange)

    def cipher(self, field: str, operation: str, outcome: str, key: str) -> None:
        """Note a protected leaf."""
        assert not key or len(key) == 8
        self.told.append(f"{operation} {field} {outcome}")

    def failed(self, error: BaseException, exchange: Exchange) -> None:
        """Note a bug."""
        assert exchange.method
        self.bugs.append(error)

    # Who writes down what must be.

    def note(self, event: str, **fields: Value) -> None:
        """Nothing in the pipeline itself is noted afterwards."""
        raise AssertionError(event, fields)

    async def required(self, event: str, **fields: Value) -> None:
        """Note what is written before the backend is asked, or fail."""
        self.told.append(f"{event} {fields['rule']} {fields['subject']}")
        if self.unwritten is not None:
            raise self.unwritten


def a_pipeline(ports: Ports, snapshot: Snapshot | None = None) -> Pipeline:
    """Return a pipeline on those ports; its monotonic clock ticks once a look."""
    ticks = iter(range(1, 1000))
    ids = (f"id-{number}" for number in range(1000))
    return Pipeline(
        snapshot or a_snapshot(),
        store=ports,
        upstream=ports,
        recorder=ports,
        auditor=ports,
        inquiries=ports,
        clocks=Clocks(
            wall=lambda: NOW,
            monotonic=lambda: float(next(ticks)),
            request_id=ids.__next__,
        ),
        trusted=(ipaddress.ip_network("10.0.0.0/8"),),
        body_bytes=1000,
        buffered_bytes=100,
    )


def handled(ports: Ports, request: Request) -> Exchange:
    """Run one request to its end, and return what was recorded of it."""
    ended = run(a_pipeline(ports).handle(request, ports))

    assert ended == [None]
    [exchange] = ports.records
    return exchange


def run(coroutine: Coroutine[Any, Any, None]) -> list[BaseException | None]:
    """Step a coroutine; return how it ended, or nothing while it waits."""
    ended: list[BaseException | None] = []
    step(coroutine, ended.append)
    return ended


def problem_of(ports: Ports) -> dict[str, Any]:
    """Return the problem document that the client got."""
    assert ports.got is not None
    document: dict[str, Any] = json.loads(ports.got[2])
    return document


def test_stages_come_in_order() -> None:
    """Tokens are taken before anything is encrypted, which is before the backend."""
    ports = Ports()
    ports.answer.set(an_answer(b'{"name":"Ada"}'))
    body = b'{"name": "Ada"}'
    exchange = handled(
        ports,
        a_request(
            "POST",
            "/users/7?a=b",
            (b"Authorization", bearer()),
            (b"Content-Type", b"application/json"),
            (b"Content-Length", b"%d" % len(body)),
            body=Whole(body),
        ),
    )

    assert ports.told == [
        "take lb:{s:ada",
        "encrypt user.name ok",
        "exchange lms POST",
        "decrypt user.name plaintext",
        "send 200",
        "record",
    ]
    assert (exchange.rule, exchange.role, exchange.subject, exchange.status) == (
        "user",
        "teacher",
        "ada",
        200,
    )
    assert (exchange.counter, exchange.reason, exchange.aborted) == (
        "lumina_users_total",
        None,
        False,
    )


REMOTE = POLICY.replace('secret: "${SECRET}"', "jwks: https://id.example/jwks").replace(
    "HS256", "ES256"
)
EC_KEY = ec.generate_private_key(ec.SECP256R1())


@pytest.mark.parametrize(
    ("answered", "published", "outcome"),
    [
        pytest.param(True, True, None, id="found"),
        pytest.param(True, False, Reason.KEY_UNKNOWN, id="not found"),
        pytest.param(False, True, Reason.ISSUER_UNAVAILABLE, id="no answer"),
    ],
)
def test_an_issuer_is_asked_for_a_key_that_nobody_knows(
    *, answered: bool, published: bool, outcome: Reason | None
) -> None:
    """The request waits for the answer, and is then decided like any other."""
    ports, trusted = Ports(), Trusted()
    ports.answer.set(an_answer())
    claims = {"iss": "lumina", "aud": "lms", "sub": "ada", "role": "teacher"}
    token = jwt.encode(claims | {"exp": NOW + 60}, EC_KEY, "ES256", {"kid": "k"})
    request = a_request(
        "GET", "/users/7", (b"Authorization", b"Bearer " + token.encode())
    )
    ended = run(a_pipeline(ports, a_snapshot(REMOTE, trusted)).handle(request, ports))

    assert (ended, ports.told) == ([], ["inquire lumina k"])

    keys = (VerificationKey(kid="k", key=EC_KEY.public_key()),) if published else ()
    trusted.keys.put("lumina", keys)
    ports.told_by_issuer.set(answered)

    assert ended == [None]
    assert ports.records[0].reason is outcome
    assert ports.told.count("inquire lumina k") == 1


def test_every_stage_is_timed_that_a_request_passes() -> None:
    """Each stage takes its part of the whole, and the backend the rest."""
    ports = Ports()
    ports.answer.set(an_answer())
    exchange = handled(ports, a_request("GET", "/open"))
    stages = (
        exchange.decide_seconds,
        exchange.take_seconds,
        exchange.encrypt_seconds,
        exchange.answer_seconds,
    )

    assert stages == (1.0, 1.0, 1.0, 1.0)
    assert exchange.total_seconds == 4.0 + exchange.upstream_seconds


def test_a_stage_that_refuses_is_not_timed() -> None:
    """What a refused request passed before has its time; what comes after, none."""
    used_up = Ports()
    used_up.allowed = False
    exchange = handled(used_up, a_request("GET", "/open"))

    assert exchange.decide_seconds == 1.0
    assert exchange.take_seconds is None
    assert exchange.encrypt_seconds is None
    assert exchange.answer_seconds is None


def test_a_refusal_after_the_limits_says_what_is_left() -> None:
    """Whoever was counted is told so, whatever became of the request."""
    ports = Ports()
    ports.answer.fail(Refused(Reason.UPSTREAM_TIMEOUT))
    handled(ports, a_request("GET", "/users/7", (b"Authorization", bearer("student"))))

    assert ports.got is not None
    assert b"RateLimit: " in b"".join(ports.got[1])


def test_the_backend_gets_the_matched_path_and_who_asks() -> None:
    """Identity, origin and framing are the proxy's; the query is the client's."""
    ports = Ports()
    ports.answer.set(an_answer())
    handled(
        ports,
        a_request(
            "GET",
            "/%75sers/7?x=%20y",
            (b"Authorization", bearer("student")),
            (b"X-Lumina-Role", b"admin"),
            (b"X-Forwarded-For", b"203.0.113.9"),
            (b"Accept", b"*/*"),
        ),
    )

    assert ports.sent is not None
    head, body, chunked = ports.sent
    lines = head.decode().split("\r\n")
    assert lines[0] == "GET /users/7?x=%20y HTTP/1.1"
    assert "X-Lumina-Role: student" in lines
    assert "X-Lumina-Subject: ada" in lines
    assert "X-Forwarded-For: 192.0.2.1" in lines
    assert "X-Request-ID: id-0" in lines
    assert "Accept: */*" in lines
    assert "Accept-Encoding: identity" in lines  # an answer to decrypt comes whole
    assert not [line for line in lines if "admin" in line or "203.0.113.9" in line]
    assert (body, chunked) == (b"", False)


@pytest.mark.parametrize(
    ("request_", "reason", "told"),
    [
        (a_request("GET", "http://other/"), Reason.MALFORMED, []),
        (a_request("GET", "/unknown"), Reason.NO_RULE, []),
        (a_request("GET", "/users//7"), Reason.PATH_AMBIGUOUS, []),
        (a_request("DELETE", "/users/7"), Reason.METHOD_NOT_ALLOWED, []),
        (a_request("GET", "/users/7"), Reason.TOKEN_MISSING, []),
        (
            a_request("PUT", "/small", (b"Authorization", bearer("student"))),
            Reason.ROLE_NOT_ALLOWED,
            [],
        ),
        (
            a_request(
                "POST",
                "/users/7",
                (b"Authorization", bearer()),
                (b"Content-Length", b"101"),
            ),
            Reason.BODY_TOO_LARGE,
            ["take lb:{s:ada"],
        ),
        (
            a_request(
                "POST",
                "/users/7",
                (b"Authorization", bearer()),
                (b"Content-Length", b"1"),
                (b"Content-Type", b"text/plain"),
                body=Whole(b"x"),
            ),
            Reason.MEDIA_TYPE_NOT_ALLOWED,
            ["take lb:{s:ada"],
        ),
    ],
    ids=lambda value: value.slug if isinstance(value, Reason) else "",
)
def test_a_refusal_ends_the_path_where_it_is_found(
    request_: Request, reason: Reason, told: list[str]
) -> None:
    """Nothing behind the refusing stage is asked, and the answer says why."""
    ports = Ports()
    exchange = handled(ports, request_)

    assert ports.told == [*told, f"send {reason.status}", "record"]
    assert exchange.reason is reason
    assert problem_of(ports)["reason"] == reason.slug
    assert problem_of(ports)["request_id"] == exchange.request_id == "id-0"


def test_queries_and_forms_are_encrypted_where_they_stand() -> None:
    """The same value is found again; every other byte stays."""
    policy = (
        POLICY.replace(
            "user.name: {mode: random}",
            "user.name: {mode: random}, login: {mode: deterministic}",
        )
        .replace(
            "  - {id: small",
            "  - id: people\n"
            "    match: GET,POST /people\n"
            "    allow: anyone\n"
            "    protect: {query: {login: login}, form: {login: login}}\n"
            "  - {id: small",
        )
        .replace("views:", "views:\n  anyone: {login: plain}")
    )
    sent = []
    form = b"next=%2F&login=ada&login_hint=ada"
    for request in (
        a_request("GET", "/people?next=%2F&login=ada&login_hint=ada"),
        a_request(
            "POST",
            "/people",
            (b"Content-Type", b"application/x-www-form-urlencoded"),
            (b"Content-Length", b"%d" % len(form)),
            body=Whole(form),
        ),
    ):
        ports = Ports()
        ports.answer.set(an_answer())
        ended = run(a_pipeline(ports, a_snapshot(policy)).handle(request, ports))

        assert ended == [None]
        assert ports.sent is not None
        sent.append(ports.sent)
    query = sent[0][0].split(b" ")[1].partition(b"?")[2]

    assert query == sent[1][1]
    assert query.startswith(b"next=%2F&login=lm1")
    assert query.endswith(b"&login_hint=ada")
    assert b"Content-Length: %d\r\n" % len(query) in sent[1][0]


@pytest.mark.parametrize(
    ("roles", "told"),
    [("student", "student"), (["pupil"], ""), (["x", "student"], "student")],
)
def test_role_that_may_not_is_told_if_the_policy_knows_it(
    roles: str | list[str], told: str
) -> None:
    """A label from a closed set: what a token makes up is none."""
    request = a_request("PUT", "/small", (b"Authorization", bearer(role=roles)))
    exchange = handled(Ports(), request)

    assert (exchange.reason, exchange.role) == (Reason.ROLE_NOT_ALLOWED, told)


def test_a_used_up_limit_says_when_to_come_back() -> None:
    """The backend never hears of it."""
    ports = Ports()
    ports.allowed = False
    handled(ports, a_request("GET", "/open"))

    assert ports.told == ["take lb:{c:192.0.2.1", "send 429", "record"]
    assert ports.got is not None
    assert b"Retry-After: 7\r\n" in ports.got[1]
    assert problem_of(ports)["detail"] == "Used up: door."


def test_the_client_behind_a_trusted_peer_has_the_bucket() -> None:
    """Its address is the first from the right that is not trusted."""
    ports = Ports()
    ports.answer.set(an_answer())
    request = a_request(
        "GET",
        "/open",
        (b"X-Forwarded-For", b"1.1.1.1, 203.0.113.9, 10.0.0.2"),
        (b"X-Request-ID", b"theirs"),
    )
    request.peer, request.peer_trusted = "10.0.0.1", True
    exchange = handled(ports, request)

    assert ports.told[0] == "take lb:{c:203.0.113.9"
    assert exchange.request_id == "theirs"


def test_a_request_holds_one_snapshot() -> None:
    """What is reloaded while it waits is for those that come after it."""
    ports = Ports()
    ports.grants = Waiter()
    pipeline = a_pipeline(ports)
    request = a_request("GET", "/users/7", (b"Authorization", bearer("student")))
    ended = run(pipeline.handle(request, ports))
    unmasked = POLICY.replace("student: {user.name: mask}", "student: {'*': plain}")
    pipeline.snapshot = a_snapshot(unmasked)
    ports.grants.set([Grant(True, 4, 0.0, 12.0)])
    ports.answer.set(an_answer(b'{"name":"Ada"}'))

    assert ended == [None]
    assert ports.got is not None
    assert ports.got[2] == '{"name":"A•••"}'.encode()


@pytest.mark.parametrize("waits_for", ["tokens", "body", "answer", "stream", "client"])
async def test_a_client_that_leaves_is_recorded_wherever_it_waits(
    waits_for: str,
) -> None:
    """Cancelled at any wait, a request ends as aborted, once, and nothing is sent."""
    ports = Ports()
    stream, abandoned = BodyStream(), []
    stream.abandoned = lambda: abandoned.append(True)
    lines = [(b"Authorization", bearer())]
    method, target, body = "GET", "/users/7", None
    if waits_for == "tokens":
        ports.grants = Waiter()
    elif waits_for == "body":
        method, body = "POST", BodyStream()
        lines.append((b"Content-Length", b"9"))
    elif waits_for == "stream":
        response = an_answer()
        response.body = stream
        ports.answer.set(response)
    elif waits_for == "client":
        target = "/open"
        response = an_answer()
        response.body = stream
        stream.feed(b"part")
        ports.answer.set(response)
        ports.write_fails = asyncio.CancelledError()
    ended: list[BaseException | None] = []
    running = step(
        a_pipeline(ports).handle(a_request(method, target, *lines, body=body), ports),
        ended.append,
    )
    running.cancel()

    assert [type(error) for error in ended] == [asyncio.CancelledError]
    assert [exchange.aborted for exchange in ports.records] == [True]
    assert not any(told.startswith("send") for told in ports.told)
    assert bool(abandoned) is (waits_for in {"stream", "client"})


def test_a_bug_is_a_500_and_is_handed_on() -> None:
    """The client learns nothing of it but that it is logged."""
    ports = Ports()
    ports.answer.fail(ZeroDivisionError("a secret"))
    exchange = handled(ports, a_request("GET", "/open"))

    assert [type(bug) for bug in ports.bugs] == [ZeroDivisionError]
    assert exchange.reason is Reason.INTERNAL
    assert ports.got is not None
    assert ports.got[0] == 500
    assert b"secret" not in ports.got[2]


def test_an_answer_that_breaks_off_breaks_the_connection() -> None:
    """Once the head is out, nothing else says that the rest is missing."""
    ports = Ports()
    response = an_answer()
    stream = BodyStream()
    response.body, response.length = stream, 10
    stream.feed(b"12345")
    ports.answer.set(response)
    ended = run(a_pipeline(ports).handle(a_request("GET", "/open"), ports))
    stream.fail(Refused(Reason.UPSTREAM_RESET))

    assert ended == [None]
    assert (ports.written, ports.aborted) == (b"12345", True)
    [exchange] = ports.records
    assert (exchange.aborted, exchange.reason) == (True, Reason.UPSTREAM_RESET)


def test_a_stream_passes_as_it_comes_and_is_timed_to_its_end() -> None:
    """The proxy's own share does not grow with a slow body."""
    ports = Ports()
    response = an_answer()
    stream = BodyStream()
    response.body, response.length = stream, None
    ports.answer.set(response)
    ended = run(a_pipeline(ports).handle(a_request("GET", "/open"), ports))
    seen = []
    for chunk in (b"a", b"b"):
        stream.feed(chunk)
        stream.wake()
        seen.append(ports.written)
    stream.finish()
    stream.wake()

    assert ended == [None]
    assert seen == [b"a", b"ab"]
    assert ports.told[-3:] == ["start 200 None", "end", "record"]
    [exchange] = ports.records
    assert exchange.total_seconds == exchange.upstream_seconds + (
        exchange.overhead_seconds
    )


@pytest.mark.parametrize(
    ("method", "status", "length"), [("HEAD", 200, 7), ("GET", 304, None)]
)
def test_answers_without_a_body_keep_their_length(
    method: str, status: int, length: int | None
) -> None:
    """HEAD promises what GET would bring."""
    ports = Ports()
    response = an_answer(b"", status)
    response.bodiless, response.length = True, length
    ports.answer.set(response)
    handled(ports, a_request(method, "/open"))

    assert ports.told[-3:] == [f"start {status} {length}", "end", "record"]


def test_a_protected_answer_to_head_promises_no_length() -> None:
    """Ciphertext and plaintext differ in length, and so would GET."""
    ports = Ports()
    response = an_answer(b"")
    response.bodiless, response.length = True, 70
    ports.answer.set(response)
    handled(ports, a_request("HEAD", "/users/7", (b"Authorization", bearer())))

    assert ports.told[-3:] == ["start 200 None", "end", "record"]


def compressed(response: Response) -> None:
    """Say that the body is compressed."""
    response.headers += raw((b"Content-Encoding", b"gzip"))


def endless(response: Response) -> None:
    """Give more than is held."""
    stream = BodyStream()
    response.body = stream
    stream.feed(b"x" * 50)


def no_json(response: Response) -> None:
    """Give half a document."""
    response.body = Whole(b'{"name":')


def tampered(response: Response) -> None:
    """Give a ciphertext that was never made."""
    response.body = Whole(b'{"name":"lm1rAAAAAAAA"}')


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (compressed, Reason.RESPONSE_UNREADABLE),
        (no_json, Reason.RESPONSE_UNREADABLE),
        (endless, Reason.RESPONSE_UNREADABLE),
        (tampered, Reason.FIELD_UNDECRYPTABLE),
    ],
)
def test_what_cannot_be_decrypted_is_not_shown(
    spoil: Callable[[Response], None], reason: Reason
) -> None:
    """Half a secret is no answer."""
    ports = Ports()
    response = an_answer(b'{"name":"Ada"}')
    spoil(response)
    ports.answer.set(response)
    request = a_request("GET", "/users/7", (b"Authorization", bearer()))
    ended = run(a_pipeline(ports).handle(request, ports))
    if isinstance(response.body, BodyStream):
        response.body.feed(b"x" * 51)
        response.body.wake()

    assert ended == [None]
    assert problem_of(ports)["reason"] == reason.slug


def test_validators_of_the_ciphertext_do_not_reach_the_client() -> None:
    """An ETag of other bytes would validate the wrong ones."""
    ports = Ports()
    ports.answer.set(an_answer())
    handled(ports, a_request("GET", "/users/7", (b"Authorization", bearer())))

    assert ports.got is not None
    assert not [line for line in ports.got[1] if line.startswith(b"ETag")]


def test_another_media_type_passes_a_protected_rule_untouched() -> None:
    """A picture has no fields."""
    ports = Ports()
    ports.answer.set(an_answer(b"\x89PNG", kind=b"image/png"))
    handled(ports, a_request("GET", "/users/7", (b"Authorization", bearer())))

    assert ports.got is not None
    assert ports.got[2] == b"\x89PNG"


@pytest.mark.parametrize(
    ("target", "length", "chunked", "allowed"),
    [
        ("/small", 4, False, True),
        ("/small", 5, False, False),
        ("/small", 4, True, True),
        ("/small", 5, True, False),
        ("/nothing", 0, False, True),
        ("/nothing", 1, False, False),
        ("/nothing", 1, True, False),
    ],
)
def test_bodies_are_bounded_by_their_rule(
    target: str, length: int, *, chunked: bool, allowed: bool
) -> None:
    """However the length is said; zero is a bound like any other."""
    ports = Ports()
    ports.answer.set(an_answer())
    framing = (
        (b"Transfer-Encoding", b"chunked")
        if chunked
        else (b"Content-Length", b"%d" % length)
    )
    exchange = handled(
        ports,
        a_request(
            "PUT",
            target,
            (b"Authorization", bearer()),
            framing,
            body=Whole(b"x" * length),
        ),
    )

    assert (exchange.reason is Reason.BODY_TOO_LARGE) is not allowed
    if allowed:
        assert ports.sent is not None
        assert b"Content-Length: %d\r\n" % length in ports.sent[0]


@pytest.mark.parametrize(
    ("framing", "line", "chunked"),
    [
        ((b"Content-Length", b"4"), b"Content-Length: 4\r\n", False),
        ((b"Transfer-Encoding", b"chunked"), b"Transfer-Encoding: chunked\r\n", True),
    ],
    ids=["length", "chunked"],
)
def test_a_body_that_is_not_there_yet_is_streamed(
    framing: tuple[bytes, bytes], line: bytes, *, chunked: bool
) -> None:
    """It is framed as its client framed it, by the proxy, and bounded on its way."""
    ports = Ports()
    ports.answer.set(an_answer())
    stream = BodyStream()
    handled(
        ports,
        a_request("PUT", "/small", (b"Authorization", bearer()), framing, body=stream),
    )

    assert ports.sent is not None
    assert line in ports.sent[0]
    assert ports.sent[1:] == (stream, chunked)
    assert stream.limit == 4


@pytest.mark.parametrize(
    ("policy", "method", "target", "status"),
    [
        (POLICY, "GET", "/health", 200),
        (POLICY, "HEAD", "/health?x", 200),
        (POLICY, "GET", "http://lms.example/health", 200),
        (POLICY, "POST", "/health", 404),
        (POLICY, "GET", "/health/", 404),
        (POLICY + "health: /-/alive\n", "GET", "/-/alive", 200),
        (POLICY + "health: /-/alive\n", "GET", "/health", 404),
        (POLICY + "health: none\n", "GET", "/health", 404),
        (POLICY.replace("/small", "/health"), "GET", "/health", 405),
    ],
)
def test_the_data_port_answers_for_itself_where_no_rule_does(
    policy: str, method: str, target: str, status: int
) -> None:
    """The backend is never asked, and what it has at that path is never hidden."""
    ports = Ports()
    ended = run(
        a_pipeline(ports, a_snapshot(policy)).handle(a_request(method, target), ports)
    )

    assert ended == [None]
    assert ports.told == [f"send {status}", "record"]
    assert (ports.records[0].reason is None) is (status == 200)


def test_what_was_no_request_is_answered_and_recorded() -> None:
    """It is closed afterwards, for nobody knows where the next one begins."""
    ports = Ports()
    ports.method = ""
    a_pipeline(ports).reject(Refused(Reason.MALFORMED, "Noise."), ports)

    assert ports.told == ["send 400", "record"]
    assert ports.closes
    assert problem_of(ports)["detail"] == "Noise."
    assert ports.records[0].method == ""
    assert ports.records[0].client == ports.peer


def test_what_must_be_audited_is_written_before_the_backend_is_asked() -> None:
    """A rule with ``audit: required`` waits for the log, after it took tokens."""
    ports = Ports()
    ports.answer.set(an_answer())
    handled(ports, a_request("GET", "/written", (b"Authorization", bearer())))

    asked = ports.told.index("exchange lms GET")
    assert ports.told[asked - 1] == "request.admitted written ada"


def test_what_cannot_be_audited_is_refused() -> None:
    """Where the log cannot be written, the backend is not asked."""
    ports = Ports()
    ports.unwritten = Refused(Reason.AUDIT_UNAVAILABLE)
    request = a_request("GET", "/written", (b"Authorization", bearer()))
    exchange = handled(ports, request)

    assert (exchange.status, exchange.reason) == (503, Reason.AUDIT_UNAVAILABLE)
    assert ports.sent is None
