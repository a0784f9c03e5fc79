"""Guards and shadow mode on the data path, with the pipeline's ports in memory."""

from collections.abc import Sequence
from typing import Any

import pytest

from proxy.core.bucket import Grant
from proxy.core.exchange import Exchange
from proxy.core.limits import Take
from proxy.core.message import Whole
from proxy.core.reasons import Reason
from proxy.edge.waiter import Waiter
from tests.test_pipeline import Ports as PipelinePorts
from tests.test_pipeline import (
    a_pipeline,
    a_request,
    a_snapshot,
    an_answer,
    bearer,
    run,
)


class Ports(PipelinePorts):
    """Ports whose store knows takes that are only counted."""

    def take(self, takes: Sequence[Take]) -> Waiter[list[Grant]]:
        """Answer with a token from each bucket, or with none."""
        self.told.append("take " + " ".join(take.key.split("}")[0] for take in takes))
        return Waiter.of([Grant(self.allowed, 4, 7.0, 12.0) for _ in takes])


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
roles: [student, {teacher: [student]}, guest]
addresses: {campus: [192.0.2.0/24]}
limits: {api: {rate: 5/minute, per: subject}}
rules:
  - {id: own, match: "GET /users/{id}", allow: [student], owner: id, limits: [api]}
  - {id: scoped, match: GET /scoped, allow: [student], scopes: [read]}
  - id: condition
    match: GET /notes/{id}
    allow: [teacher]
    when: claims.school == path.id && role == 'teacher'
  - {id: campus, match: GET /campus, allow: anyone, addresses: {allow: [campus]}}
  - {id: barred, match: GET /barred, allow: [student], addresses: {deny: [campus]}}
  - {id: browsers, match: GET /page, allow: anyone, when: "'accept' in headers"}
  - {id: small, match: PUT /small, allow: anyone, max_body: 4B}
