"""What a candidate would have made of what was logged."""

from collections.abc import Sequence

import pytest

from proxy.core.bucket import Grant
from proxy.core.limits import Take
from proxy.core.policy import Policy
from proxy.core.policy_parser import parse_policy
from proxy.core.workbench.log_lines import LogLine
from proxy.core.workbench.replay import SERVED, UNSURE, Replay, replay

POLICY = """
version: 1
backends: {lms: {servers: ["http://127.0.0.1:9"]}}
issuers:
  lumina:
    {issuer: lumina, audience: lms, algorithms: [HS256], secret: "${S}", roles: $.role}
roles: [student, teacher]
limits: {api: {rate: 2/minute, per: subject}}
rules:
  - {id: home, match: GET /, allow: anyone}
  - {id: user, match: "GET /users/{id}", allow: [teacher], limits: [api]}
  - {id: own, match: "GET /notes/{id}", allow: [student, teacher], owner: id}
  - {id: near, match: GET /near, allow: anyone, addresses: {allow: [10.0.0.0/8]}}
  - {id: school, match: GET /school, allow: [student], when: claims.school == 'x'}
  - {id: scoped, match: GET /scoped, allow: [student], scopes: [read]}
"""


@pytest.fixture(name="policy", scope="module")
def policy_fixture() -> Policy:
    """The candidate."""
    return parse_policy([("policy.yaml", POLICY)], {"S": "c0ffee" * 12})[0]


def line(path: str = "/", **parts: object) -> LogLine:
    """Return a line about a GET."""
    usual: dict[str, object] = {"ts": 1.0, "method": "GET", "path": path}
    return LogLine(**{**usual, **parts})  # type: ignore[arg-type]


def changes(found: Replay) -> list[tuple[str, str]]:
    """Return what was and what would be, for each change."""
    return [(one.was, one.now) for one in found.changes]


@pytest.mark.parametrize(
    ("logged", "expected"),
    [
        (line(), None),
        (line("/users/7", role="teacher"), None),
        (line("/users/7", role="student"), (SERVED, "role-not-allowed")),
        (line("/users/7"), (SERVED, "token-missing")),
        (line("/nowhere"), (SERVED, "no-rule")),
        (line(reason="no-rule"), ("no-rule", SERVED)),
        (line(shadow="no-rule"), ("no-rule", SERVED)),
        (line("/nowhere", reason="no-rule"), None),
        (line("/users/7", reason="token-expired"), None),
        (line(reason="token-expired"), ("token-expired", SERVED)),
        (line("/users/7", reason="token-missing"), None),
        (line("/users/7", role="teacher", reason="upstream-timeout"), None),
        (line("/users/7", role="teacher", reason="body-not-json"), None),
        (line("/notes/ada", role="student", subject="ada"), None),
        (line("/notes/bob", role="student", subject="ada"), (SERVED, "not-owner")),
        (line("/notes/bob", role="student"), (SERVED, UNSURE)),
        (line("/near", client="10.0.0.1"), None),
        (line("/near", client="192.0.2.1"), (SERVED, "address-not-allowed")),
        (line("/near"), (SERVED, UNSURE)),
        (line("/school", role="student"), (SERVED, UNSURE)),
        (line("/scoped", role="student"), (SERVED, UNSURE)),
        (line("/scoped", subject="ada"), (SERVED, "role-not-allowed")),
    ],
    ids=range(22),
)
def test_request_comes_out_as_the_candidate_decides(
    policy: Policy, logged: LogLine, expected: tuple[str, str] | None
) -> None:
    """And what a log does not know is not guessed."""
    found = replay(policy, [logged])

    assert found.requests == 1
    assert changes(found) == ([] if expected is None else [expected])


@pytest.mark.parametrize(
    "logged",
    [
        line(""),
        line(method=""),
        line(reason="unheard-of"),
        line(reason="malformed-request"),
    ],
    ids=["no-path", "no-method", "reason", "malformed"],
)
def test_other_lines_are_left_out(policy: Policy, logged: LogLine) -> None:
    """And counted."""
    found = replay(policy, [logged])

    assert (found.requests, found.left_out.total(), changes(found)) == (0, 1, [])


def test_limits_are_counted_by_the_time_of_the_log(policy: Policy) -> None:
    """By whose bucket it is; who is not known takes from none."""
    taken: list[tuple[str, float]] = []

    def take(takes: Sequence[Take], now: float) -> Sequence[Grant]:
        taken.append((takes[0].key.split(":")[2].rstrip("}"), now))
        return [Grant(len(taken) < 3, 0, 1.0, 1.0) for _ in takes]

    lines = [
        line("/users/7", role="teacher", subject="ada", ts=float(ts)) for ts in range(4)
    ]
    lines.append(line("/users/7", role="teacher"))
    found = replay(policy, lines, take)
    [(change, count)] = found.changes.items()

    assert taken == [("ada", 0.0), ("ada", 1.0), ("ada", 2.0), ("ada", 3.0)]
    assert (change.now, change.rule, count) == ("rate-limited", "user", 2)
    assert (change.opens, change.path, change.role) == (False, "/users/{id}", "teacher")


def test_requests_that_are_alike_are_one_change(policy: Policy) -> None:
    """Told by the shape of their path where no rule has one."""
    found = replay(policy, [line(f"/nowhere/{n}") for n in range(5)])
    [(change, count)] = found.changes.items()

    assert (change.path, change.rule, count) == ("/nowhere/{nowhere}", "", 5)
