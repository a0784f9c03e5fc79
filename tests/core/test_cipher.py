"""The cipher as a whole: frozen formats, refusals, and what holds for all modes."""

import base64
import itertools
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.core.cipher import Cipher
from proxy.core.errors import Refused
from proxy.core.field import Field, Mode
from proxy.core.reasons import Reason
from tests.cipher_builders import (
    FIELD,
    KINDS,
    MAIL_DOMAIN,
    NEW,
    OLD,
    SAMPLES,
    a_cipher,
    a_field,
    is_refused,
    no_client_sends,
    not_encrypted,
)
from tests.independent_decryptor import Reader

Case = dict[str, Any]


def cases(name: str) -> list[Case]:
    """Return the cases of a golden file."""
    path = Path(__file__).parents[1] / "vectors" / name
    found: list[Case] = json.loads(path.read_text("utf-8"))["cases"]
    return found


FIRST = cases("cipher_v1.json")
GOLDEN = cases("cipher_modes.json")
RANDOM_KINDS = ("committing", "compact")


def reader_of(case: Case) -> Reader:
    """Return the independent decryptor for a case."""
    names = case["deployment"], case.get("tenant", ""), case["field"]
    return Reader(bytes.fromhex(case["key"]), *names)


# The frozen formats.


@pytest.mark.parametrize("case", FIRST, ids=lambda case: case["name"])
def test_the_first_generation_stays_readable(case: Case) -> None:
    """What suite 0x04 wrote decrypts, here and by other code."""
    ours = a_cipher(
        a_field(name=case["field"]),
        roots=(bytes.fromhex(case["key"]),),
        deployment=case["deployment"],
    )

    restored = ours.decrypt(case["field"], case["ciphertext"])
    assert json.loads(restored) == json.loads(case["leaf"])
    by_hand = reader_of(case).text(json.loads(case["ciphertext"]))
    assert json.loads(by_hand) == json.loads(case["leaf"])


@pytest.mark.parametrize("case", GOLDEN, ids=lambda case: case["name"])
def test_the_formats_never_change(case: Case) -> None:
    """What is equal for equal values is reproduced, and what decrypts is read back."""
    kind, field, leaf = case["kind"], case["field"], case["leaf"]
    ours = a_cipher(
        a_field(kind, name=field),
        roots=(bytes.fromhex(case["key"]),),
        deployment=case["deployment"],
        tenant=case["tenant"],
    )
    if kind not in RANDOM_KINDS:
        assert ours.encrypt(field, leaf) == case["ciphertext"]
    if kind != "pepper":
        assert ours.decrypt(field, case["ciphertext"]) == case["restored"]


@pytest.mark.parametrize("case", GOLDEN, ids=lambda case: case["name"])
def test_other_code_reads_the_formats(case: Case) -> None:
    """A second decryptor, written from the descriptions alone, agrees."""
    reader, stored = reader_of(case), json.loads(case["ciphertext"])
    match case["kind"]:
        case "mail":
            assert reader.address(stored, MAIL_DOMAIN) == json.loads(case["restored"])
        case "digits":
            assert reader.digits(stored) == json.loads(case["restored"])
        case "pepper":
            assert reader.pepper(json.loads(case["leaf"])) == stored
        case _:
            assert json.loads(reader.text(stored)) == json.loads(case["restored"])


@pytest.mark.parametrize("kind", [*SAMPLES, "pepper"])
def test_other_code_reads_what_is_written_now(kind: str) -> None:
    """Not only the golden file: the second decryptor reads ciphertexts of today."""
    leaf = SAMPLES.get(kind, '"correct horse"')
    stored = json.loads(a_cipher(a_field(kind)).encrypt(FIELD, leaf))
    reader = Reader(NEW, "lms", "", FIELD)
    match kind:
        case "mail":
            assert json.dumps(reader.address(stored, MAIL_DOMAIN)) == leaf
        case "digits":
            assert json.dumps(reader.digits(stored)) == leaf
        case "pepper":
            assert reader.pepper(json.loads(leaf)) == stored
        case _:
            assert reader.text(stored) == leaf


# Rules for every mode.


