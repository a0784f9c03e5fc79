"""What of a request's offer a rule lets through, and what may be taken of it."""

import math

import pytest

from proxy.core.authn import Principal
from proxy.core.backends import Backend, Server
from proxy.core.headers import examine
from proxy.core.message import Request
from proxy.core.policy import Rule, Upgrade
from proxy.core.routing import Pattern
from proxy.core.upgrade import Offer, offer_of

ADA = Principal(
    subject="ada", roles=("student",), issuer="people", expires_at=1000.0, leeway=5.0
)
WEBSOCKET = Upgrade(protocols=frozenset({b"websocket", b"shout/1"}), idle=60.0)


def a_rule(upgrade: Upgrade | None) -> Rule:
    """Return a rule with these terms."""
    return Rule(
        id="room",
        methods=frozenset({"GET"}),
        pattern=Pattern.parse("/room"),
        backend=Backend(id="lms", servers=(Server(host="::1", port=9),)),
        allow=None,
        upgrade=upgrade,
    )


def offered(
    upgrade: Upgrade | None,
    *values: bytes,
    upgradable: bool = True,
    principal: Principal | None = None,
) -> Offer | None:
    """Return the offer of a request with these values of Upgrade."""
    lines = [(b"host", b"Host", b"a")]
    lines += [(b"upgrade", b"Upgrade", value) for value in values]
    request = Request("GET", "/room", "1.1", lines, peer="", peer_trusted=False)
    request.upgradable = upgradable
    return offer_of(a_rule(upgrade), request, examine(lines, "1.1"), principal)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([b"websocket"], (b"websocket",)),
        ([b"WebSocket"], (b"WebSocket",)),
        ([b"h2c, websocket"], (b"websocket",)),
        ([b"shout/1 ,, websocket,"], (b"shout/1", b"websocket")),
        ([b"shout/1", b"websocket"], (b"shout/1", b"websocket")),
        ([b"h2c"], None),
        ([b"shout"], None),
        ([b"websocket;q=1"], None),
        ([b""], None),
        ([], None),
    ],
)
def test_only_what_the_rule_names_is_offered(
    values: list[bytes], expected: tuple[bytes, ...] | None
) -> None:
    """Names are compared without regard to case, and kept as the client wrote them."""
    offer = offered(WEBSOCKET, *values)

    assert (offer and offer.protocols) == expected


def test_nothing_is_offered_without_leave() -> None:
    """Neither without terms, nor where what follows is read as HTTP already."""
    assert offered(None, b"websocket") is None
    assert offered(WEBSOCKET, b"websocket", upgradable=False) is None


def test_an_offer_is_made_in_two_lines() -> None:
    """Upgrade counts only where Connection names it (RFC 9110 section 7.8)."""
    offer = offered(WEBSOCKET, b"shout/1, websocket")

    assert offer is not None
    assert offer.line == b"Connection: upgrade\r\nUpgrade: shout/1, websocket\r\n"


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([b"websocket"], b"websocket"),
        ([b" WEBSOCKET "], b"websocket"),
        ([b"shout/1"], None),
        ([b"websocket, shout/1"], None),
        ([b"websocket", b"websocket"], None),
        ([], None),
    ],
)
def test_one_of_what_was_offered_is_taken(
    values: list[bytes], expected: bytes | None
) -> None:
    """A 101 names exactly one protocol, and it was offered."""
    offer = offered(WEBSOCKET, b"WebSocket")
    answer = [(b"upgrade", b"Upgrade", value) for value in values]

    assert offer is not None
    assert offer.taken([(b"server", b"Server", b"x"), *answer]) == expected


@pytest.mark.parametrize(
    ("upgrade", "principal", "expected"),
    [
        (WEBSOCKET, ADA, 1005.0),
        (WEBSOCKET, None, math.inf),
        (
            Upgrade(
                protocols=frozenset({b"websocket"}), idle=60.0, close_on_expiry=False
            ),
            ADA,
            math.inf,
        ),
    ],
    ids=["with its token", "without a token", "the rule lets it outlive"],
)
def test_a_tunnel_ends_with_its_token(
    upgrade: Upgrade, principal: Principal | None, expected: float
) -> None:
    """The issuer's leeway is granted here as it is to requests."""
    offer = offered(upgrade, b"websocket", principal=principal)

    assert offer is not None
    assert offer.expires_at == expected
