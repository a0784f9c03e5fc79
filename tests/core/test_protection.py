"""Protected bodies: what goes in, what each view shows, and what may not come back."""

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import pytest
from hypothesis import given, reject
from hypothesis import strategies as st

from proxy.core.cipher import Cipher
from proxy.core.entries import token_name
from proxy.core.errors import Refused
from proxy.core.field import Field, Mode, OnError
from proxy.core.field_keys import Scope
from proxy.core.fields import Selection
from proxy.core.keyring import Lease
from proxy.core.keyset import Keyset
from proxy.core.parameters import Parameters
from proxy.core.policy import Policy, View
from proxy.core.policy_parser import parse_policy
from proxy.core.protection import (
    asked_of,
    decrypt_body,
    encrypt_body,
    encrypt_form,
    encrypt_target,
)
from proxy.core.reasons import Reason
from tests.cipher_builders import NEW, OLD, nonces

FILE = Path(__file__).parents[1] / "policies" / "good" / "views.yaml"
USER: dict[str, Any] = {
    "name": "Ada Lovelace",
    "email": "ada@example.org",
    "born": "1815-12-10",
    "iban": "DE89370400440532013000",
    "phone": "+49 30 1234567",
    "note": "Needs help",
    "id": "a-7",
    "pin": 1234,
    "file": {"pages": [1, 2]},
}
HIDDEN = {
    "name": "A••• L•••",
    "email": "a•••@•••",
    "born": "1815•••",
    "iban": "•••3000",
    "phone": "•••",
    "note": "N••• h•••",
    "pin": None,
}

Noted = list[tuple[str, ...]]


@pytest.fixture(name="policy", scope="module")
def policy_fixture() -> Policy:
    """The policy in which one role has every view there is."""
    return parse_policy([(FILE.name, FILE.read_text("utf-8"))], {})[0]


@pytest.fixture(name="selection", scope="module")
def selection_fixture(policy: Policy) -> Selection:
    """The protected leaves of its rule."""
    selection = policy.rules[0].protect_response
    assert selection
    return selection


def cipher_of(policy: Policy, root: bytes = NEW) -> Cipher:
    """Return the cipher of a policy."""
    return Cipher(Keyset([root]), Scope("lms"), policy.fields, nonces())


def stored(policy: Policy, selection: Selection, user: object = USER) -> bytes:
    """Return what the backend gets."""
    body = json.dumps(user).encode()
    return encrypt_body(cipher_of(policy), selection, body, lambda *_: None)


def shown(
    policy: Policy, selection: Selection, sealed: bytes, noted: Noted | None = None
) -> Any:
    """Return what a client without a token gets of an answer."""
    noted = [] if noted is None else noted
    return json.loads(
        decrypt_body(
            (policy, cipher_of(policy)),
            selection,
            sealed,
            "",
            lambda *one: noted.append(one[:3]),
        )
    )


def leaves(document: object) -> Iterator[str]:
    """Yield every value of a document as text."""
    if isinstance(document, dict):
        for value in document.values():
            yield from leaves(value)
    else:
        yield json.dumps(document)


def test_the_backend_sees_no_value(policy: Policy, selection: Selection) -> None:
    """Every selected leaf of every mode and type is something else in the store."""
    sealed = json.loads(stored(policy, selection))

    assert sealed.keys() == USER.keys()
    assert not set(leaves(sealed)) & set(leaves(USER))


def test_each_view_shows_what_it_says(policy: Policy, selection: Selection) -> None:
    """Masks, pseudonym and null stand in their places; a dropped member is gone."""
    noted: Noted = []
    seen = shown(policy, selection, stored(policy, selection), noted)
    pseudonym = seen.pop("id")

    assert seen == HIDDEN
    assert pseudonym.startswith("•••")
    assert {outcome for _, _, outcome in noted} == {"masked"}
    assert len(noted) == len(USER)


def test_plain_shows_everything(policy: Policy, selection: Selection) -> None:
    """What goes in comes out, for a role that may see it."""
    plain: dict[str, dict[str, View]] = {
        "anyone": dict.fromkeys(policy.fields, View.PLAIN)
    }
    seeing = dataclasses.replace(policy, views=plain)
    noted: Noted = []

    assert shown(seeing, selection, stored(policy, selection), noted) == USER
    assert {outcome for _, _, outcome in noted} == {"ok"}


