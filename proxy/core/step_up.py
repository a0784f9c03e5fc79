"""How strongly, by what means and how lately a subject has to have logged in.

Where a token says too little, the answer is the challenge of RFC 9470: the client
learns what to ask the issuer for, and comes back with a token of a stronger log-in.
"""

import dataclasses

from proxy.core.claims import CHALLENGE
from proxy.core.errors import Refused
from proxy.core.principal import Principal
from proxy.core.reasons import Reason


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class StepUp:
    """What a rule asks of a log-in.

    Attributes:
        acr: the token's ``acr`` must be one of these, the preferred first; () for any.
        amr: the token's ``amr`` must have all of these (RFC 8176); () for none.
        max_age: seconds since ``auth_time`` at the most; None for any.
    """

    acr: tuple[str, ...] = ()
    amr: tuple[str, ...] = ()
    max_age: float | None = None

    def check(self, principal: Principal, now: float) -> None:
        """Check the log-in behind a token.

        Args:
            principal: that the token speaks for.
            now: epoch seconds.

        Raises:
            Refused: LOGIN_TOO_WEAK, with the challenge of RFC 9470, 3.
        """
        if self.acr and principal.acr not in self.acr:
            raise self._refusal("The token's acr is not one of those asked for.")
        if not set(principal.amr).issuperset(self.amr):
            raise self._refusal("The token's amr does not have all that are asked for.")
        if self.max_age is not None:
            since = now - principal.authenticated_at - principal.leeway
            if since > self.max_age:
                raise self._refusal("The log-in is too long ago.")

    def _refusal(self, detail: str) -> Refused:
        reason = Reason.LOGIN_TOO_WEAK
        challenge = [
            f'{CHALLENGE}, error="insufficient_user_authentication"',
            f'error_description="{reason.title}"',
        ]
        if self.acr:
            challenge.append(f'acr_values="{" ".join(self.acr)}"')
        if self.max_age is not None:
            challenge.append(f'max_age="{self.max_age:.0f}"')
        return Refused(reason, detail, (("WWW-Authenticate", ", ".join(challenge)),))

    def parts(self) -> tuple[str, ...]:
        """Return what is asked, a few words each."""
        asked = []
        if self.acr:
            asked.append(f"acr is {' or '.join(self.acr)}")
        if self.amr:
            asked.append(f"amr has {' and '.join(self.amr)}")
        if self.max_age is not None:
            asked.append(f"the log-in is at most {self.max_age:g}s ago")
        return tuple(asked)
