"""What came out of test cases, and how much of a policy they cover.

Covered is a pair of a rule and a role: for each rule, every role that it allows, one
that it does not allow (if the policy has such a role), and somebody without a token.
"""

import dataclasses
from collections.abc import Iterable, Iterator, Mapping

from proxy.core.policy import ANYONE, Policy, Rule, View
from proxy.core.reasons import Reason
from proxy.core.workbench.cases import ALLOWED, REFUSED, Case, Expectation
from proxy.core.workbench.decision import Decision, Stage, decide
from proxy.core.workbench.explanation import steps
from proxy.core.workbench.wording import rate_text

ANOTHER_ROLE = "a role that it does not allow"
"""Whom a pair is about that shows a rule refusing."""

Pair = tuple[str, str]
"""(id of a rule, role, ``ANYONE`` or ``ANOTHER_ROLE``)."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Mismatch:
    """One thing that came out otherwise, in words."""

    what: str
    expected: str
    actual: str


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What came out of one case.

    Attributes:
        mismatches: what was expected otherwise; empty when the case passed.
    """

    case: Case
    decision: Decision
    mismatches: tuple[Mismatch, ...]

    @property
    def why(self) -> str:
        """What the policy said: of the stage that refused, or of the match."""
        stage = self.decision.stage or Stage.MATCH
        said = next(step for step in steps(self.decision) if step.stage is stage)
        return " ".join(said.details)


def run(policy: Policy, case: Case) -> Result:
    """Ask the policy what the case asks."""
    here = policy.at(case.listener)
    decision = decide(here, case.method, case.path, case.identify, case.facts)
    return Result(
        case=case,
        decision=decision,
        mismatches=tuple(_mismatches(case.expect, decision)),
    )


def _mismatches(expect: Expectation, decision: Decision) -> Iterator[Mismatch]:
    rule = decision.rule
    pairs = (
        ("outcome", _expected_outcome(expect), _outcome(expect, decision)),
        ("rule", expect.rule, rule.id if rule else "none"),
        ("role", expect.role, decision.role or "none"),
        ("backend", expect.backend, rule.backend.id if rule else "none"),
        ("limits", *_limits(expect, decision)),
        ("encrypted", _words(expect.encrypted), _words(_encrypted(decision))),
        ("plain", _words(expect.plain), _words(decision.fields_seen(View.PLAIN))),
        ("masked", _words(expect.masked), _words(decision.fields_hidden)),
    )
    for what, expected, actual in pairs:
        if expected is not None and expected != actual:
            yield Mismatch(what=what, expected=expected, actual=actual or "")


def _expected_outcome(expect: Expectation) -> str:
    return _told(REFUSED, expect.reason) if not expect.allowed else ALLOWED


def _outcome(expect: Expectation, decision: Decision) -> str:
    if decision.reason is None:
        return ALLOWED
    # Whoever expects any refusal is content with this one.
    any_will_do = not expect.allowed and expect.reason is None
    return _told(REFUSED, None if any_will_do else decision.reason)


def _told(word: str, reason: Reason | None) -> str:
    return f"{word} with {reason.slug}" if reason else word


def _limits(expect: Expectation, decision: Decision) -> tuple[str | None, str]:
    """Return the expected and the actual limits, with rates where they count."""
    if expect.limits is None:
        return None, ""
    rates = {take.id: rate_text(take.limit) for take in decision.takes}
    if not any(expect.limits.values()):
        return _words(frozenset(expect.limits)), _words(frozenset(rates)) or ""
    rates |= {limit.id: rate_text(None) for limit in decision.unlimited}
    return _table(expect.limits), _table(rates)


def _table(rates: Mapping[str, str]) -> str:
    return ", ".join(f"{name}: {rates[name]}" for name in sorted(rates)) or "none"


def _words(words: frozenset[str] | None) -> str | None:
    return None if words is None else ", ".join(sorted(words)) or "none"


def _encrypted(decision: Decision) -> frozenset[str]:
    return frozenset(field for _, field in decision.encrypted)


def pairs_of(policy: Policy) -> tuple[Pair, ...]:
    """Return every pair of a policy, in its order."""
    return tuple(
        (rule.id, who) for rule in policy.rules for who in _askers(policy, rule)
    )


def _askers(policy: Policy, rule: Rule) -> Iterator[str]:
    if rule.allow is not None:
        yield from (role for role in policy.roles if role in rule.allow)
        if not rule.allow.issuperset(policy.roles):
            yield ANOTHER_ROLE
    yield ANYONE


def covered(results: Iterable[Result]) -> frozenset[Pair]:
    """Return the pairs that passed cases show."""
    return frozenset(
        (result.decision.rule.id, who)
        for result in results
        if result.decision.rule and not result.mismatches
        for who in [_shown(result.decision, result.decision.rule)]
        if who
    )


def _shown(decision: Decision, rule: Rule) -> str | None:
    """Return whom a decision says something about; None for nobody in particular."""
    match decision.reason:
        case None:
            return ANYONE if rule.allow is None else decision.role
        case Reason.ROLE_NOT_ALLOWED:
            return ANOTHER_ROLE
        case Reason.TOKEN_MISSING:
            return ANYONE
        case _:
            return None
