"""A decision in sentences: stage by stage, and what to do about a refusal.

Read by people who did not write the policy, so it names what they can look up in it.
"""

import dataclasses
import enum
from collections.abc import Callable, Iterator, Mapping

from proxy.core.policy import View
from proxy.core.reasons import Reason
from proxy.core.workbench.decision import Decision, Stage
from proxy.core.workbench.wording import (
    allow_text,
    joined,
    limit_text,
    login_text,
    match_text,
    rate_text,
)


class Verdict(enum.Enum):
    """What a stage says to a request."""

    OK = "ok"
    REFUSED = "refused"
    NOT_REACHED = "not reached"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One stage of a decision.

    Attributes:
        stage: which.
        verdict: what it says.
        details: why, a line each; empty when it was not reached.
    """

    stage: Stage
    verdict: Verdict
    details: tuple[str, ...]


def steps(decision: Decision) -> tuple[Step, ...]:
    """Return every stage with its verdict, in the order of the data path."""
    taken = []
    verdict = Verdict.OK
    for stage in Stage:
        if stage is Stage.ADDRESS and not _asks_address(decision):
            continue
        if verdict is not Verdict.OK:
            verdict = Verdict.NOT_REACHED
        elif stage is decision.stage:
            verdict = Verdict.REFUSED
        details = () if verdict is Verdict.NOT_REACHED else _details(decision, stage)
        taken.append(Step(stage=stage, verdict=verdict, details=tuple(details)))
    return tuple(taken)


def _asks_address(decision: Decision) -> bool:
    guard = decision.rule.guard if decision.rule else None
    return guard is not None and guard.addresses is not None


_HOW = {View.PLAIN: "decrypted", View.MASK: "masked", View.DROP: "left out"}
"""What is done to a value for a view, where its name does not say it."""


def _details(decision: Decision, stage: Stage) -> Iterator[str]:
    if stage is decision.stage and decision.refused:
        yield decision.refused.reason.title
        if decision.refused.detail:
            yield decision.refused.detail
    yield from _DETAILS[stage](decision)


def _matching(decision: Decision) -> Iterator[str]:
    if decision.rule:
        yield f"{decision.rule.id}: {match_text(decision.rule)}"
    for name, value in decision.params.items():
        yield f"{name} = {value}"


def _address(decision: Decision) -> Iterator[str]:
    guard = decision.rule.guard if decision.rule else None
    if guard and guard.addresses:
        if guard.addresses.allow:
            yield f"allowed: {joined(map(str, guard.addresses.allow.networks))}"
        if guard.addresses.deny:
            yield f"denied: {joined(map(str, guard.addresses.deny.networks))}"
        if decision.granted:
            yield "taken for granted: an address that may"


def _guard(decision: Decision) -> Iterator[str]:
    """Say what the rule asks beside a role."""
    guard = decision.rule.guard if decision.rule else None
    if guard is None:
        return
    asked: list[str] = []
    if guard.step_up:
        asked += guard.step_up.parts()
    if guard.scopes:
        asked.append(f"the token has the scopes {joined(guard.scopes)}")
    if guard.owner:
        asked.append(f"{guard.owner} of the path is the token's sub")
    if guard.condition:
        asked.append(" ".join(guard.condition.text.split()))
    for one in asked:
        yield f"taken for granted: {one}" if decision.granted else f"asks: {one}"


def _authentication(decision: Decision) -> Iterator[str]:
    principal = decision.principal
    if decision.rule and decision.rule.allow is None:
        yield "no token is asked for"
    elif principal and not principal.issuer:
        yield f"taken for granted: a token with the role {joined(principal.roles)}"
    elif principal:
        yield f"the subject {principal.subject!r}, by the issuer {principal.issuer}"
        yield f"with the roles {joined(principal.roles)}"


def _authorisation(decision: Decision) -> Iterator[str]:
    principal = decision.principal
    if decision.rule and decision.rule.allow is None:
        yield "anyone may"
    elif decision.rule and decision.refused and principal and not decision.role:
        roles = joined(principal.roles)
        yield f"The rule allows {allow_text(decision.rule)}; the token has {roles}."
    elif decision.rule:
        yield f"acts as {decision.role}; the rule allows {allow_text(decision.rule)}"
    if not (decision.refused and decision.reason is Reason.ROLE_NOT_ALLOWED):
        yield from _guard(decision)


def _limits(decision: Decision) -> Iterator[str]:
    for take in decision.takes:
        yield f"{take.id}: {limit_text(take.quota.limit, take.limit)}"
    for limit in decision.unlimited:
        yield f"{limit.id}: {rate_text(None)}"
    login = decision.rule.login if decision.rule else None
    if login is not None:
        yield login_text(login)
    elif not decision.takes and not decision.unlimited:
        yield "none"


def _encryption(decision: Decision) -> Iterator[str]:
    for place, field in decision.encrypted:
        yield f"{place} is encrypted as {field}"
    if not decision.encrypted:
        yield "nothing: the body passes as it is"


def _decryption(decision: Decision) -> Iterator[str]:
    for place, field, view in decision.shown:
        yield f"{place} is {field}, {_HOW.get(view, f'shown as {view.value}')}"
    if not decision.shown:
        yield "nothing: the answer passes as it is"


_DETAILS: Mapping[Stage, Callable[[Decision], Iterator[str]]] = {
    Stage.MATCH: _matching,
    Stage.ADDRESS: _address,
    Stage.AUTHENTICATE: _authentication,
    Stage.AUTHORISE: _authorisation,
    Stage.LIMITS: _limits,
    Stage.ENCRYPT: _encryption,
    Stage.DECRYPT: _decryption,
}
"""What there is to say of each stage."""
