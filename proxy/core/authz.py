"""May this Principal use a rule, and as which of its roles?

What must not live here: tokens (``authn``) and what a role gets to see (``policy``).
"""

from typing import Final

from proxy.core.authn import CHALLENGE, Principal
from proxy.core.errors import Refused
from proxy.core.reasons import Reason

_CHALLENGE: Final = (("WWW-Authenticate", CHALLENGE + ', error="insufficient_scope"'),)


def acting_role(principal: Principal, allow: frozenset[str]) -> str:
    """Return the first role of the token, in the token's order, that ``allow`` has.

    Raises:
        Refused: ROLE_NOT_ALLOWED, with the challenge of RFC 6750, 3.1.
    """
    for role in principal.roles:
        if role in allow:
            return role
    raise Refused(Reason.ROLE_NOT_ALLOWED, headers=_CHALLENGE)
