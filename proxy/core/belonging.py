"""Whose values a request writes and reads: its tenant, and what they are bound to.

A tenant is what a claim of the token says, as the policy declares it (``tenant``); a
request without a token has none, and its values are under the keys that all share.

A value may be bound to what the request says besides (``Field.bind``): decrypted for
another person, or at another path, it fails as one of the wrong context. Both sides of
a value's life must say the same, so only what is in writing and in reading requests
alike can be bound to.
"""

import dataclasses
from collections.abc import Mapping
from typing import Final
from urllib.parse import unquote

from proxy.core.authn import Principal
from proxy.core.claims import refused
from proxy.core.errors import Refused
from proxy.core.field import Bind, Source
from proxy.core.reasons import Reason
from proxy.core.routing import Pattern

UNBOUND: Final[Mapping[str, bytes]] = {}
"""What values are bound to where nothing is: nothing, for every field."""

MAX_TENANT: Final = 128
"""How many characters a tenant's name has at most."""


@dataclasses.dataclass(frozen=True, slots=True)
class BoundField:
    """A field whose values a rule binds.

    Attributes:
        id: the field.
        bind: to what.
        segment: the number of the path's segment that says it; 0 for a claim.
        rest: whether that is the whole rest of the path.
    """

    id: str
    bind: Bind
    segment: int = 0
    rest: bool = False


def bound_field(field: str, bind: Bind, pattern: Pattern) -> BoundField:
    """Return how a rule with this path binds a field.

    Raises:
        KeyError: the path has no such parameter.
    """
    if bind.source is Source.CLAIM:
        return BoundField(field, bind)
    free = [n for n, one in enumerate(pattern.segments, start=1) if one is None]
    if pattern.rest:
        free.append(len(pattern.segments) + 1)
    segment = dict(zip(pattern.params, free, strict=True))[bind.name]
    rest = bool(pattern.rest) and bind.name == pattern.params[-1]
    return BoundField(field, bind, segment, rest)


def tenant_of(claim: tuple[str, ...], principal: Principal | None) -> str:
    """Return the tenant of a request; "" without a token.

    Args:
        claim: the path of the claim that says it.
        principal: who asks.

    Raises:
        Refused: CLAIM_INVALID: the token does not say it.
    """
    if principal is None:
        return ""
    value: object = principal.claims
    for name in claim:
        value = value.get(name) if isinstance(value, dict) else None
    if not isinstance(value, str) or not 0 < len(value) <= MAX_TENANT:
        raise _invalid(".".join(claim))
    return value


def bound_values(
    fields: tuple[BoundField, ...], principal: Principal | None, path: str
) -> Mapping[str, bytes]:
    """Return what the values of each field are bound to.

    Args:
        fields: of the rule.
        principal: who asks.
        path: the canonical one, with or without a query.

    Raises:
        Refused: CLAIM_INVALID or PATH_AMBIGUOUS: the request does not say it.
    """
    segments = path.partition("?")[0].split("/")
    return {field.id: _value(field, principal, segments).encode() for field in fields}


def _value(field: BoundField, principal: Principal | None, segments: list[str]) -> str:
    name = field.bind.name
    if field.bind.source is Source.PATH:
        end = None if field.rest else field.segment + 1
        try:
            return unquote("/".join(segments[field.segment : end]), errors="strict")
        except UnicodeDecodeError:
            detail = f"The parameter {name} is not UTF-8."
            raise Refused(Reason.PATH_AMBIGUOUS, detail) from None
    if principal is None:
        raise _invalid(name)
    value = principal.subject if name == "sub" else principal.claims.get(name)
    if not isinstance(value, str) or not value:
        raise _invalid(name)
    return value


def _invalid(name: str) -> Refused:
    return refused(Reason.CLAIM_INVALID, f"The claim is {name!r}.")
