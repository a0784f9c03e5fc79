"""Parts of a policy in the words in which a policy is written.

For people who compare what they read here with their YAML. Nothing here decides.
"""

from collections.abc import Iterable

from proxy.core.bucket import HOLDS, MICROSECONDS, WINDOW, RateLimit
from proxy.core.limit import Cost, CostOf, Limit, Login, OnStoreFailure, Precision
from proxy.core.policy import ANYONE, Rule, Upgrade
from proxy.core.policy_limits import UNLIMITED
from proxy.core.policy_rules import METHODS
from proxy.core.windows import WINDOWS

_PERIODS = {
    MICROSECONDS: "second",
    60 * MICROSECONDS: "minute",
    3600 * MICROSECONDS: "hour",
    86_400 * MICROSECONDS: "day",
}
_WINDOWS = {period: name for name, period in WINDOWS.items()}
_UNITS = ((3600 * MICROSECONDS, "h"), (60 * MICROSECONDS, "m"), (MICROSECONDS, "s"))


def rate_text(rate: RateLimit | None) -> str:
    """Return a rate as ``limits`` has it; None is no limit at all.

    Example:
        >>> rate_text(RateLimit.of(10, 30 * MICROSECONDS))
        '10/30s'
    """
    if rate is None:
        return UNLIMITED
    if rate.kind == HOLDS:
        return f"{rate.count} at a time"
    if rate.kind == WINDOW:
        return f"{rate.count}/{_WINDOWS[rate.period_us]}"
    return f"{rate.count}/{_PERIODS.get(rate.period_us) or _duration(rate.period_us)}"


def quota_text(rate: RateLimit | None) -> str:
    """Return a rate, and its burst when it is not the usual one.

    Example:
        >>> quota_text(RateLimit.of(100, 3600 * MICROSECONDS, 20))
        '100/hour, burst 20'
    """
    if rate is None or rate.burst == rate.count:
        return rate_text(rate)
    return f"{rate_text(rate)}, burst {rate.burst}"


def limit_text(limit: Limit, rate: RateLimit | None, before_per: str = ", ") -> str:
    """Return a limit as somebody has it, with everything about it that is unusual.

    Args:
        limit: the limit.
        rate: as somebody has it; None where it is unlimited.
        before_per: what stands before whose bucket it is.

    Example:
        ``100/hour, burst 20, per subject and path.id, 3 tokens each``.
    """
    if rate is None:
        return UNLIMITED
    text = quota_text(rate)
    if limit.zone is not None:
        text += f" by the calendar of {limit.zone}"
    text += f"{before_per}per {limit.per_text}{cost_text(limit.cost)}"
    if limit.shadow:
        text += ", in shadow mode"
    leased = limit.precision is Precision.LEASED
    return text + store_text(limit.on_store_failure, leased=leased)


def cost_text(cost: Cost) -> str:
    """Return what a request costs, after a comma; "" where it is one token."""
    if cost.of is CostOf.BODY:
        return f", a token for each {cost.unit} bytes"
    if cost.of is CostOf.HEADER:
        return f", as many tokens as {cost.name} says, {cost.most} at most"
    if cost.of is CostOf.RESPONSE_HEADER:
        return f", as many tokens as the answer's {cost.name} says, {cost.most} at most"
    return "" if cost.tokens == 1 else f", {cost.tokens} tokens each"


def login_text(login: Login) -> str:
    """Return how failed log-ins are counted.

    Example:
        ``people: failed log-ins wait, per account 1m to 1h after 10, per client …``.
    """
    each = {
        "account": login.per_account,
        "client": login.per_client,
        "known client": login.per_known,
    }
    waits = [
        f"per {name} {_duration(rate.wait_us)} to {_duration(rate.most_us)} after "
        f"{rate.count}"
        for name, rate in each.items()
    ]
    return f"{login.id}: failed log-ins wait, {', '.join(waits)}"


def store_text(on_failure: OnStoreFailure, *, leased: bool) -> str:
    """Return what is unusual about how a limit is counted, each after a comma.

    Example:
        >>> store_text(OnStoreFailure.DENY, leased=True)
        ', leased, deny without the store'
    """
    ahead = ", leased" if leased else ""
    if on_failure is OnStoreFailure.LOCAL:
        return ahead
    return f"{ahead}, {on_failure.value} without the store"


def _duration(microseconds: int) -> str:
    for size, unit in _UNITS:
        if microseconds % size == 0:
            return f"{microseconds // size}{unit}"
    return f"{microseconds // 1000}ms"


def methods_text(methods: Iterable[str]) -> str:
    """Return methods as ``match`` has them: in one order, ``*`` for none."""
    return ",".join(sorted(methods, key=_rank)) or "*"


def _rank(method: str) -> tuple[int, str]:
    known = method in METHODS
    return (METHODS.index(method) if known else len(METHODS), method)


def match_text(rule: Rule) -> str:
    """Return what the rule matches, as ``match`` has it."""
    return f"{methods_text(rule.methods)} {rule.pattern.text}"


def allow_text(rule: Rule) -> str:
    """Return whom the rule allows.

    Example:
        ``anyone``, ``teacher`` or ``admin, student and teacher``.
    """
    return ANYONE if rule.allow is None else joined(sorted(rule.allow))


def upgrade_text(upgrade: Upgrade) -> str:
    """Return what connections may become, and until when.

    Example:
        >>> upgrade_text(Upgrade(protocols=frozenset({b"websocket"}), idle=3600.0))
        'websocket, until its token expires or nothing is said for 1h'
    """
    names = joined(sorted(name.decode() for name in upgrade.protocols), "or")
    expiry = "its token expires or " if upgrade.close_on_expiry else ""
    idle = _duration(round(upgrade.idle * MICROSECONDS))
    return f"{names}, until {expiry}nothing is said for {idle}"


def joined(words: Iterable[str], word: str = "and") -> str:
    """Return words as a sentence lists them.

    Example:
        >>> joined(["a", "b", "c"], "or")
        'a, b or c'
    """
    *most, last = list(words) or ["nothing"]
    return f"{', '.join(most)} {word} {last}" if most else last
