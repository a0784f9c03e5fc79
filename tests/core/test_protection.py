"""Protected bodies: what the backend gets, what each role gets back, what is noted."""

import itertools
import json

import pytest
from hypothesis import given, reject
from hypothesis import strategies as st

from proxy.core.cipher import PREFIX, Cipher
from proxy.core.errors import Refused
from proxy.core.fields import Selection
from proxy.core.keyset import Keyset
from proxy.core.policy import Policy
from proxy.core.policy_parser import parse_policy
from proxy.core.protection import decrypt_body, encrypt_body
from proxy.core.reasons import Reason

POLICY = """
version: 1
backends: {lms: {servers: ["http://127.0.0.1:9000"]}}
issuers:
  lumina: {issuer: lumina, audience: lms, algorithms: [HS256], roles: $.role,
           secret: "0123456789abcdef0123456789abcdef"}
roles: [student, teacher]
fields: {user.name: {mode: random}, user.age: {mode: random}}
views:
  anyone: {"*": plain}
  student: {user.name: mask, user.age: plain}
  teacher: {"*": plain}
rules:
  - id: user
    match: GET,POST /api/users
    allow: [student, teacher]
    protect:
      request: {$.name: user.name, $.age: user.age}
      response: {$.name: user.name, $.age: user.age}
"""
SELECTION = Selection.compile({"$.name": "user.name", "$.age": "user.age"})

Noted = list[tuple[str, str, str]]


@pytest.fixture(name="policy", scope="module")
def policy_fixture() -> Policy:
    """A policy with two fields that its roles see differently."""
    return parse_policy([("policy.yaml", POLICY)], {})[0]


def cipher(key: bytes = bytes(32)) -> Cipher:
    """Return a cipher whose nonces count."""
    nonce = (n.to_bytes(12, "big") for n in itertools.count()).__next__
    return Cipher(Keyset([key]), "lms", nonce)


def encrypted(plain: bytes, noted: Noted | None = None) -> bytes:
    """Return what the backend gets."""
    noted = [] if noted is None else noted
    return encrypt_body(cipher(), SELECTION, plain, lambda *one: noted.append(one))


def shown(
    policy: Policy, sealed: bytes, role: str, noted: Noted | None = None
) -> bytes:
    """Return what a role gets of the backend's answer."""
    noted = [] if noted is None else noted
    return decrypt_body(
        (policy, cipher()), SELECTION, sealed, role, lambda *one: noted.append(one)
    )


def test_backend_gets_ciphertext_where_values_were() -> None:
    """Every selected leaf, of any type; every other byte stays."""
    noted: Noted = []
    sealed = encrypted(b'{ "id": 1.0, "name": "Ada", "age":36 }', noted)

    assert b"Ada" not in sealed
    assert sealed.startswith(b'{ "id": 1.0, "name": "' + PREFIX.encode())
    assert json.loads(sealed)["age"].startswith(PREFIX)
    assert noted == [("user.name", "encrypt", "ok"), ("user.age", "encrypt", "ok")]


@pytest.mark.parametrize(
    ("role", "expected", "outcomes"),
    [
        ("teacher", b'{"name":"Ada Lovelace","age":36}', ["ok", "ok"]),
        ("", b'{"name":"Ada Lovelace","age":36}', ["ok", "ok"]),
        (
            "student",
            '{"name":"A••• L•••","age":36}'.encode(),
            ["masked", "ok"],
        ),
        ("nobody", '{"name":"A••• L•••","age":null}'.encode(), ["masked", "masked"]),
    ],
    ids=["plain", "without-a-token", "one-masked", "unknown-role"],
)
def test_role_gets_what_its_view_allows(
    policy: Policy, role: str, expected: bytes, outcomes: list[str]
) -> None:
    """Decrypted where the policy says plain, masked everywhere else."""
    noted: Noted = []
    sealed = encrypted(b'{"name":"Ada Lovelace","age":36}')

    assert shown(policy, sealed, role, noted) == expected
    assert noted == [
        ("user.name", "decrypt", outcomes[0]),
        ("user.age", "decrypt", outcomes[1]),
    ]