def test_pseudonyms_are_the_same_in_every_answer(
    policy: Policy, selection: Selection
) -> None:
    """Two encryptions of one value have one pseudonym."""
    answers = [
        shown(policy, selection, stored(policy, selection, {"id": one}))["id"]
        for one in ("a-7", "a-7", "a-8")
    ]

    assert answers[0] == answers[1] != answers[2]


def test_null_is_shown_as_null(policy: Policy, selection: Selection) -> None:
    """Absence is nobody's secret; a dropped member is gone all the same."""
    nothing = dict.fromkeys(USER)
    noted: Noted = []
    expected = {name: None for name in USER if name != "file"}

    assert shown(policy, selection, json.dumps(nothing).encode(), noted) == expected
    assert {outcome for _, _, outcome in noted} == {"null", "masked"}


def test_what_is_not_needed_is_not_decrypted(
    policy: Policy, selection: Selection
) -> None:
    """A fixed mask, null and a dropped member do not even open the ciphertext."""
    broken = b'{"phone": "lm1rAAAA", "pin": "lm1rAAAA", "file": "lm1rAAAA"}'

    assert shown(policy, selection, broken) == {"phone": "•••", "pin": None}


@pytest.mark.parametrize("name", ["name", "email", "born", "iban", "note", "id"])
def test_what_does_not_decrypt_is_not_shown(
    policy: Policy, selection: Selection, name: str
) -> None:
    """Under another key nothing is shown, and the failure is noted once."""
    sealed = stored(policy, selection, {name: USER[name]})
    noted: Noted = []
    with pytest.raises(Refused) as caught:
        decrypt_body(
            (policy, cipher_of(policy, OLD)),
            selection,
            sealed,
            "",
            lambda *one: noted.append(one[:3]),
        )

    assert caught.value.reason is Reason.FIELD_UNDECRYPTABLE
    assert noted == [(f"user.{name}", "decrypt", "unknown-key")]


@pytest.mark.parametrize(
    ("on_error", "expected"),
    [
        (OnError.NULL, {"name": None, "id": "a-7"}),
        (OnError.MASK, {"name": "•••", "id": "a-7"}),
        (OnError.CIPHERTEXT, {"name": "lm1rAAAA", "id": "a-7"}),
    ],
    ids=lambda one: one.value if isinstance(one, OnError) else "",
)
def test_a_field_may_fail_alone(
    policy: Policy, selection: Selection, on_error: OnError, expected: dict[str, str]
) -> None:
    """Where the policy says so, the rest of the answer is shown; and it is counted."""
    lenient = {
        name: dataclasses.replace(field, on_error=on_error)
        for name, field in policy.fields.items()
    }
    noted: Noted = []
    seen = shown(
        dataclasses.replace(policy, fields=lenient),
        selection,
        b'{"name": "lm1rAAAA", "id": "a-7"}',
        noted,
    )

    assert seen["name"] == expected["name"]
    assert ("user.name", "decrypt", "bad-tag") in noted


def test_every_leaf_is_noted_with_its_key(policy: Policy, selection: Selection) -> None:
    """Encrypting and decrypting; where no key was asked for there is none."""
    cipher, noted = cipher_of(policy), list[tuple[str, ...]]()
    body = b'{"name": "Ada", "note": null}'
    sealed = encrypt_body(cipher, selection, body, lambda *one: noted.append(one))
    decrypt_body(
        (policy, cipher), selection, sealed, "", lambda *one: noted.append(one)
    )
    key = f"{Keyset([NEW]).primary:08x}"

    assert noted == [
        ("user.name", "encrypt", "ok", key),
        ("user.note", "encrypt", "null", ""),
        ("user.name", "decrypt", "masked", key),
        ("user.note", "decrypt", "null", ""),
    ]


def test_without_a_lease_nothing_is_encrypted(
    policy: Policy, selection: Selection
) -> None:
    """Keys that nobody vouches for any more encrypt nothing; decrypting goes on."""
    lease, noted = Lease(), list[tuple[str, ...]]()
    cipher = Cipher(Keyset([NEW]), Scope("lms"), policy.fields, nonces(), lease=lease)
    sealed = stored(policy, selection)
    lease.valid = False
    with pytest.raises(Refused) as caught:
        encrypt_body(
            cipher, selection, b'{"name": "Ada"}', lambda *one: noted.append(one)
        )

    assert caught.value.reason is Reason.KEYS_UNAVAILABLE
    assert noted == [("user.name", "encrypt", "kms-unavailable", "")]
    assert b"lm1" not in decrypt_body(
        (policy, cipher), selection, sealed, "", lambda *_: None
    )


