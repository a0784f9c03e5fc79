"""Who is told of a request that is over."""

from collections.abc import Mapping
from typing import Any

import pytest

from proxy.core.exchange import Exchange
from proxy.core.policy import Policy
from proxy.core.policy_parser import parse_policy
from proxy.core.reasons import Reason
from proxy.observers import Observers

POLICY = """
version: 1
backends: {lms: {servers: ["http://127.0.0.1:9"]}}
rules:
  - {id: plain, match: GET /plain, allow: anyone}
  - {id: noted, match: GET /noted, allow: anyone, audit: noted}
  - {id: required, match: GET /required, allow: anyone, audit: required}
"""


class Everybody:
    """Metrics, access log and audit log in one, noting what each is told."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.events: list[tuple[str, Mapping[str, Any]]] = []

    def record(self, exchange: Exchange) -> None:
        """Count."""
        self.told.append(f"metrics {exchange.rule}")

    def cipher(self, field: str, operation: str, outcome: str, key: str) -> None:
        """Count a leaf."""
        self.told.append(f"cipher {field} {operation} {outcome} {key}")

    def failed(self, error: BaseException, exchange: Exchange) -> None:
        """Count a bug."""
        self.told.append(f"failed {error} {exchange.rule}")

    def configure(self, policy: Policy) -> None:
        """Follow a policy."""
        self.told.append(f"configure {len(policy.rules)}")


class Access(Everybody):
    """An access log."""

    def note(self, exchange: Exchange) -> None:
        """Log a request."""
        self.told.append(f"access {exchange.rule}")


class Audit(Everybody):
    """An audit log."""

    def note(self, event: str, **fields: Any) -> None:
        """Write an event down."""
        self.events.append((event, fields))

    async def required(self, event: str, **fields: Any) -> None:
        """Nobody who observes waits."""
        raise AssertionError(event, fields)


def an_exchange(rule: str, reason: Reason | None = None) -> Exchange:
    """Return a request of Ada's that is over."""
    exchange = Exchange("GET", 1.0, "192.0.2.1")
    exchange.rule = exchange.path = rule
    exchange.request_id = "id-1"
    exchange.subject = "ada"
    exchange.reason = reason
    exchange.status = 200 if reason is None else reason.status
    return exchange


DESCRIBED = {
    "request_id": "id-1",
    "client": "192.0.2.1",
    "method": "GET",
    "path": "noted",
    "rule": "noted",
    "subject": "ada",
}


def observed(rule: str, reason: Reason | None = None) -> Audit:
    """Let a request be observed; return the audit log."""
    policy, _ = parse_policy([("policy.yaml", POLICY)], {})
    audit = Audit()
    observers = Observers(Everybody(), None, audit)
    observers.configure(policy)
    observers.record(an_exchange(rule, reason))
    return audit


def test_everybody_is_told_once() -> None:
    """Metrics and access log have every request; leaves and bugs are the metrics'."""
    policy, _ = parse_policy([("policy.yaml", POLICY)], {})
    metrics, access = Everybody(), Access()
    observers = Observers(metrics, access, Audit())
    observers.configure(policy)
    observers.record(an_exchange("plain"))
    observers.cipher("user.name", "encrypt", "ok", "k")
    observers.failed(ValueError("x"), an_exchange("plain"))

    assert access.told == ["configure 3", "access plain"]
    assert metrics.told == [
        *("metrics plain", "cipher user.name encrypt ok k", "failed x plain"),
    ]


@pytest.mark.parametrize(
    "reason", [Reason.TOKEN_MISSING, Reason.TOKEN_EXPIRED, Reason.ROLE_NOT_ALLOWED]
)
def test_who_is_turned_away_is_audited(reason: Reason) -> None:
    """A token that is not good and a role that may not are security events."""
    event = {"reason": reason.slug, **DESCRIBED}

    assert observed("noted", reason).events == [("request.refused", event)]


@pytest.mark.parametrize(
    "reason", [Reason.NO_RULE, Reason.RATE_LIMITED, Reason.UPSTREAM_RESET]
)
def test_other_refusals_are_not_audited(reason: Reason) -> None:
    """What says nothing about who asked is in metrics and the access log."""
    assert observed("noted", reason).events == []


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("plain", []),
        ("noted", [("request.served", DESCRIBED)]),
        ("required", []),
    ],
    ids=["plain", "noted", "required-was-written-before"],
)
def test_rule_says_what_is_audited(rule: str, expected: list[Any]) -> None:
    """What a rule serves is audited where it says so."""
    assert observed(rule).events == expected