def test_what_was_stored_before_the_proxy_came_is_readable_and_noted(
    policy: Policy,
) -> None:
    """An unencrypted row passes, or is masked like any other, and can be counted."""
    noted: Noted = []
    stored = b'{"name":"Ada Lovelace","age":36}'

    assert shown(policy, stored, "teacher", noted) == stored
    assert [outcome for _, _, outcome in noted] == ["plaintext", "plaintext"]
    assert "Lovelace" not in shown(policy, stored, "student").decode()


def test_null_stays_null_and_is_not_counted_as_a_value(policy: Policy) -> None:
    """An absent value is neither encrypted nor a leftover in plaintext."""
    noted: Noted = []
    body = b'{"name":null}'

    assert encrypted(body, noted) == body
    assert shown(policy, body, "teacher", noted) == body
    assert shown(policy, body, "student", noted) == body
    assert [outcome for _, _, outcome in noted] == ["null", "null", "null"]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b'{"age":36,"name":"lm1rAAAA"}', Reason.CIPHERTEXT_IN_REQUEST),
        ('{"age":36,"name":"A•••"}'.encode(), Reason.MASK_IN_REQUEST),
    ],
    ids=["ciphertext", "mask"],
)
def test_request_that_holds_our_own_marks_is_refused(
    body: bytes, reason: Reason
) -> None:
    """Nothing is forwarded, and the leaf that was refused is noted."""
    noted: Noted = []
    with pytest.raises(Refused) as caught:
        encrypted(body, noted)

    assert caught.value.reason is reason
    assert noted[-1] == ("user.name", "encrypt", "refused")


@pytest.mark.parametrize(
    "body", [b"", b"{", b'{"name":1,"name":2}', b"\xff", rb'{"name":"\ud800"}']
)
def test_request_that_is_not_strict_json_is_refused(body: bytes) -> None:
    """It is the client's doing, and no leaf was touched."""
    noted: Noted = []
    with pytest.raises(Refused) as caught:
        encrypted(body, noted)

    assert (caught.value.reason, noted) == (Reason.BODY_NOT_JSON, [])


def test_answer_that_is_not_strict_json_is_the_backends_doing(policy: Policy) -> None:
    """The same text in an answer has another reason, and keeps its sentence."""
    with pytest.raises(Refused) as caught:
        shown(policy, b'{"name"', "teacher")

    assert caught.value.reason is Reason.RESPONSE_UNREADABLE
    assert caught.value.detail == "The body is not JSON, at byte 7."


@pytest.mark.parametrize("role", ["teacher", "student"])
def test_what_does_not_decrypt_is_shown_to_nobody(policy: Policy, role: str) -> None:
    """Another key's ciphertext is refused, even where it would be masked."""
    note = lambda *_: None  # noqa: E731 - nothing to note
    foreign = encrypt_body(cipher(b"k" * 32), SELECTION, b'{"name":"Ada"}', note)
    noted: Noted = []
    with pytest.raises(Refused) as caught:
        shown(policy, foreign, role, noted)

    assert caught.value.reason is Reason.FIELD_UNDECRYPTABLE
    assert noted == [("user.name", "decrypt", "failed")]


def test_ciphertext_of_one_field_does_not_decrypt_as_another(policy: Policy) -> None:
    """A backend that swaps two columns is noticed."""
    sealed = json.loads(encrypted(b'{"name":"Ada","age":36}'))
    swapped = {"name": sealed["age"], "age": sealed["name"]}
    with pytest.raises(Refused) as caught:
        shown(policy, json.dumps(swapped).encode(), "teacher")

    assert caught.value.reason is Reason.FIELD_UNDECRYPTABLE


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters(codec="utf-8")),
    lambda inner: st.lists(inner) | st.dictionaries(st.just("k"), inner),
    max_leaves=5,
)


@given(name=_JSON, age=_JSON, rest=_JSON)
def test_what_goes_in_comes_back(
    policy: Policy, name: object, age: object, rest: object
) -> None:
    """A teacher reads any JSON value that anyone stored, with its type."""
    document = {"name": name, "age": age, "rest": rest}
    body = json.dumps(document, ensure_ascii=False).encode()
    try:
        sealed = encrypted(body)
    except Refused:
        reject()  # a text that holds our own marks, which is another test

    assert shown(policy, sealed, "teacher") == body