def test_an_unreadable_answer_is_the_backends_fault(
    policy: Policy, selection: Selection
) -> None:
    """What is no JSON from the backend is not blamed on the client."""
    with pytest.raises(Refused) as caught:
        shown(policy, selection, b'{"name":')

    assert caught.value.reason is Reason.RESPONSE_UNREADABLE


def test_older_values_are_counted_as_such(policy: Policy, selection: Selection) -> None:
    """What was stored before the proxy came is shown, and noted as plaintext."""
    plain = {"anyone": dict.fromkeys(policy.fields, View.PLAIN)}
    seeing = dataclasses.replace(policy, views=plain)
    noted: Noted = []

    assert shown(seeing, selection, b'{"name": "Ada"}', noted) == {"name": "Ada"}
    assert noted == [("user.name", "decrypt", "plaintext")]


@pytest.mark.parametrize(
    "body", [b"", b"{", b'{"name":1,"name":2}', b"\xff", rb'{"name":"\ud800"}']
)
def test_request_that_is_not_strict_json_is_refused(
    policy: Policy, selection: Selection, body: bytes
) -> None:
    """It is the client's doing, and no leaf was touched."""
    noted: Noted = []
    with pytest.raises(Refused) as caught:
        encrypt_body(
            cipher_of(policy), selection, body, lambda *one: noted.append(one[:3])
        )

    assert (caught.value.reason, noted) == (Reason.BODY_NOT_JSON, [])


def test_ciphertext_of_one_field_does_not_decrypt_as_another(
    policy: Policy, selection: Selection
) -> None:
    """A backend that swaps two columns is noticed."""
    sealed = json.loads(stored(policy, selection))
    swapped = {"name": sealed["note"], "note": sealed["name"]}
    with pytest.raises(Refused) as caught:
        shown(policy, selection, json.dumps(swapped).encode())

    assert caught.value.reason is Reason.FIELD_UNDECRYPTABLE


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters(codec="utf-8")),
    lambda inner: st.lists(inner) | st.dictionaries(st.just("k"), inner),
    max_leaves=5,
)


@given(file=_JSON, rest=_JSON)
def test_what_goes_in_comes_back(
    policy: Policy, selection: Selection, file: object, rest: object
) -> None:
    """Any JSON value with its type, and byte for byte what is not protected."""
    body = json.dumps({"rest": rest, "file": file}, ensure_ascii=False).encode()
    try:
        sealed = encrypt_body(cipher_of(policy), selection, body, lambda *_: None)
    except Refused:
        reject()  # a text that holds our own marks, which is another test
    plain = {"anyone": dict.fromkeys(policy.fields, View.PLAIN)}
    seeing = dataclasses.replace(policy, views=plain)
    ciphers = seeing, cipher_of(policy)

    assert decrypt_body(ciphers, selection, sealed, "", lambda *_: None) == body


# What comes back.


def sent_back(
    policy: Policy, selection: Selection, document: object, noted: Noted
) -> Any:
    """Return what the backend gets of a document from a role with every view."""
    body = json.dumps(document).encode()
    return json.loads(
        encrypt_body(
            cipher_of(policy),
            selection,
            body,
            lambda *one: noted.append(one[:3]),
            lambda field: policy.view("", field),
        )
    )


@pytest.mark.parametrize("name", [*HIDDEN, "id"])
def test_what_a_view_shows_never_overwrites(
    policy: Policy, selection: Selection, name: str
) -> None:
    """Read, and written back: refused for every mask, the pseudonym and the null."""
    seen = shown(policy, selection, stored(policy, selection))
    noted: Noted = []
    with pytest.raises(Refused) as caught:
        sent_back(policy, selection, {name: seen[name]}, noted)

    assert caught.value.reason is Reason.MASK_IN_REQUEST
    assert noted == [(f"user.{name}", "encrypt", "refused")]


@pytest.mark.parametrize("view", View)
def test_a_null_that_may_hide_a_value_is_refused(view: View) -> None:
    """Only where null is never shown for a value can null be meant."""
    may_hide = view in {
        View.MASK,
        View.MASK_EMAIL,
        View.MASK_LAST4,
        View.MASK_YEAR,
        View.MASK_INITIALS,
        View.NULL,
    }

    assert view.shows_null is may_hide


def test_a_null_that_is_meant_goes_through(
    policy: Policy, selection: Selection
) -> None:
    """A role that sees a value, or its pseudonym, can clear it."""
    noted: Noted = []
    document = {"id": None, "file": None, "phone": None}

    assert sent_back(policy, selection, document, noted) == document
    assert {outcome for _, _, outcome in noted} == {"null"}