@pytest.mark.parametrize("kind", KINDS)
def test_null_stays_null(kind: str) -> None:
    """An absent value has no ciphertext, and takes no nonce."""
    unused = a_cipher(a_field(kind), nonce=lambda: pytest.fail("a nonce was taken"))

    assert unused.encrypt(FIELD, "null") == "null"
    assert unused.decrypt(FIELD, "null") == "null"


@pytest.mark.parametrize("kind", ["mail", "digits", "pepper"])
def test_an_empty_string_stays_empty_where_a_shape_is_kept(kind: str) -> None:
    """A backend that says "not set" with an empty string goes on doing so."""
    assert a_cipher(a_field(kind)).encrypt(FIELD, '""') == '""'
    assert a_cipher(a_field(kind)).decrypt(FIELD, '""') == '""'


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "leaf",
    [
        '"lm1r"',
        '"lm1rAAAA"',
        '"lm1dAAAA"',
        r'"\u006cm1r"',
        FIRST[0]["ciphertext"],
        *(case["ciphertext"] for case in GOLDEN[:20:6]),
    ],
)
def test_ciphertext_from_a_client_is_refused(kind: str, leaf: str) -> None:
    """Nobody has somebody else's ciphertext stored as his own, to read it back."""
    expected = Reason.CIPHERTEXT_IN_REQUEST, f"The field is {FIELD}."

    assert not_encrypted(a_cipher(a_field(kind)), leaf) == expected


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("leaf", ['"A•••"', '"x ••• y"', r'"\u2022\u2022\u2022"'])
def test_a_mask_from_a_client_is_refused(kind: str, leaf: str) -> None:
    """A masked value that comes back does not overwrite the real one."""
    expected = Reason.MASK_IN_REQUEST, f"The field is {FIELD}."

    assert not_encrypted(a_cipher(a_field(kind)), leaf) == expected


@pytest.mark.parametrize("kind", SAMPLES)
@pytest.mark.parametrize(
    "leaf",
    ['"Ada"', '""', '"lm1"', '"Lm1rA"', '" lm1rA"', "0", "true", '["lm1rA"]', "{}"],
)
def test_older_plaintext_passes(kind: str, leaf: str) -> None:
    """What was stored before the proxy came is returned, the very same object."""
    assert a_cipher(a_field(kind)).decrypt(FIELD, leaf) is leaf


@pytest.mark.parametrize("kind", SAMPLES)
def test_a_backend_may_escape_a_ciphertext(kind: str) -> None:
    """A ciphertext is one however its characters are spelled."""
    ours = a_cipher(a_field(kind))
    leaf = ours.encrypt(FIELD, SAMPLES[kind])
    spelled = "".join(f"\\u{ord(one):04x}" for one in leaf[1:-1])

    assert ours.decrypt(FIELD, f'"{spelled}"') == SAMPLES[kind]


@pytest.mark.parametrize("kind", SAMPLES)
def test_text_outside_json_is_encrypted_likewise(kind: str) -> None:
    """What a query or a form holds becomes what a JSON body would hold."""
    ours = a_cipher(a_field(kind))
    stored = ours.encrypt_text(FIELD, json.loads(SAMPLES[kind]))

    assert ours.decrypt(FIELD, json.dumps(stored)) == SAMPLES[kind]
    if kind not in RANDOM_KINDS:
        assert json.dumps(stored) == ours.encrypt(FIELD, SAMPLES[kind])


def test_a_repr_shows_nothing() -> None:
    """Neither keys nor values are in what an error report could show."""
    ours = a_cipher(*(a_field(kind, name=f"f.{kind}") for kind in KINDS))
    shown = f"{ours!r} {ours._modes!r} {ours._readers!r}"

    for secret in (NEW.hex(), str(NEW), base64.urlsafe_b64encode(NEW).decode()):
        assert secret not in shown


# Which pairing decrypts.

PLACES = list(itertools.product(("a", "ab"), ("", "b"), ("b.c", "c")))
LEAVES = {
    "committing": ('"42"', "42", '"true"', "true", '["x"]', '{"a": 1}', '""'),
    "compact": ('"42"', "42", '"true"', "true", '["x"]', '{"a": 1}', '""'),
    "deterministic": ('"42"', "42", '"null"', "4.2e1", '["x"]', '{"a": 1}', '""'),
    "mail": ('"ada@example.org"',),
}


