"""What is left of limits, as operators are told."""

import dataclasses
from collections.abc import Mapping, Sequence

from proxy.core.bucket import BACKOFF, Grant
from proxy.core.limit import Limit, Login
from proxy.core.limit_fields import next_token_after
from proxy.core.limits import Quota, Take
from proxy.core.login import Tries, spelled
from proxy.core.owner import Asking
from proxy.core.policy import Rule


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class LimitStatus:
    """What is left of one limit for one subject or client.

    Attributes:
        id: the limit's name.
        per: whose bucket, in words: "subject", or "subject and path.id".
        role: whose rate this is; None where the rate is every role's.
        burst: tokens in a full bucket; None for an unlimited role.
        remaining: whole tokens left; None for an unlimited role.
        reset_after: seconds until the bucket is full, or the window over.
        retry_after: seconds until there is a token; 0.0 when there is one.
    """

    id: str
    per: str
    role: str | None
    burst: int | None = None
    remaining: int | None = None
    reset_after: float = 0.0
    retry_after: float = 0.0

    @property
    def unlimited(self) -> bool:
        """Whether there is no bucket at all."""
        return self.burst is None


Look = tuple[Limit, str | None, Take | None]
"""A limit, whose rate of it is meant, and the bucket; None for an unlimited role."""


def looks_for(limits: Sequence[Limit], role: str | None, asking: Asking) -> list[Look]:
    """Return the buckets to look into to know what somebody has left.

    Args:
        limits: of the rule.
        role: whose rate; None for every rate there is.
        asking: who it is.
    """
    looks: list[Look] = []
    for limit in limits:
        own = role if role in limit.rates else None
        for name in limit.rates if role is None else (own,):
            rate = limit.rates[name]
            take = None
            if rate is not None:
                take = Quota(limit, name, rate).take_for(asking)
            looks.append((limit, name, take))
    return looks


def asking_as(
    who: str,
    *,
    role: str | None,
    rule: Rule,
    given: Mapping[str, str],
    now_us: int,
    secret: bytes,
) -> Asking:
    """Return what a request of somebody would say.

    Args:
        who: the subject, or the client's address where a limit is per client.
        role: the acting role; None for none.
        rule: that the request would match.
        given: what limits count by beside that: ``tenant``, ``path.id`` and
            ``header.x-version`` to their values.
        now_us: epoch microseconds.
        secret: hashes what may be a secret.
    """
    asking = Asking(subject=who, client=who, role=role or "")
    asking.rule, asking.pattern = rule.id, rule.pattern
    asking.tenant = given.get("tenant", "")
    asking.given = {name.lower(): value for name, value in given.items()}
    asking.given |= {name: value for name, value in given.items() if "path." in name}
    asking.now_us, asking.secret = now_us, secret
    return asking


def login_looks(login: Login, who: str, secret: bytes) -> list[Look]:
    """Return the back-offs of somebody, as an account and as a client.

    Args:
        login: how failed log-ins are counted.
        who: the name of the account, or the address of the client.
        secret: hashes the name.
    """
    tries = Tries(login, spelled(who), who, secret)
    takes = (tries.account, tries.client)
    return [(take.quota.limit, None, take) for take in takes if take is not None]


def status_of(look: Look, grant: Grant | None) -> LimitStatus:
    """Say what a look found; ``grant`` is None where there is no bucket."""
    limit, role, take = look
    if take is None or grant is None:
        return LimitStatus(id=limit.id, per=limit.per_text, role=role)
    per = limit.per_text
    if take.limit.kind == BACKOFF:  # of a log-in: its name, and whose it is
        per = limit.id.rpartition(" ")[2]
    return LimitStatus(
        id=limit.id,
        per=per,
        role=role,
        burst=take.limit.count if take.limit.kind == BACKOFF else take.limit.burst,
        remaining=grant.remaining,
        reset_after=grant.reset_after,
        retry_after=next_token_after(take.limit, grant),
    )
