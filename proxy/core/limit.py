"""What a policy says of how much somebody may ask: limits, costs and log-ins.

Frozen values, as ``policy`` has them; ``limits`` makes buckets of them.
"""

import dataclasses
import datetime as dt
import enum
from collections.abc import Mapping

from proxy.core.bucket import RateLimit
from proxy.core.fields import Selection
from proxy.core.parameters import Parameters


class Per(enum.Enum):
    """What has a bucket of its own.

    CLIENT is an address, of IPv6 its /64. SUBJECT, ROLE, RULE and TENANT are those of
    the request, EVERYONE is one bucket for all of them. HEADER is the value of a field
    and PATH that of a parameter of the path, which have a name.
    """

    CLIENT = "client"
    SUBJECT = "subject"
    ROLE = "role"
    RULE = "rule"
    TENANT = "tenant"
    EVERYONE = "everyone"
    HEADER = "header"
    PATH = "path"


@dataclasses.dataclass(frozen=True, slots=True)
class Part:
    """A part of what has a bucket of its own.

    Attributes:
        per: what it is.
        name: of the field, in lower case, or of the parameter; "" for the others.
    """

    per: Per
    name: str = ""

    @property
    def text(self) -> str:
        """As the policy writes it."""
        return f"{self.per.value}.{self.name}" if self.name else self.per.value


class CostOf(enum.Enum):
    """What says how many tokens a request costs."""

    FIXED = "fixed"
    HEADER = "header"
    BODY = "body"
    RESPONSE_HEADER = "response_header"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """How many tokens a request costs.

    Attributes:
        of: what says so.
        tokens: the fixed cost; where a field says it, the cost when it is not there.
        name: of the field, in lower case.
        unit: bytes of the request's body that cost a token.
        most: the highest cost.
    """

    of: CostOf = CostOf.FIXED
    tokens: int = 1
    name: str = ""
    unit: int = 0
    most: int = 0


ONE_TOKEN = Cost()


class OnStoreFailure(enum.Enum):
    """What a limit does while the shared store of buckets does not answer.

    LOCAL: the process's own buckets answer, each with its share of the rate. ALLOW: the
    limit does not count. DENY: it refuses.
    """

    LOCAL = "local"
    ALLOW = "allow"
    DENY = "deny"


class Precision(enum.Enum):
    """How a limit is counted.

    EXACT: each take asks the store. LEASED: a process takes tokens ahead, so that most
    takes ask nobody, and what others have in hand is missing from the bucket.
    """

    EXACT = "exact"
    LEASED = "leased"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """A rate limit with a name.

    Attributes:
        id: the name in the policy, or ``<rule id>#<index>`` for one written inline.
        per: whose bucket; of several parts the first.
        parts: all that together has a bucket of its own; empty where that is ``per``.
        rates: the rate of each role; the key None is the rate of every role that has
            no key of its own. A value of None means unlimited.
        on_store_failure: what it does while the store does not answer.
        precision: how it is counted.
        shadow: whether it, or its rule, is in shadow mode, and so has buckets of its
            own: what is not enforced takes nothing from what is.
        cost: what a request costs.
        zone: where a window begins and ends; None for limits that are no windows.
        older: whether clients are told with the older fields, too.
        everywhere: whether every rule has it.
    """

    id: str
    per: Per
    rates: Mapping[str | None, RateLimit | None]
    on_store_failure: OnStoreFailure = OnStoreFailure.LOCAL
    precision: Precision = Precision.EXACT
    shadow: bool = False
    parts: tuple[Part, ...] = ()
    cost: Cost = ONE_TOKEN
    zone: dt.tzinfo | None = None
    older: bool = False
    everywhere: bool = False

    @property
    def per_text(self) -> str:
        """Whose bucket, in words."""
        if not self.parts:
            return self.per.value
        return " and ".join(part.text for part in self.parts)

    def has(self, per: Per) -> bool:
        """Say whether ``per`` is what has a bucket, or a part of it."""
        return per is self.per or any(part.per is per for part in self.parts)

    def rate_for(self, role: str | None) -> RateLimit | None:
        """Return the rate of ``role``, or None when it is unlimited."""
        if role in self.rates:
            return self.rates[role]
        return self.rates[None]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """How failed log-ins are counted; see ``login``.

    Attributes:
        id: the name in the policy.
        json: where a JSON body names the account; None where it names none.
        form: the parameter of an urlencoded form that does; None likewise.
        failed: statuses of the backend that say that a log-in failed.
        per_account: the back-off of an account.
        per_client: the back-off of a client.
        per_known: the back-off of an account from a client that is known to it.
        known_us: how long a client is known after a log-in, in microseconds.
    """

    id: str
    json: Selection | None
    form: Parameters | None
    failed: frozenset[int]
    per_account: RateLimit
    per_client: RateLimit
    per_known: RateLimit
    known_us: int