"""
SHADOW = POLICY.replace("version: 1", "version: 1\nmode: shadow")


def handled(ports: Ports, request: Any, policy: str = POLICY) -> Exchange:
    """Run one request to its end, and return what was recorded of it."""
    ports.answer.set(an_answer())
    assert run(a_pipeline(ports, a_snapshot(policy)).handle(request, ports)) == [None]
    [exchange] = ports.records
    return exchange


def asking(target: str, role: str = "student", **claims: Any) -> Any:
    """Return a GET with a token."""
    return a_request("GET", target, (b"Authorization", bearer(role, **claims)))


DECISIONS = [
    pytest.param(asking("/users/ada"), None, id="own"),
    pytest.param(asking("/users/ada", "teacher"), None, id="inherited"),
    pytest.param(asking("/users/bob"), Reason.NOT_OWNER, id="not-own"),
    pytest.param(asking("/users/ada", "guest"), Reason.ROLE_NOT_ALLOWED, id="role"),
    pytest.param(asking("/scoped", scope="read write"), None, id="scope"),
    pytest.param(asking("/scoped"), Reason.SCOPE_MISSING, id="no-scope"),
    pytest.param(asking("/notes/7", "teacher", school="7"), None, id="condition"),
    pytest.param(
        asking("/notes/7", "teacher", school="8"),
        Reason.CONDITION_NOT_MET,
        id="condition-not-met",
    ),
    pytest.param(
        asking("/notes/7", "teacher"), Reason.CONDITION_FAILED, id="condition-failed"
    ),
    pytest.param(a_request("GET", "/campus"), None, id="address"),
    pytest.param(asking("/barred"), Reason.ADDRESS_NOT_ALLOWED, id="barred"),
    pytest.param(
        a_request("GET", "/barred"), Reason.ADDRESS_NOT_ALLOWED, id="barred-first"
    ),
    pytest.param(
        a_request("GET", "/page", (b"Accept", b"*/*")), None, id="anyone-with-accept"
    ),
    pytest.param(
        a_request("GET", "/page"), Reason.CONDITION_NOT_MET, id="anyone-without"
    ),
    pytest.param(a_request("GET", "/users/ada"), Reason.TOKEN_MISSING, id="token"),
]


@pytest.mark.parametrize(("request_", "expected"), DECISIONS)
def test_rule_asks_for_more_than_a_role(request_: Any, expected: Reason | None) -> None:
    """Each for its own reason; who is refused never reaches the backend."""
    ports = Ports()
    exchange = handled(ports, request_)

    assert (exchange.reason, exchange.shadow) == (expected, None)
    assert ("exchange lms GET" in ports.told) is (expected is None)


@pytest.mark.parametrize(("request_", "expected"), DECISIONS)
def test_shadow_decides_the_same_and_refuses_nothing(
    request_: Any, expected: Reason | None
) -> None:
    """The same reason is noted, and the backend answers."""
    ports = Ports()
    exchange = handled(ports, request_, SHADOW)

    assert (exchange.reason, exchange.shadow) == (None, expected)
    assert (exchange.status, "exchange lms GET" in ports.told) == (200, True)


def test_address_of_the_client_counts_and_not_that_of_a_trusted_peer() -> None:
    """As for limits: whom the trusted proxy names."""
    reasons = []
    for told in (b"192.0.2.9", b"203.0.113.1"):
        request = a_request("GET", "/campus", (b"X-Forwarded-For", told))
        request.peer, request.peer_trusted = "10.0.0.1", True
        reasons.append(handled(Ports(), request).reason)

    assert reasons == [None, Reason.ADDRESS_NOT_ALLOWED]


@pytest.mark.parametrize(
    ("request_", "told", "silent"),
    [
        (asking("/users/bob"), [b"Subject: ada", b"Role: student"], []),
        (asking("/users/ada", "guest"), [b"Subject: ada", b"Role: guest"], []),
        (asking("/users/ada", "stranger"), [b"Subject: ada"], [b"Role:"]),
        (asking("/barred"), [b"Subject: ada", b"Role: student"], []),
        (asking("/users/ada", exp=1), [], [b"X-Lumina-Subject", b"X-Lumina-Role"]),
    ],
    ids=["not-own", "role", "unknown-role", "address", "expired"],
)
def test_in_shadow_mode_the_backend_is_told_what_was_proved(
    request_: Any, told: list[bytes], silent: list[bytes]
) -> None:
    """Who has a good token is told, whatever would be refused; nobody else is."""
    ports = Ports()
    handled(ports, request_, SHADOW)

    assert ports.sent is not None
    assert all(b"X-Lumina-" + one in ports.sent[0] for one in told)
    assert not any(one in ports.sent[0] for one in silent)


def test_shadow_takes_from_buckets_of_its_own() -> None:
    """What is not enforced takes nothing from what is, and clients are not told."""
    ports = Ports()
    ports.allowed = False
    exchange = handled(ports, asking("/users/ada"), SHADOW)
    enforced = Ports()
    handled(enforced, asking("/users/ada"))
    policies = [a_snapshot(text).policy for text in (POLICY, SHADOW)]

    assert exchange.shadow is Reason.RATE_LIMITED
    assert ports.got is not None
    assert not any(b"RateLimit" in line for line in ports.got[1])
    assert ports.told[:2] == ["take lb:{s:ada", "exchange lms GET"]
    assert [policy.rules[0].limits[0].shadow for policy in policies] == [False, True]


def test_what_would_be_refused_takes_no_tokens() -> None:
    """A decision ends with its first refusal, in shadow mode, too."""
    ports = Ports()
    handled(ports, asking("/users/bob"), SHADOW)

    assert not [one for one in ports.told if one.startswith("take")]


@pytest.mark.parametrize(
    ("method", "target", "expected"),
    [
        ("GET", "/nowhere?a=b", Reason.NO_RULE),
        ("DELETE", "/page?a=b", Reason.METHOD_NOT_ALLOWED),
        ("GET", "/a/../page?a=b", Reason.PATH_AMBIGUOUS),
    ],
)
def test_policy_in_shadow_mode_passes_what_no_rule_matches(
    method: str, target: str, expected: Reason
) -> None:
    """As it was sent, for the backend is who would have got it without the proxy."""
    ports = Ports()
    exchange = handled(ports, a_request(method, target), SHADOW)

    assert (exchange.rule, exchange.reason, exchange.shadow) == ("", None, expected)
    assert ports.sent is not None
    assert ports.sent[0].startswith(f"{method} {target} HTTP/1.1\r\n".encode())


@pytest.mark.parametrize(
    ("method", "target", "status"),
    [("GET", "/health", 200), ("TRACE", "/page", 405), ("GET", "*", 400)],
)
def test_some_requests_are_for_no_backend(
    method: str, target: str, status: int
) -> None:
    """Not even in shadow mode: probes of the proxy, echoes, and what has no path."""
    ports = Ports()
    exchange = handled(ports, a_request(method, target), SHADOW)

    assert (exchange.status, ports.sent) == (status, None)


def test_one_rule_may_be_in_shadow_mode() -> None:
    """The others are enforced, and so is that there is a rule."""
    policy = POLICY.replace("owner: id,", "owner: id, mode: shadow,")
    served = handled(Ports(), asking("/users/bob"), policy)
    refused = handled(Ports(), asking("/scoped"), policy)
    unmatched = handled(Ports(), asking("/nowhere"), policy)

    assert (served.reason, served.shadow) == (None, Reason.NOT_OWNER)
    assert (refused.reason, refused.shadow) == (Reason.SCOPE_MISSING, None)
    assert unmatched.reason is Reason.NO_RULE


@pytest.mark.parametrize(
    ("size", "expected"), [(4, None), (5, Reason.BODY_TOO_LARGE), (2000, None)]
)
def test_body_of_any_length_passes_in_shadow_mode(
    size: int, expected: Reason | None
) -> None:
    """That it is longer than its rule accepts is noted where its length is told."""
    ports = Ports()
    lines = [(b"Content-Length", b"%d" % size)] if size < 1000 else []
    lines += [(b"Transfer-Encoding", b"chunked")] if size >= 1000 else []
    request = a_request("PUT", "/small", *lines, body=Whole(b"x" * size))
    exchange = handled(ports, request, SHADOW)

    assert (exchange.reason, exchange.shadow) == (None, expected)
    assert ports.sent is not None
    assert ports.sent[1] == b"x" * size


def test_what_is_protected_stays_protected() -> None:
    """A body that cannot be encrypted is refused, whatever the mode."""
    protecting = SHADOW.replace(
        "match: PUT /small, allow: anyone, max_body: 4B",
        "match: PUT /small, allow: anyone, protect: {request: {$.name: name}}",
    ).replace("rules:\n", "fields: {name: {mode: random}}\nrules:\n")
    results = []
    for body in (b'{"name":"Ada"}', b"name=Ada"):
        ports = Ports()
        kind = b"application/json" if body.startswith(b"{") else b"text/plain"
        lines = (b"Content-Length", b"%d" % len(body)), (b"Content-Type", kind)
        request = a_request("PUT", "/small", *lines, body=Whole(body))
        results.append((handled(ports, request, protecting).reason, ports.sent))

    assert results[0][0] is None
    assert results[0][1] is not None
    assert b"Ada" not in results[0][1][1]  # type: ignore[operator]
    assert results[1] == (Reason.MEDIA_TYPE_NOT_ALLOWED, None)
