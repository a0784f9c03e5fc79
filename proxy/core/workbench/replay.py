"""What a candidate policy would have made of requests that were logged.

Each logged request is asked of the candidate, with what the log knows: method, path,
role, address, subject. What a log does not know is said and not guessed: a condition
over claims, scopes, and whether a token that was refused would be good. Limits are
counted as they would have been, by the log's own times, if the caller keeps buckets.
"""

import dataclasses
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from proxy.core.bucket import Grant
from proxy.core.errors import Refused
from proxy.core.limits import Take, takes_for
from proxy.core.looks import shape_of
from proxy.core.policy import Policy, Rule
from proxy.core.reasons import Party, Reason
from proxy.core.workbench.decision import (
    Decision,
    Identify,
    decide,
    with_roles,
    without_token,
)
from proxy.core.workbench.log_lines import LogLine

SERVED = "served"
UNSURE = "depends on what a log does not know"

_SLUGS = {reason.slug: reason for reason in Reason}
_OF_TOKENS = frozenset(one for one in Reason if one.status == 401)  # noqa: PLR2004

Taker = Callable[[Sequence[Take], float], Sequence[Grant]]
"""Takes from buckets at epoch seconds."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """Requests that would have come out otherwise.

    Attributes:
        method: upper case.
        path: of the candidate's rule, or the shape of the requests' path.
        role: the acting role in the log; "" for none.
        was: ``SERVED`` or a reason.
        now: ``SERVED``, ``UNSURE`` or a reason.
        rule: the candidate's rule; "" for none.
    """

    method: str
    path: str
    role: str
    was: str
    now: str
    rule: str

    @property
    def opens(self) -> bool:
        """Whether more would have been served."""
        return self.now == SERVED


@dataclasses.dataclass(slots=True)
class Replay:
    """What came out.

    Attributes:
        requests: that were asked.
        left_out: lines that say nothing about a policy, by why.
        changes: how often each occurred.
    """

    requests: int = 0
    left_out: Counter[str] = dataclasses.field(default_factory=Counter)
    changes: Counter[Change] = dataclasses.field(default_factory=Counter)


def replay(
    policy: Policy, lines: Iterable[LogLine], take: Taker | None = None
) -> Replay:
    """Ask a policy about every line.

    Args:
        policy: the candidate; decides as if all of it were enforced.
        lines: in the order of time.
        take: takes from buckets; None leaves limits out.
    """
    found = Replay()
    for line in lines:
        was = _was(line)
        if not line.method or not line.path or was is None:
            found.left_out["no request that a policy decides"] += 1
            continue
        found.requests += 1
        decision = decide(policy, line.method, line.path, _identify(policy, line))
        now = _now(line, decision, take)
        if now != was:
            found.changes[_change(line, decision, was, now)] += 1
    return found


def _was(line: LogLine) -> str | None:
    """Return what the log says of a request; None when no policy decided it."""
    slug = line.reason or line.shadow
    if not slug:
        return SERVED
    reason = _SLUGS.get(slug)
    if reason is None or reason is Reason.MALFORMED:
        return None
    # Whatever came after the decision: it had been let through.
    return SERVED if reason.party is not Party.CLIENT or _of_bodies(reason) else slug


def _of_bodies(reason: Reason) -> bool:
    return reason.status in (400, 413, 415, 422) and reason is not Reason.PATH_AMBIGUOUS


def _identify(policy: Policy, line: LogLine) -> Identify:
    """Return who was asking, as far as the log knows."""
    reason = _SLUGS.get(line.reason or line.shadow)
    if reason in _OF_TOKENS and reason is not Reason.TOKEN_MISSING:
        return _refusing(reason)
    if line.role or line.subject:
        return with_roles(*filter(None, [line.role]))
    return without_token(policy, line.ts)


def _refusing(reason: Reason) -> Identify:
    def identify() -> object:
        raise Refused(reason)

    return identify  # type: ignore[return-value]


def _now(line: LogLine, decision: Decision, take: Taker | None) -> str:
    rule = decision.rule
    if decision.reason is not None or rule is None:
        return decision.reason.slug if decision.reason else SERVED
    guarded = _guarded(line, decision, rule)
    if guarded is not None:
        return guarded
    return SERVED if take is None else _taken(line, decision, rule, take)


def _guarded(line: LogLine, decision: Decision, rule: Rule) -> str | None:
    """Return what a rule's guard would say; None when it lets pass."""
    guard = rule.guard
    if guard is None:
        return None
    try:
        if line.client:
            guard.check_address(line.client)
    except Refused as refused:
        return refused.reason.slug
    if guard.owner is not None and line.subject:
        owned = decision.params.get(guard.owner, "")
        if owned != line.subject:
            return Reason.NOT_OWNER.slug
    unknown = (
        (guard.addresses and not line.client)
        or guard.scopes
        or (guard.owner and not line.subject)
        or guard.condition
    )
    return UNSURE if unknown else None


def _taken(line: LogLine, decision: Decision, rule: Rule, take: Taker) -> str:
    takes = takes_for(
        rule.limits, role=decision.role, subject=line.subject, client=line.client
    )
    known = [one for one in takes if line.subject or line.client]
    if known and not all(grant.allowed for grant in take(known, line.ts)):
        return Reason.RATE_LIMITED.slug
    return SERVED


def _change(line: LogLine, decision: Decision, was: str, now: str) -> Change:
    rule = decision.rule
    return Change(
        method=line.method,
        path=rule.pattern.text if rule else _shown(shape_of(line.path)),
        role=line.role,
        was=was,
        now=now,
        rule=rule.id if rule else "",
    )


def _shown(path: str) -> str:
    """Return a path that may be printed."""
    return re.sub(r"[^!-~]", "?", path)
