"""Parameters: every occurrence is found, whatever parser the backend has."""

import itertools
from urllib.parse import parse_qsl, quote, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.errors import Refused
from proxy.core.parameters import Parameters, is_form
from proxy.core.reasons import Reason

EMAIL = Parameters.compile({"email": "user.email"})


def marked(field: str, value: str) -> str:
    """Stand in for encryption: show what was found, with what must be encoded."""
    return f"<{field}&{value}>"


def found(text: str, parameters: Parameters = EMAIL) -> list[tuple[str, str]]:
    """Return what ``encrypt`` is called with."""
    calls: list[tuple[str, str]] = []

    def encrypt(field: str, value: str) -> str:
        calls.append((field, value))
        return value

    parameters.replace(text, encrypt)
    return calls


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("email=ada%40x.org", ["ada@x.org"]),
        ("a=1&email=ada@x.org&b=2", ["ada@x.org"]),
        ("email=a&x=1&email=b", ["a", "b"]),
        ("%65mail=a", ["a"]),
        ("em%61il=a+b%20c", ["a b c"]),
        ("email=%C3%A9", ["é"]),
        ("email=a=b", ["a=b"]),
        ("email=%25", ["%"]),
        ("email=", []),
        ("email", []),
        ("", []),
        ("&&", []),
        ("x=email&xemail=1&emails=1&e-mail=1", []),
        ("name=email=a", []),
        ("x=%zz&y=%ff&%zz=1", []),
        ("x=a;b", []),
    ],
)
def test_every_occurrence_is_found(text: str, values: list[str]) -> None:
    """However its name is encoded, in its order; other names are not."""
    assert found(text) == [("user.email", value) for value in values]


def test_everything_else_stays_byte_for_byte() -> None:
    """Other pairs, empty ones and the spelling of names are the sender's."""
    text = "&a=%7e+%zz&%65mail=x&=&b&email=&A=%41&&email=y&"
    expected = text.replace("=x", "=%3Cuser.email%26x%3E").replace(
        "=y", "=%3Cuser.email%26y%3E"
    )

    assert EMAIL.replace(text, marked) == expected


@pytest.mark.parametrize(
    "text",
    [
        "Email=a",
        "EMAIL=a",
        "email%20=a",
        "+email=a",
        "email%00=a",
        "email%00x=a",
        "email[]=a",
        "email%5B%5D=a",
        "email[0]=a",
        "email[a][b]=a",
        "em%zzail=a&Email=b",
        "x=1;email=a",
        "x;email=a",
        "x=1;%65mail=a",
        "email=a;b=1",
        "email=%",
        "email=%4",
        "email=%gg",
        "email=%ff",
        "email=%C3",
        "email=%ED%A0%80",
        "%0Aemail=a",
        "?email=a",
        "%3Femail=a",
        "%EF%BB%BFemail=a",
        "?%EF%BB%BF%20email=a",
    ],
)
def test_what_some_parser_would_find_is_refused(text: str) -> None:
    """No value reaches the backend in a spelling that was not looked at."""
    for whole in (text, f"a=1&{text}", f"{text}&email=b", f"email=b&{text}"):
        with pytest.raises(Refused) as caught:
            EMAIL.replace(whole, lambda *_: "?")

        assert caught.value.reason is Reason.PARAMETER_AMBIGUOUS


def test_nothing_is_encrypted_in_a_refused_text() -> None:
    """A late mistake is found before the first value is touched."""
    with pytest.raises(Refused):
        EMAIL.replace("email=a&Email=b", lambda *_: pytest.fail("encrypted"))


def test_a_refusal_shows_no_value() -> None:
    """What was sent is in neither message nor detail."""
    for text in ("email=hunter2%", "Email=hunter2", "email=hunter2;x"):
        with pytest.raises(Refused) as caught:
            EMAIL.replace(text, marked)
        assert "hunter2" not in f"{caught.value} {caught.value.detail}"


