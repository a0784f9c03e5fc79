"""What is remembered of refusals, and what is not."""

import pytest

from proxy.core.exchange import Exchange
from proxy.core.reasons import Reason
from proxy.edge.audit_log import AuditLines
from proxy.edge.metrics import Metrics
from proxy.edge.observers import Observers
from proxy.edge.refusals import Refusals

NOW = 1_772_452_800.0


def over(request_id: str, **parts: object) -> Exchange:
    """Return an exchange that is over."""
    exchange = Exchange("GET")
    exchange.request_id = request_id
    exchange.subject, exchange.client = "ada", "192.0.2.1"
    for name, value in parts.items():
        setattr(exchange, name, value)
    return exchange


def observers(kept: int = 10) -> tuple[Observers, Refusals]:
    """Return who is told, and who remembers."""
    refusals = Refusals(lambda: NOW, kept)
    metrics = Metrics(now=lambda: NOW, version="1")
    return Observers(metrics, refusals, None, AuditLines()), refusals


def test_refusal_is_found_by_its_id() -> None:
    """With the rule, the stage, the reason and the policy; without who it was."""
    told, refusals = observers()
    told.record(
        over(
            "a-1",
            path="/users/7",
            rule="user",
            role="student",
            reason=Reason.NOT_OWNER,
            detail="x",
            status=403,
            policy="0123456789abcdef",
        )
    )

    assert refusals.find("a-1") == {
        "request_id": "a-1",
        "ts": NOW,
        "method": "GET",
        "path": "/users/7",
        "status": 403,
        "stage": "authorise",
        "reason": "not-owner",
        "detail": "x",
        "rule": "user",
        "role": "student",
        "shadow": False,
        "policy": "0123456789abcdef",
    }


def test_what_shadow_mode_noted_is_found_too() -> None:
    """Marked as what it is."""
    told, refusals = observers()
    told.record(over("a-1", shadow=Reason.TOKEN_MISSING, status=200))
    found = refusals.find("a-1")

    assert found is not None
    assert (found["shadow"], found["reason"]) == (True, "token-missing")


@pytest.mark.parametrize("request_id", ["a-1", "a-2", ""])
def test_other_requests_are_not_remembered(request_id: str) -> None:
    """Those that were served, and those that have no id to be found by."""
    told, refusals = observers()
    told.record(over("a-1"))
    told.record(over("", reason=Reason.MALFORMED))

    assert refusals.find(request_id) is None


def test_the_oldest_are_forgotten() -> None:
    """And an id that comes again is the later request's."""
    told, refusals = observers(kept=2)
    for name, reason in (
        ("a", Reason.NO_RULE),
        ("b", Reason.NO_RULE),
        ("b", Reason.NOT_OWNER),
        ("c", Reason.NO_RULE),
    ):
        told.record(over(name, reason=reason))
    found = [refusals.find(name) for name in "abc"]

    assert found[0] is None
    assert [one["reason"] for one in found if one] == ["not-owner", "no-rule"]


def test_observers_pass_on_what_is_not_a_request() -> None:
    """Protected leaves and bugs are counted as ever."""
    metrics = Metrics(now=lambda: NOW, version="1")
    told = Observers(metrics, Refusals(lambda: NOW), None, AuditLines())
    told.cipher("user.name", "encrypt", "ok", "00000001")
    told.failed(ValueError(), over("a-1"))
    counts = metrics.numbers().values

    assert sum(counts["lumina_cipher_operations"].values()) == 1
    assert sum(counts["lumina_internal_errors"].values()) == 1