def test_without_views_a_null_is_meant(policy: Policy, selection: Selection) -> None:
    """Who is not told what the role sees takes null for what it says."""
    assert stored(policy, selection, {"name": None}) == b'{"name": null}'


# Queries and forms.

LOOK_UP = Parameters.compile({"email": "user.email", "phone": "user.phone"})


def test_a_query_asks_for_what_a_body_stored(
    policy: Policy, selection: Selection
) -> None:
    """A look-up finds what was written, however the address is typed."""
    body = json.loads(stored(policy, selection))
    noted: Noted = []
    path, _, query = encrypt_target(
        cipher_of(policy),
        LOOK_UP,
        "/users?page=2&email=ADA%40example.org&phone=%2B49+30+1234567&email=",
        lambda *one: noted.append(one[:3]),
        lambda _: View.PLAIN,
    ).partition("?")

    assert path == "/users"
    assert parse_qsl(query, keep_blank_values=True) == [
        ("page", "2"),
        ("email", body["email"]),
        ("phone", body["phone"]),
        ("email", ""),
    ]
    assert noted == [("user.email", "encrypt", "ok"), ("user.phone", "encrypt", "ok")]


@pytest.mark.parametrize("view", sorted(set(View) - {View.PLAIN}, key=str))
def test_who_does_not_see_a_field_cannot_look_it_up(policy: Policy, view: View) -> None:
    """Whether a guess finds something is an answer, so it is not given."""
    noted: Noted = []
    with pytest.raises(Refused) as caught:
        encrypt_target(
            cipher_of(policy),
            LOOK_UP,
            "/users?email=ada@example.org",
            lambda *one: noted.append(one[:3]),
            lambda _: view,
        )

    assert caught.value.reason is Reason.FILTER_NOT_ALLOWED
    assert noted == [("user.email", "encrypt", "refused")]


def test_a_query_that_asks_nothing_is_everybodys(policy: Policy) -> None:
    """Without a value for the field, a role that does not see it may ask the rest."""
    for target in ("/users?page=2&email=", "/users?", "/email=ada"):
        encrypted = encrypt_target(
            cipher_of(policy), LOOK_UP, target, lambda *_: None, lambda _: View.DROP
        )

        assert encrypted == target


def test_a_form_becomes_what_a_body_would(policy: Policy, selection: Selection) -> None:
    """The same value has the same ciphertext in a form and in JSON."""
    body = json.loads(stored(policy, selection))
    form = encrypt_form(
        cipher_of(policy), LOOK_UP, b"email=ada%40example.org&x=%zz", lambda *_: None
    )

    assert parse_qsl(form.decode())[0] == ("email", body["email"])
    assert form.endswith(b"&x=%zz")


@pytest.mark.parametrize(
    ("form", "reason"),
    [
        (b"email=\xc3\xa9@x.org", Reason.PARAMETER_AMBIGUOUS),
        (b"Email=ada@example.org", Reason.PARAMETER_AMBIGUOUS),
        (b"email=ada", Reason.FIELD_UNENCRYPTABLE),
        (b"email=a%E2%80%A2%E2%80%A2%E2%80%A2@x", Reason.MASK_IN_REQUEST),
        (b"email=a@enc.lms.example", Reason.CIPHERTEXT_IN_REQUEST),
    ],
)
def test_what_a_form_may_not_hold(policy: Policy, form: bytes, reason: Reason) -> None:
    """The rules of bodies hold for forms, too."""
    noted: Noted = []
    with pytest.raises(Refused) as caught:
        encrypt_form(
            cipher_of(policy), LOOK_UP, form, lambda *one: noted.append(one[:3])
        )

    assert caught.value.reason is reason
    assert {outcome for _, _, outcome in noted} <= {"refused"}


def test_what_an_answer_needs_of_the_keystore_is_asked_for() -> None:
    """Every leaf that may be a token, and none of what cannot be read."""
    fields = {"user.iban": Field(id="user.iban", mode=Mode.TOKEN)}
    cipher = Cipher(Keyset([NEW]), Scope("lms"), fields, nonces())
    selection = Selection.compile({"$[*].iban": "user.iban"})
    tokens = ["a" * 24, "b" * 24]
    leaves = [*tokens, "DE89", None, 7]
    body = json.dumps([{"iban": leaf} for leaf in leaves]).encode()

    assert asked_of(cipher, selection, body) == [
        token_name("", "user.iban", token) for token in tokens
    ]
    assert asked_of(cipher, selection, body[:-1]) == []
