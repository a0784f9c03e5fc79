"""A rule may ask for a stronger or a later log-in, and says which (RFC 9470)."""

import pytest

from proxy.core.errors import Refused
from proxy.core.principal import NEVER, Principal
from proxy.core.reasons import Reason
from proxy.core.step_up import StepUp

NOW = 1_000_000.0
ASKED = StepUp(acr=("mfa", "hw"), amr=("otp",), max_age=300.0)


def who(**said: object) -> Principal:
    """Return somebody whose log-in was as it is asked for, but for what is said."""
    usual = {"acr": "hw", "amr": ("pwd", "otp"), "authenticated_at": NOW - 300}
    return Principal(
        subject="ada",
        roles=(),
        issuer="id",
        expires_at=NOW + 60,
        **usual | said,  # type: ignore[arg-type]
    )


@pytest.mark.parametrize(
    ("asked", "principal"),
    [
        pytest.param(ASKED, who(), id="all of it"),
        pytest.param(ASKED, who(acr="mfa"), id="preferred"),
        pytest.param(ASKED, who(authenticated_at=NOW + 5), id="clock ahead"),
        pytest.param(ASKED, who(authenticated_at=NOW - 305, leeway=5.0), id="leeway"),
        pytest.param(StepUp(acr=("hw",)), who(amr=()), id="acr alone"),
        pytest.param(StepUp(), who(acr="", amr=()), id="nothing"),
    ],
)
def test_a_log_in_that_is_enough_passes(asked: StepUp, principal: Principal) -> None:
    """One of the acr values, all of the amr values, and not too long ago."""
    asked.check(principal, NOW)


@pytest.mark.parametrize(
    ("principal", "detail"),
    [
        pytest.param(who(acr="pwd"), "acr", id="weak"),
        pytest.param(who(acr=""), "acr", id="silent"),
        pytest.param(who(acr="mf"), "acr", id="prefix"),
        pytest.param(who(amr=("pwd",)), "amr", id="means"),
        pytest.param(who(authenticated_at=NOW - 300.1), "long ago", id="old"),
        pytest.param(who(authenticated_at=NEVER), "long ago", id="never"),
    ],
)
def test_a_log_in_that_is_not_enough_is_challenged(
    principal: Principal, detail: str
) -> None:
    """The client learns what to ask the issuer for; missing claims prove nothing."""
    with pytest.raises(Refused, match=detail) as caught:
        ASKED.check(principal, NOW)

    assert caught.value.reason is Reason.LOGIN_TOO_WEAK
    [(name, challenge)] = caught.value.headers

    assert name == "WWW-Authenticate"
    assert challenge == (
        'Bearer realm="lumina-proxy", error="insufficient_user_authentication", '
        f'error_description="{Reason.LOGIN_TOO_WEAK.title}", '
        'acr_values="mfa hw", max_age="300"'
    )


def test_a_challenge_asks_for_no_more_than_the_rule() -> None:
    """What the rule does not name is not in the challenge (RFC 9470, 3)."""
    with pytest.raises(Refused) as caught:
        StepUp(amr=("otp",)).check(who(amr=()), NOW)
    [(_, challenge)] = caught.value.headers

    assert "acr_values" not in challenge
    assert "max_age" not in challenge


def test_what_is_asked_reads_as_a_sentence() -> None:
    """For explain, diff and advice."""
    assert ASKED.parts() == (
        "acr is mfa or hw",
        "amr has otp",
        "the log-in is at most 300s ago",
    )
    assert StepUp().parts() == ()
