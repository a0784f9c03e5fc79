"""May this principal use this rule?"""

from proxy.core.authn import Principal, challenge
from proxy.core.errors import Refused
from proxy.core.reasons import Reason


def acting_role(principal: Principal, allow: frozenset[str]) -> str:
    """Return the role in which the request is made: the token's first allowed one.

    Limits and views are those of this role, and it is what the backend is told.

    Args:
        principal: who is asking.
        allow: the roles that may use the rule.

    Raises:
        Refused: ROLE_NOT_ALLOWED, with the challenge of RFC 6750 section 3.1.
    """
    for role in principal.roles:
        if role in allow:
            return role
    raise Refused(
        Reason.ROLE_NOT_ALLOWED,
        headers=(challenge("insufficient_scope", Reason.ROLE_NOT_ALLOWED.title),),
    )
