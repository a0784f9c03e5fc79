"""The section fields: what each word of it becomes, and that the lengths are right."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from proxy.core import mail_address, mode_deterministic, mode_random
from proxy.core.ciphertext import longest
from proxy.core.errors import PolicyError
from proxy.core.field import MIN_PASSWORD, Field, Mode, OnError, Step
from proxy.core.policy import Policy
from proxy.core.policy_parser import parse_policy

FILE = Path(__file__).parents[1] / "policies" / "good" / "fields.yaml"

USUAL = frozenset({Step.STRIP, Step.NFC})


@pytest.fixture(name="fields", scope="module")
def fields_fixture() -> dict[str, Field]:
    """The fields of a policy that uses every key."""
    policy, findings = parse_policy([(FILE.name, FILE.read_text("utf-8"))], {})
    assert findings == ()
    return dict(policy.fields)


def policy_with(field: str) -> Policy:
    """Compile a policy of one field and one rule."""
    text = json.dumps(
        {
            "version": "1",
            "backends": {"lms": {"servers": ["http://127.0.0.1:9000"]}},
            "fields": {"user.x": "FIELD"},
            "rules": [{"id": "home", "match": "GET /", "allow": "anyone"}],
        }
    ).replace('"FIELD"', field)
    return parse_policy([("policy.yaml", text)], {})[0]


def test_a_field_is_what_it_says(fields: dict[str, Field]) -> None:
    """Every key ends up in the frozen field, and nothing else does."""
    assert fields["user.name"] == Field(
        id="user.name", max_bytes=109, reads=frozenset({Mode.FERNET})
    )
    assert fields["user.note"] == Field(
        id="user.note", compact=True, max_bytes=10_000, on_error=OnError.MASK
    )
    assert fields["user.login"] == Field(
        id="user.login",
        mode=Mode.DETERMINISTIC,
        normalise=USUAL,
        key=0x838B3718,
        max_bytes=64,
    )
    assert fields["user.role"].accept_leakage
    assert fields["user.phone"] == Field(id="user.phone", mode=Mode.DIGITS, key=1)
    assert fields["user.old"] == Field(id="user.old", mode=Mode.FERNET)
    assert fields["user.password"] == Field(
        id="user.password", mode=Mode.PEPPER, min_length=12
    )
    assert fields["user.name"].min_length == MIN_PASSWORD


def test_an_address_has_a_domain_and_its_usual_form(fields: dict[str, Field]) -> None:
    """An e-mail address is compared without case, and is as long as fits."""
    email = fields["user.email"]

    assert email.mail_domain == "enc.lms.example"
    assert email.normalise == USUAL | {Step.LOWER}
    assert email.reads == {Mode.RANDOM, Mode.DETERMINISTIC}
    assert email.max_bytes == mail_address.capacity("enc.lms.example", 254)


def test_normalising_is_the_policys(fields: dict[str, Field]) -> None:
    """A list replaces what is usual, none switches it off."""
    assert fields["user.alias"].normalise == frozenset()
    assert fields["user.nick"].normalise == {Step.CASEFOLD, Step.NFC}


@pytest.mark.parametrize("characters", [112, 113, 150, 254, 255, 256, 500, 40_000])
@pytest.mark.parametrize(
    ("words", "length_of"),
    [
        ("mode: random", mode_random.ciphertext_length),
        ("mode: deterministic", mode_deterministic.ciphertext_length),
    ],
)
def test_as_much_is_taken_as_fits(
    characters: int, words: str, length_of: Callable[[int], int]
) -> None:
    """The most that fits is taken, and one byte more refuses the policy."""
    fits = longest(length_of, characters)
    field = f"{words}, max_length: {characters}, max_bytes: "

    policy = policy_with(f"{{{field}{fits}}}")
    assert policy.fields["user.x"].max_bytes == fits
    with pytest.raises(PolicyError, match=rf"at most {fits} bytes fit"):
        policy_with(f"{{{field}{fits + 1}}}")


@pytest.mark.parametrize(
    "name",
    ["user.role", "grade", "home.COUNTRY", "user-gender", "is_active", "birth.year"],
)
def test_names_of_few_values_are_noticed(name: str) -> None:
    """Whatever the spelling, a word of it is enough."""
    text = FILE.read_text("utf-8").replace("user.nick", name)

    with pytest.raises(PolicyError, match="sounds like one of a few values"):
        parse_policy([("policy.yaml", text)], {})


@pytest.mark.parametrize("name", ["user.controller", "upgrade", "user.states", "x"])
def test_other_names_are_not(name: str) -> None:
    """A word inside another one says nothing."""
    text = FILE.read_text("utf-8").replace("user.nick", name)

    assert parse_policy([("policy.yaml", text)], {})[1] == ()
