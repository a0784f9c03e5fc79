"""Which verified tokens are good no longer, though their time is not up.

A token is revoked by its id (``jti``), by its session (``sid``), with all others of its
subject (``sub``), or with all of its issuer that were issued before an instant. A token
that does not say when it was issued counts as issued before every instant.

What was revoked is held in dictionaries of this process; how it gets here is an edge's
business. ``version`` changes with every change, so that whoever remembers a verified
token knows by one comparison that nothing happened since it looked last.
"""

import dataclasses
import enum
import math
from collections.abc import Mapping
from typing import Any, Final

from proxy.core.issuer import Issuer
from proxy.core.principal import Principal

MAX_TEXT: Final = 1024
DEFAULT_LIFE: Final = 30 * 86_400.0
LONGEST_LIFE: Final = 366 * 86_400.0
"""Seconds for which a revocation is remembered, if nobody says, and at the most."""


class Kind(enum.Enum):
    """By what tokens are revoked; the words of the command line."""

    TOKEN = "jti"  # noqa: S105 - the name of a claim
    SESSION = "sid"
    SUBJECT = "sub"
    ISSUER = "issuer"


_ABOUT: Final = {
    "jti": Kind.TOKEN,
    "sid": Kind.SESSION,
    "sub": Kind.SUBJECT,
    "all": Kind.ISSUER,
}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Revocation:
    """One decision to believe tokens no longer.

    Attributes:
        kind: by what.
        issuer: the ``iss`` of the tokens.
        value: of the claim; "" for all of the issuer.
        before: epoch seconds; tokens issued at or after it stay good.
        until: epoch seconds after which it may be forgotten, for every token that it is
            about has expired.
        why: for people; "" for nothing.
    """

    kind: Kind
    issuer: str
    value: str
    before: float
    until: float
    why: str = ""

    def shown(self) -> dict[str, object]:
        """Return it for people, with None for a time that never comes."""
        shown = dataclasses.asdict(self) | {"kind": self.kind.value}
        return shown | {"before": None if math.isinf(self.before) else self.before}

    @property
    def key(self) -> tuple[str, str, str]:
        """What it is about; another one about the same takes its place."""
        return self.kind.value, self.issuer, self.value


def read_revocation(
    told: Mapping[str, Any], issuers: Mapping[str, Issuer], now: float
) -> Revocation:
    """Return what somebody wants revoked.

    Args:
        told: one of ``jti``, ``sid``, ``sub`` (strings) and ``all`` (true); perhaps
            ``issuer`` (its name in the policy, or its iss; needed when there are
            several), ``before`` and ``until`` (epoch seconds), and ``why``.
        issuers: of the policy, by their ``iss``.
        now: epoch seconds.

    Raises:
        ValueError: it is something else; a sentence for people.
    """
    if unknown := told.keys() - {*_ABOUT, "issuer", "before", "until", "why"}:
        raise ValueError(f"There is no {min(unknown)!r} here")
    kind, issuer, value = read_key(told, issuers)
    # A token of an issuer whose clock is ahead may say that it was issued just after.
    # With no bound for lifetimes, a month is longer than tokens should live.
    leeway = issuer.leeway
    life = DEFAULT_LIFE if issuer.max_lifetime is None else issuer.max_lifetime
    single = kind in {Kind.TOKEN, Kind.SESSION}
    before = _instant(told, "before", math.inf if single else now + leeway)
    until = _instant(told, "until", now + life + 2 * leeway)
    if not now < until <= now + LONGEST_LIFE:
        raise ValueError("A revocation ends in the future, in a year at the latest")
    return Revocation(
        kind=kind,
        issuer=issuer.issuer,
        value=value,
        before=before,
        until=until,
        why=_word(told, "why", ""),
    )


def read_key(
    told: Mapping[str, Any], issuers: Mapping[str, Issuer]
) -> tuple[Kind, Issuer, str]:
    """Return what a revocation is about; see ``read_revocation``."""
    about = [name for name in _ABOUT if name in told]
    if len(about) != 1:
        raise ValueError("Say exactly one of jti, sid, sub and all")
    kind = _ABOUT[about[0]]
    if kind is not Kind.ISSUER:
        value = _word(told, about[0])
    elif told["all"] is True:
        value = ""
    else:
        raise ValueError("all is true, or not there")
    return kind, _issuer(told, issuers), value


def _issuer(told: Mapping[str, Any], issuers: Mapping[str, Issuer]) -> Issuer:
    named = told.get("issuer")
    known = ", ".join(sorted(issuer.id for issuer in issuers.values())) or "none"
    if named is None and len(issuers) == 1:
        return next(iter(issuers.values()))
    for iss, issuer in issuers.items():
        if named in {iss, issuer.id}:
            return issuer
    raise ValueError(f"Say which issuer: {known}")


def _word(told: Mapping[str, Any], name: str, default: str | None = None) -> str:
    value = told.get(name, default)
    if (
        not isinstance(value, str)
        or len(value) > MAX_TEXT
        or not (value or name == "why")
    ):
        raise ValueError(f"{name} is text of at most {MAX_TEXT} characters")
    return value


def _instant(told: Mapping[str, Any], name: str, default: float) -> float:
    value = told.get(name)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{name} is a number of epoch seconds")  # noqa: TRY004 - of JSON
    return float(value)


class Revocations:
    """Every revocation that this process knows of.

    Attributes:
        version: another number after every change.
    """

    def __init__(self) -> None:
        self.version = 0
        self._held: dict[tuple[str, str, str], Revocation] = {}

    def __len__(self) -> int:
        return len(self._held)

    def add(self, revocation: Revocation) -> None:
        """Believe no token of ``revocation`` from now on."""
        self._held[revocation.key] = revocation
        self.version += 1

    def restore(self, key: tuple[str, str, str]) -> bool:
        """Take a revocation back; say whether there was one."""
        if self._held.pop(key, None) is None:
            return False
        self.version += 1
        return True

    def all(self) -> tuple[Revocation, ...]:
        """Return every revocation, the oldest first."""
        return tuple(self._held.values())

    def expire(self, now: float) -> None:
        """Forget what is about expired tokens only."""
        over = [key for key, held in self._held.items() if held.until <= now]
        for key in over:
            del self._held[key]

    def covers(self, principal: Principal, issuer: str) -> bool:
        """Say whether a token of ``principal``, with this ``iss``, is revoked."""
        held = self._held
        if not held:
            return False
        for kind, value in (
            (Kind.TOKEN, principal.token_id),
            (Kind.SESSION, principal.session),
            (Kind.SUBJECT, principal.subject),
            (Kind.ISSUER, ""),
        ):
            # One without an id finds nothing: no revocation is of the id "".
            found = held.get((kind.value, issuer, value))
            if found is not None and principal.issued_at < found.before:
                return True
        return False