def sealed_everywhere() -> list[tuple[tuple[Any, ...], str, str]]:
    """Return (place and kind, leaf, ciphertext) for all of them."""
    return [
        ((deployment, tenant, name, kind), leaf, ours.encrypt(name, leaf))
        for deployment, tenant, name in PLACES
        for kind, leaves in LEAVES.items()
        for ours in [
            a_cipher(a_field(kind, name=name), deployment=deployment, tenant=tenant)
        ]
        for leaf in leaves
    ]


def test_every_wrong_pairing_is_refused() -> None:
    """Deployment, tenant, field, mode and type: all are as encrypted, or none decrypts.

    The two random suites belong to one mode, and so read each other.
    """
    sealed = sealed_everywhere()
    for deployment, tenant, name in PLACES:
        for kind in LEAVES:
            field = a_field(kind, name=name)
            ours = a_cipher(field, deployment=deployment, tenant=tenant)
            for (*place, other), leaf, stored in sealed:
                same_mode = kind == other or {kind, other} == set(RANDOM_KINDS)
                if place == [deployment, tenant, name] and same_mode:
                    assert ours.decrypt(name, stored) == leaf
                elif other == "mail" and kind != "mail":
                    # Without its domain an address is text like any other.
                    assert ours.decrypt(name, stored) is stored
                else:
                    assert is_refused(ours, stored, name), (place, other, kind)


def test_equal_text_of_another_type_has_another_ciphertext() -> None:
    """The string 42 and the number 42 are two values, also where equality is kept."""
    ours = a_cipher(a_field("deterministic"))
    sealed = {ours.encrypt(FIELD, leaf) for leaf in LEAVES["deterministic"]}

    assert len(sealed) == len(LEAVES["deterministic"])


def test_digits_of_another_place_stay_secret() -> None:
    """There is no tag to refuse by, but the wrong place yields other digits."""
    stored = a_cipher(a_field("digits")).encrypt(FIELD, SAMPLES["digits"])
    others = [
        a_cipher(a_field("digits"), deployment="other"),
        a_cipher(a_field("digits"), tenant="other"),
        a_cipher(a_field("digits"), roots=(OLD,)),
    ]

    assert SAMPLES["digits"] not in [one.decrypt(FIELD, stored) for one in others]


# Changing a message.


