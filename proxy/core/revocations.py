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
from typing import Final

from proxy.core.principal import Principal

MAX_TEXT: Final = 1024


class Kind(enum.Enum):
    """By what tokens are revoked; the words of the command line."""

    TOKEN = "jti"  # noqa: S105 - the name of a claim
    SESSION = "sid"
    SUBJECT = "sub"
    ISSUER = "issuer"


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

    @property
    def key(self) -> tuple[str, str, str]:
        """What it is about; another one about the same takes its place."""
        return self.kind.value, self.issuer, self.value


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