def test_names_of_lists_and_objects() -> None:
    """A protected name may have brackets; its siblings are other names."""
    nested = Parameters.compile({"user[email]": "e", "tag[]": "t"})

    assert found("user[email]=a&user%5Bemail%5D=b&user[name]=c", nested) == [
        ("e", "a"),
        ("e", "b"),
    ]
    assert found("tag[]=a&tag[]=b&tag=c", nested) == [("t", "a"), ("t", "b")]
    for text in ("user[email][]=a", "USER[email]=a", "tag[0]=a", "tag[a]=b"):
        with pytest.raises(Refused):
            nested.replace(text, marked)


def test_php_writes_dots_and_spaces_as_underscores() -> None:
    """What PHP would call the protected name is refused in its other spellings."""
    under = Parameters.compile({"user_email": "e"})

    for text in ("user.email=a", "user+email=a", "user%2Eemail=a"):
        with pytest.raises(Refused):
            under.replace(text, marked)


@pytest.mark.parametrize("name", ["", " email", "email ", "a\0", "\t"])
def test_what_cannot_be_a_name_is_said_at_load(name: str) -> None:
    """A name that no parser would give back is a mistake of the policy."""
    with pytest.raises(ValueError, match="is not the name of a parameter"):
        Parameters.compile({name: "f"})


@pytest.mark.parametrize(
    ("one", "other"), [("email", "Email"), ("a_b", "a.b"), ("a b", "A_B")]
)
def test_names_that_are_too_much_alike_are_said_at_load(one: str, other: str) -> None:
    """Two names that some parser takes for one cannot both be protected."""
    with pytest.raises(ValueError, match="are alike"):
        Parameters.compile({one: "f", other: "g"})


def test_parameters_know_their_fields() -> None:
    """The logical fields are listed once each, and places compare by what they say."""
    places = {"a": "f", "b": "f", "c": "g"}

    assert Parameters.compile(places).fields == {"f", "g"}
    assert Parameters.compile(places) == Parameters.compile(places)


_names = st.sampled_from(["email", "x", "é", "a b", "e&m", "=", "[]", "mail"])


@given(st.lists(st.tuples(_names, st.text(max_size=6)), max_size=6))
def test_what_the_standard_library_reads_is_replaced(
    pairs: list[tuple[str, str]],
) -> None:
    """Another parser sees the same parameters, the protected ones encrypted."""
    text = urlencode(pairs)
    expected = [
        (name, marked("user.email", value) if name == "email" and value else value)
        for name, value in pairs
    ]
    replaced = EMAIL.replace(text, marked)

    assert parse_qsl(replaced, keep_blank_values=True) == expected


@given(st.text(alphabet="emailEMAIL%0123456789abcdef[];=&+. ", max_size=30))
def test_no_spelling_of_the_name_slips_through(text: str) -> None:
    """What the most lenient reader would call the name is found or refused."""
    try:
        replaced = EMAIL.replace(text, lambda *_: "SEALED")
    except Refused:
        return
    for pair in replaced.replace(";", "&").split("&"):
        for name, value in parse_qsl(pair, keep_blank_values=True, errors="ignore"):
            if name.strip().casefold().partition("[")[0] == "email":
                assert value in {"SEALED", ""}


@pytest.mark.parametrize(
    ("content_type", "expected"),
    [
        (b"application/x-www-form-urlencoded", True),
        (b"Application/X-WWW-Form-URLencoded ; charset=UTF-8", True),
        (b'application/x-www-form-urlencoded; charset="utf-8"', True),
        (b"application/x-www-form-urlencoded; charset=iso-8859-1", False),
        (b"application/x-www-form-urlencoded-too", False),
        (b"multipart/form-data; boundary=x", False),
        (b"application/json", False),
        (b"", False),
        (None, False),
    ],
)
def test_forms_are_told_by_their_type(
    content_type: bytes | None, *, expected: bool
) -> None:
    """Only the one media type, in the one character set that is decoded here."""
    assert is_form(content_type) is expected


def test_values_are_encoded_for_where_they_stand() -> None:
    """A ciphertext cannot add a parameter, end the query or start a fragment."""
    everything = "".join(map(chr, itertools.chain(range(128), [0xE9, 0x1F600])))
    replaced = EMAIL.replace("email=x", lambda *_: everything)

    assert replaced == "email=" + quote(everything, safe="")
    assert not set(replaced.removeprefix("email=")) & set("&=;#+ ")
