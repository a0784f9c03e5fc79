"""Who logs in, and what a try counts for."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.bucket import MAX_FAILURES, MICROSECONDS, RateLimit
from proxy.core.errors import Refused
from proxy.core.fields import Selection
from proxy.core.limit import Login
from proxy.core.login import Tries, account_of, spelled
from proxy.core.parameters import Parameters
from proxy.core.reasons import Reason

MINUTE = 60 * MICROSECONDS
BACKOFF = RateLimit.backoff(3, MINUTE, 60 * MINUTE, 24 * 60 * MINUTE)
LOGIN = Login(
    id="people",
    json=Selection.compile({"$.email": "account"}),
    form=Parameters.compile({"email": "account"}),
    failed=frozenset({401}),
    per_account=BACKOFF,
    per_client=BACKOFF,
    per_known=BACKOFF,
    known_us=30 * 24 * 60 * MINUTE,
)
JSON = b"application/json"
FORM = b"application/x-www-form-urlencoded"
SECRET = b"a secret"


def account(body: bytes, kind: bytes | None = JSON) -> str | None:
    """Return the account of a body."""
    return account_of(LOGIN, body, kind, encoded=False)


@pytest.mark.parametrize(
    ("body", "kind", "expected"),
    [
        (b'{"email": "ada@x.org", "password": "p"}', JSON, "ada@x.org"),
        (b'{"email": " ADA@X.org\\n"}', JSON, "ada@x.org"),
        ('{"email": "\ufb01\u00df"}'.encode(), JSON, "fiss"),
        (b'{"email": 4711}', JSON, "4711"),
        (b'{"email": null}', JSON, None),
        (b'{"email": ""}', JSON, None),
        (b'{"name": "ada"}', JSON, None),
        (b"email=Ada%40x.org&password=p", FORM, "ada@x.org"),
        (b"email=ada%40x.org&email=ADA%40x.org", FORM, "ada@x.org"),
        (b"password=p", FORM, None),
        (b"", JSON, None),
        (b"", None, None),
    ],
)
def test_the_account_is_where_the_policy_says(
    body: bytes, kind: bytes | None, expected: str | None
) -> None:
    """In the one spelling that counts, whichever a client chose."""
    assert account(body, kind) == expected


@pytest.mark.parametrize(
    ("body", "kind", "reason"),
    [
        (b"{", JSON, Reason.BODY_NOT_JSON),
        (b'{"email": "a", "email": "b"}', JSON, Reason.BODY_NOT_JSON),
        (b'{"Email": "a", "email": "b"}', JSON, Reason.BODY_NOT_JSON),
        (b"email=a&email=b", FORM, Reason.PARAMETER_AMBIGUOUS),
        (b"Email=a", FORM, Reason.PARAMETER_AMBIGUOUS),
        ("email=ä".encode(), FORM, Reason.PARAMETER_AMBIGUOUS),
        (b'{"email": "a"}', b"text/plain", Reason.MEDIA_TYPE_NOT_ALLOWED),
        (b'{"email": "a"}', None, Reason.MEDIA_TYPE_NOT_ALLOWED),
    ],
)
def test_what_could_be_read_in_two_ways_is_refused(
    body: bytes, kind: bytes | None, reason: Reason
) -> None:
    """Or the guesses at one account would be counted for another."""
    with pytest.raises(Refused) as caught:
        account(body, kind)

    assert caught.value.reason is reason


def test_what_is_encoded_is_refused() -> None:
    """Nobody looks into it."""
    with pytest.raises(Refused) as caught:
        account_of(LOGIN, b"x", JSON, encoded=True)

    assert caught.value.reason is Reason.MEDIA_TYPE_NOT_ALLOWED


@given(st.text())
def test_one_account_has_one_spelling(name: str) -> None:
    """Whatever is in it, spelling it again changes nothing, nor does its way here."""
    once = spelled(name)
    if account(json.dumps({"email": name}).encode()) is not None:
        assert account(json.dumps({"email": name}).encode()) == once
        assert spelled(name.upper()) == spelled(name.upper().lower())


def tries(name: str | None = "ada", client: str = "192.0.2.1") -> Tries:
    """Return a try that was let pass."""
    one = Tries(LOGIN, name, client, SECRET)
    one.taken = True
    return one


def test_no_name_of_an_account_stands_in_a_key() -> None:
    """Only its hash with a key, which tells accounts apart."""
    one = tries("ada@example.org")
    assert one.account is not None
    assert one.known is not None
    assert one.pair is not None
    keys = [one.account.key, one.known.key, one.pair.key, one.client.key]

    assert not any("ada" in key for key in keys)
    assert len(set(keys)) == 4
    other = Tries(LOGIN, "bob@example.org", "192.0.2.1", SECRET)
    elsewhere = Tries(LOGIN, "ada@example.org", "192.0.2.1", b"other")
    assert other.account is not None
    assert elsewhere.account is not None
    assert len({keys[0], other.account.key, elsewhere.account.key}) == 3
    assert one.client.key == other.client.key
    assert [take.key.split("}")[0] for take in (one.account, one.known, one.pair)] == [
        keys[0].split("}")[0]
    ] * 3


def test_a_client_of_ipv6_is_its_network() -> None:
    """As for limits."""
    one, other = tries(client="2001:db8::1"), tries(client="2001:db8::2")

    assert one.client.key == other.client.key


def test_who_is_unknown_is_counted_twice() -> None:
    """As an account and as a client; without an account as a client alone."""
    one, nobody = tries(), tries(None)

    assert one.takes() == [one.account, one.client]
    assert nobody.takes() == [nobody.client]
    one.is_known = True
    assert one.takes() == [one.pair]


@pytest.mark.parametrize(
    ("status", "sent", "expected"),
    [
        (401, True, []),
        (0, True, []),
        (0, False, [-1, -1]),
        (413, False, [-1, -1]),
        (422, True, [-1, -1]),
        (503, True, [-1, -1]),
        (200, True, [-1, 1, -1, -1]),
        (302, True, [-1, 1, -1, -1]),
    ],
)
def test_the_answer_is_the_verdict(
    status: int, sent: bool, expected: list[int]
) -> None:
    """A failure stays counted, and so does what nobody waited to be told."""
    one = tries()

    assert [take.cost for take in one.settlements(status, sent=sent)] == expected


def test_a_success_makes_the_client_known() -> None:
    """And what failed from there before is forgotten."""
    one = tries()
    one.is_known = True

    settled = one.settlements(200, sent=True)

    assert [(take.key, take.cost) for take in settled] == [
        (one.known and one.known.key, -1),
        (one.known and one.known.key, 1),
        (one.pair and one.pair.key, -MAX_FAILURES),
    ]
    nobody = tries(None)
    assert [take.cost for take in nobody.settlements(200, sent=True)] == [-1]


def test_nothing_is_given_back_of_what_was_not_taken() -> None:
    """Or whoever is refused, or leaves early, would win a try."""
    one = Tries(LOGIN, "ada", "192.0.2.1", SECRET)

    assert one.settlements(200, sent=False) == []
    assert one.settlements(0, sent=False) == []


def test_in_shadow_mode_nobody_waits() -> None:
    """What is counted has keys of its own."""
    one = Tries(LOGIN, "ada", "192.0.2.1", SECRET, shadow=True)

    assert [take.cost for take in one.takes()] == [-1, -1]
    assert {take.key for take in one.takes()}.isdisjoint(
        take.key for take in tries().takes()
    )