def flipped(text: str, prefix: str) -> list[str]:
    """Return the leaves that differ from a text by one bit of its message."""
    body = text[len(prefix) :]
    message = base64.urlsafe_b64decode(body + "=" * (-len(body) % 4))
    changed = []
    for bit in range(len(message) * 8):
        other = bytearray(message)
        other[bit // 8] ^= 1 << bit % 8
        encoded = base64.urlsafe_b64encode(other).decode().rstrip("=")
        changed.append(f'"{prefix}{encoded}"')
    return changed


@pytest.mark.parametrize("kind", ["committing", "compact", "deterministic"])
def test_every_flipped_bit_is_noticed(kind: str) -> None:
    """No bit of a message, and no character of its text, can be changed."""
    ours = a_cipher(a_field(kind))
    text = json.loads(ours.encrypt(FIELD, '"Ada"'))
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    changed = flipped(text, text[:4]) + [
        f'"{text[:at]}{other}{text[at + 1 :]}"'
        for at, other in itertools.product(range(4, len(text)), alphabet)
        if other != text[at]
    ]

    assert [leaf for leaf in changed if not is_refused(ours, leaf)] == []


@pytest.mark.parametrize("kind", ["committing", "compact", "deterministic"])
def test_every_shortened_or_lengthened_ciphertext_is_refused(kind: str) -> None:
    """A ciphertext is whole or it is nothing."""
    ours = a_cipher(a_field(kind))
    leaf = ours.encrypt(FIELD, '"Ada"')
    tails = ("A", "AA", "=", "==", " ", "\\n", "+", "é", "\\ud800", "\\u0000")
    changed = [leaf[:length] + '"' for length in range(5, len(leaf) - 1)]
    changed += [f'{leaf[:-1]}{tail}"' for tail in tails]

    assert [leaf for leaf in changed if not is_refused(ours, leaf)] == []


@pytest.mark.parametrize("suite", sorted({*range(256)} - {1, 2, 4}))
def test_an_unknown_suite_is_refused(suite: int) -> None:
    """What a later version may write is not guessed."""
    message = bytes((0xE1, suite)) + bytes(60)
    encoded = base64.urlsafe_b64encode(message).decode().rstrip("=")
    ours = a_cipher(a_field("deterministic", reads=frozenset({Mode.RANDOM})))

    assert is_refused(ours, f'"lm1r{encoded}"')
    assert is_refused(ours, f'"lm1d{encoded}"')


# Keys.


@pytest.mark.parametrize("kind", ["committing", "compact"])
def test_an_old_key_decrypts_and_the_new_one_encrypts(kind: str) -> None:
    """A key can be replaced while values under the old one are still stored."""
    field = a_field(kind)
    stored = a_cipher(field, roots=(OLD,)).encrypt(FIELD, '"Ada"')
    both = a_cipher(field, roots=(NEW, OLD))
    renewed = both.encrypt(FIELD, '"Ada"')

    assert both.decrypt(FIELD, stored) == '"Ada"'
    assert a_cipher(field, roots=(NEW,)).decrypt(FIELD, renewed) == '"Ada"'
    assert is_refused(a_cipher(field, roots=(OLD,)), renewed)
    assert is_refused(a_cipher(field, roots=(NEW,)), stored)


OLD_ID, NEW_ID = 0x838B3718, 0x144166B4


@pytest.mark.parametrize("kind", ["deterministic", "mail", "digits", "pepper"])
def test_equality_outlives_a_new_key(kind: str) -> None:
    """The key that a field names goes on encrypting, whichever comes first."""
    leaf = SAMPLES.get(kind, '"correct horse"')
    stored = a_cipher(a_field(kind), roots=(OLD,)).encrypt(FIELD, leaf)
    pinned = a_field(kind, key=OLD_ID)

    for roots in ((OLD,), (NEW, OLD), (OLD, NEW)):
        assert a_cipher(pinned, roots=roots).encrypt(FIELD, leaf) == stored


@pytest.mark.parametrize("kind", ["deterministic", "mail"])
def test_another_key_still_decrypts(kind: str) -> None:
    """Ciphertexts name their key, so what a field wrote before stays readable."""
    stored = a_cipher(a_field(kind), roots=(OLD,)).encrypt(FIELD, SAMPLES[kind])
    moved = a_cipher(a_field(kind, key=NEW_ID), roots=(NEW, OLD))

    assert moved.decrypt(FIELD, stored) == SAMPLES[kind]
    assert moved.encrypt(FIELD, SAMPLES[kind]) != stored


@pytest.mark.parametrize("kind", ["deterministic", "mail", "digits", "pepper"])
def test_a_second_key_demands_a_choice(kind: str) -> None:
    """With two keys nothing starts until the field says which one it stays with."""
    with pytest.raises(ValueError, match=rf"{FIELD} .*add key: .*838b3718"):
        a_cipher(a_field(kind), roots=(NEW, OLD))


def test_a_key_that_is_not_there_is_named() -> None:
    """A field that stays with a lost key does not start, and says which are there."""
    with pytest.raises(ValueError, match=r"00000001, which is not there.*838b3718"):
        a_cipher(a_field("deterministic", key=1), roots=(OLD,))


# Older modes of the same field.


@pytest.mark.parametrize(
    ("now", "before"),
    [
        ("committing", "deterministic"),
        ("compact", "deterministic"),
        ("deterministic", "committing"),
        ("mail", "committing"),
        ("mail", "deterministic"),
        ("digits", "compact"),
    ],
)
def test_a_field_reads_what_it_is_told_to(now: str, before: str) -> None:
    """When a field changes its mode, what it wrote before decrypts, if it says so."""
    stored = a_cipher(a_field(before)).encrypt(FIELD, '"Ada"')
    told = a_field(now, reads=frozenset({KINDS[before]["mode"]}))

    assert a_cipher(told).decrypt(FIELD, stored) == '"Ada"'
    assert is_refused(a_cipher(a_field(now)), stored)


# Round trips.

_scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False)
_values = st.recursive(
    _scalars | st.text(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(max_size=4), inner, max_size=4)
    ),
    max_leaves=10,
)


