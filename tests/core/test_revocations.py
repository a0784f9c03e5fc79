"""Tokens that are good no longer, though their time is not up."""

import dataclasses

import pytest

from proxy.core.principal import Principal
from proxy.core.revocations import Kind, Revocation, Revocations

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
