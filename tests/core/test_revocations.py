"""Tokens that are good no longer, though their time is not up."""

import dataclasses
import math
from typing import Any

import pytest

from proxy.core.issuer import Issuer
from proxy.core.principal import Principal
from proxy.core.revocations import (
    DEFAULT_LIFE,
    Kind,
    Revocation,
    Revocations,
    read_revocation,
)

ISS = "https://id.example"
NOW = 1_000_000.0
ADA = Principal(
    subject="ada",
    roles=(),
    issuer="id",
    expires_at=NOW + 60,
    issued_at=NOW - 60,
    token_id="t1",
    session="s1",
)


def revoked(kind: Kind, value: str = "", **other: object) -> Revocation:
    """Return a revocation of everything so far."""
    usual = {"issuer": ISS, "before": NOW, "until": NOW + 3600}
    return Revocation(kind=kind, value=value, **usual | other)  # type: ignore[arg-type]


def held(*revocations: Revocation) -> Revocations:
    """Return what holds these."""
    all_of_them = Revocations()
    for one in revocations:
        all_of_them.add(one)
    return all_of_them


@pytest.mark.parametrize(
    ("one", "covers"),
    [
        pytest.param(revoked(Kind.TOKEN, "t1"), True, id="token"),
        pytest.param(revoked(Kind.TOKEN, "t2"), False, id="another token"),
        pytest.param(revoked(Kind.TOKEN, "s1"), False, id="a session's id"),
        pytest.param(revoked(Kind.SESSION, "s1"), True, id="session"),
        pytest.param(revoked(Kind.SUBJECT, "ada"), True, id="subject"),
        pytest.param(revoked(Kind.SUBJECT, "Ada"), False, id="another subject"),
        pytest.param(revoked(Kind.ISSUER), True, id="issuer"),
        pytest.param(revoked(Kind.ISSUER, before=NOW - 60), False, id="issued at it"),
        pytest.param(
            revoked(Kind.ISSUER, before=NOW - 59), True, id="issued before it"
        ),
        pytest.param(revoked(Kind.SUBJECT, "ada", issuer="x"), False, id="of another"),
    ],
)
def test_a_revocation_covers_what_it_is_about(one: Revocation, covers: bool) -> None:
    """By id, session, subject or issuer; of this issuer, and issued before."""
    assert covers is held(one).covers(ADA, ISS)


def test_a_token_that_says_little_is_covered_all_the_more() -> None:
    """Without iat it is older than any instant; without an id it is no id's token."""
    silent = Principal(subject="ada", roles=(), issuer="id", expires_at=NOW)

    assert held(revoked(Kind.SUBJECT, "ada", before=0.0)).covers(silent, ISS)
    assert not held(revoked(Kind.TOKEN, "t1")).covers(silent, ISS)
    assert not Revocations().covers(silent, ISS)


def test_every_change_is_another_version() -> None:
    """Whoever looked before knows that it has to look again."""
    every = held(revoked(Kind.SUBJECT, "ada"))
    first = every.version
    every.add(revoked(Kind.SUBJECT, "ada", before=NOW + 1))
    second = every.version

    assert every.restore(("sub", ISS, "ada"))
    assert not every.restore(("sub", ISS, "ada"))
    assert len({first, second, every.version}) == 3
    assert not every.covers(ADA, ISS)


def test_the_newest_word_counts() -> None:
    """A second revocation of the same takes the place of the first."""
    one = revoked(Kind.SUBJECT, "ada")
    later = dataclasses.replace(one, before=NOW + 9)

    assert held(one, later).all() == (later,)


def test_what_is_over_is_forgotten() -> None:
    """Once every token that it is about has expired, a revocation is of no use."""
    short, long = (
        revoked(Kind.TOKEN, v, until=NOW + u) for v, u in (("a", 1), ("b", 9))
    )
    every = held(short, long)
    every.expire(NOW + 1)

    assert (len(every), every.all()) == (1, (long,))


PEOPLE = Issuer(
    id="people",
    issuer=ISS,
    audience=("lms",),
    algorithms=("RS256",),
    keys=(),
    roles=("role",),
    leeway=5.0,
)
SHORT = dataclasses.replace(PEOPLE, id="short", issuer="short", max_lifetime=300.0)


def asked(**told: Any) -> Revocation:
    """Return what an operator gets."""
    return read_revocation(told, {ISS: PEOPLE, "short": SHORT}, NOW)


def test_an_order_is_read() -> None:
    """A token is revoked whenever it was issued, people by what was issued so far."""
    token = asked(jti="t1", issuer="people", why="lost")
    person = asked(sub="ada", issuer=ISS)

    assert (token.kind, token.issuer, token.value) == (Kind.TOKEN, ISS, "t1")
    assert (token.before, token.why) == (math.inf, "lost")
    assert (person.before, person.until) == (NOW + 5, NOW + DEFAULT_LIFE + 10)
    assert asked(sid="s", issuer="short").until == NOW + 310
    assert asked(all=True, issuer="short", before=NOW - 9).before == NOW - 9
    assert read_revocation({"sub": "a"}, {ISS: PEOPLE}, NOW).issuer == ISS


@pytest.mark.parametrize(
    ("told", "message"),
    [
        pytest.param({}, "exactly one", id="nothing"),
        pytest.param({"jti": "a", "sub": "b"}, "exactly one", id="two"),
        pytest.param({"sub": ""}, "sub is text", id="nobody"),
        pytest.param({"sub": 7}, "sub is text", id="number"),
        pytest.param({"sub": "s" * 1025}, "1024 characters", id="long"),
        pytest.param({"all": False}, "all is true", id="not all"),
        pytest.param({"sub": "a", "issuer": "x"}, "people, short", id="stranger"),
        pytest.param({"sub": "a", "issuer": None}, "people, short", id="which"),
        pytest.param({"sub": "a", "until": NOW}, "in the future", id="over"),
        pytest.param({"sub": "a", "until": NOW + 4e7}, "a year", id="too long"),
        pytest.param({"sub": "a", "until": math.nan}, "a year", id="nan"),
        pytest.param({"sub": "a", "before": "now"}, "before is a number", id="word"),
        pytest.param({"sub": "a", "before": True}, "before is a number", id="true"),
        pytest.param({"sub": "a", "why": 1}, "why is text", id="why"),
        pytest.param({"sub": "a", "sup": 1}, "no 'sup'", id="typo"),
    ],
)
def test_other_orders_are_explained(told: dict[str, Any], message: str) -> None:
    """A typo revokes nothing, and never something else."""
    with pytest.raises(ValueError, match=message):
        read_revocation({"issuer": "people"} | told, {ISS: PEOPLE, "s": SHORT}, NOW)


def test_a_revocation_is_shown_in_json() -> None:
    """A time that never comes is none there."""
    one = asked(jti="t1", issuer="people")

    assert one.shown() == {
        "kind": "jti",
        "issuer": ISS,
        "value": "t1",
        "before": None,
        "until": one.until,
        "why": "",
    }
    assert asked(sub="a", issuer="people").shown()["before"] == NOW + 5