@pytest.mark.parametrize("kind", ["committing", "compact", "deterministic"])
@settings(deadline=None)  # the first use of a primitive takes longer
@given(value=_values.filter(lambda v: not no_client_sends(v)), ascii_only=st.booleans())
def test_decrypting_restores_type_and_value(
    kind: str, *, value: Any, ascii_only: bool
) -> None:
    """Every JSON value comes back; what is no string comes back byte for byte."""
    leaf = json.dumps(value, ensure_ascii=ascii_only)
    ours = a_cipher(a_field(kind, normalise=frozenset(), accept_leakage=True))
    restored = ours.decrypt(FIELD, ours.encrypt(FIELD, leaf))

    assert json.loads(restored) == value
    assert isinstance(value, str) or restored == leaf


@pytest.mark.parametrize("kind", ["committing", "compact", "deterministic"])
@pytest.mark.parametrize(
    "leaf",
    ["1.10", "-0", "1E400", "9" * 5000, "[ 1,\t2 ]", '{"b":1, "a" : "\\u00e9"}'],
)
def test_other_values_keep_their_spelling(kind: str, leaf: str) -> None:
    """Numbers, order and white space inside a protected value are the sender's."""
    ours = a_cipher(a_field(kind))

    assert ours.decrypt(FIELD, ours.encrypt(FIELD, leaf)) == leaf


@pytest.mark.parametrize(
    ("leaf", "restored"),
    [
        (r'"\u0041\/"', '"A/"'),
        (r'"\u00e9\ud83d\ude00"', '"é😀"'),
        (r'"\u0000\u001f\n\"\\x"', r'"\u0000\u001f\n\"\\x"'),
        ('"\u2028\x7f"', '"\u2028\x7f"'),
    ],
)
def test_strings_are_written_with_the_fewest_escapes(leaf: str, restored: str) -> None:
    """A string keeps its value; its escapes are those that JSON demands."""
    ours = a_cipher(a_field())

    assert ours.decrypt(FIELD, ours.encrypt(FIELD, leaf)) == restored


@pytest.mark.parametrize("kind", ["committing", "compact", "deterministic"])
def test_too_long_a_value_is_refused(kind: str) -> None:
    """A value whose ciphertext would be cut off is not sent; the limit counts bytes."""
    ours = a_cipher(a_field(kind, max_bytes=4))

    assert ours.encrypt(FIELD, '"éé"') != ours.encrypt(FIELD, '"abcd"')
    for leaf in ('"éé1"', '"abcde"', "12345", "[1,2]"):
        reason, detail = not_encrypted(ours, leaf)
        assert reason is Reason.FIELD_UNENCRYPTABLE
        assert detail == f"The field is {FIELD}: at most 4 bytes fit."


def test_an_unknown_field_is_a_bug() -> None:
    """What no policy declares is neither encrypted nor decrypted."""
    with pytest.raises(KeyError):
        a_cipher().encrypt("user.other", '"Ada"')
    with pytest.raises(KeyError):
        a_cipher().decrypt("user.other", '"Ada"')


def test_refusals_never_hold_the_value() -> None:
    """Neither the message nor the detail of a refusal shows what was sent."""
    for kind in ("mail", "digits", "pepper", "fernet"):
        with pytest.raises(Refused) as caught:
            a_cipher(a_field(kind, max_bytes=2, min_length=99)).encrypt(
                FIELD, '"hunter2 and more"'
            )
        assert "hunter2" not in f"{caught.value!r} {caught.value} {caught.value.detail}"


def test_every_mode_can_be_made() -> None:
    """No mode of the policy's is without a cipher."""
    fields = [a_field(kind, name=kind) for kind in KINDS]
    fields.append(Field(id="token", mode=Mode.TOKEN))

    assert {field.mode for field in fields} == set(Mode)
    assert isinstance(a_cipher(*fields), Cipher)


def test_pseudonyms_are_of_the_field() -> None:
    """The cipher of a policy names what its fields hold."""
    ours = a_cipher(a_field(name="a"), a_field(name="b"))
    names = [ours.pseudonym(field, '"Ada"', "student") for field in ("a", "b", "a")]

    assert names[0] == names[2] != names[1]
