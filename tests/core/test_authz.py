"""Which of a token's roles a request is made in."""

import pytest

from proxy.core.authn import Principal
from proxy.core.authz import acting_role
from proxy.core.errors import Refused
from proxy.core.reasons import Reason


def principal(*roles: str) -> Principal:
    """Return somebody with these roles."""
    return Principal(subject="ada", roles=roles, issuer="lumina", expires_at=1.0)


@pytest.mark.parametrize(
    ("roles", "allow", "expected"),
    [
        (("admin",), {"admin"}, "admin"),
        (("student", "teacher", "admin"), {"admin", "teacher"}, "teacher"),
        (("admin", "teacher"), {"admin", "teacher"}, "admin"),
        (("", "admin"), {"admin"}, "admin"),
    ],
)
def test_the_tokens_first_allowed_role_acts(
    roles: tuple[str, ...], allow: set[str], expected: str
) -> None:
    """The token's order decides, not the rule's."""
    assert expected == acting_role(principal(*roles), frozenset(allow))


@pytest.mark.parametrize(
    ("roles", "allow"),
    [((), {"admin"}), (("student",), {"admin"}), (("Admin",), {"admin"}), (("a",), ())],
)
def test_without_an_allowed_role_it_is_403(
    roles: tuple[str, ...], allow: set[str]
) -> None:
    """No role, another role or other case is no permission (RFC 6750, 3.1)."""
    with pytest.raises(Refused) as caught:
        acting_role(principal(*roles), frozenset(allow))

    challenge = 'Bearer realm="lumina-proxy", error="insufficient_scope"'

    assert Reason.ROLE_NOT_ALLOWED is caught.value.reason
    assert (("WWW-Authenticate", challenge),) == caught.value.headers
