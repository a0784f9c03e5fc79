"""Who is told of a request that is over."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from proxy.core.access_line import JsonLine
from proxy.core.exchange import Exchange
from proxy.core.policy_parser import parse_policy
from proxy.core.reasons import Reason
from proxy.edge.access_log import AccessLog
from proxy.edge.log_sink import LogSink
from proxy.edge.metrics import Metrics
from proxy.edge.observers import Observers
from proxy.edge.refusals import Refusals

POLICY = """
version: 1
backends: {lms: {servers: ["http://127.0.0.1:9"]}}
rules:
  - {id: plain, match: GET /plain, allow: anyone}
  - {id: noted, match: GET /noted, allow: anyone, audit: noted}
  - {id: required, match: GET /required, allow: anyone, audit: required}
"""


class Access:
    """What a log was told."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._sink = LogSink(path)
        self._sink.start()
        self.log = AccessLog(self._sink, lambda: 0.0, JsonLine)

    def rules(self) -> list[str]:
        """End it, and return the rules of its lines."""
        self._sink.stop()
        lines = self._path.read_text("utf-8").splitlines()
        return [json.loads(line)["rule"] for line in lines]


class Audit:
    """An audit log that keeps its events."""

    def __init__(self) -> None:
        self.events: list[tuple[str, Mapping[str, Any]]] = []

    def note(self, event: str, **fields: Any) -> None:
        """Write an event down."""
        self.events.append((event, fields))

    async def required(self, event: str, **fields: Any) -> None:
        """Nobody who observes waits."""
        raise AssertionError(event, fields)


def observers(audit: Audit, access: AccessLog | None = None) -> Observers:
    """Return who is told, with the policy in force."""
    policy, _ = parse_policy([("policy.yaml", POLICY)], {})
    metrics = Metrics(now=lambda: 0.0, version="1")
    told = Observers(metrics, Refusals(lambda: 0.0), access, audit)
    told.configure(policy)
    return told


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
    audit = Audit()
    observers(audit).record(an_exchange(rule, reason))
    return audit


def test_every_request_is_logged(tmp_path: Path) -> None:
    """The access log has what was served and what was refused, by the policy."""
    access = Access(tmp_path / "access.log")
    told = observers(Audit(), access.log)
    for rule, reason in (("plain", None), ("noted", Reason.RATE_LIMITED)):
        told.record(an_exchange(rule, reason))

    assert access.rules() == ["plain", "noted"]


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
