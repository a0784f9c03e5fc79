"""What is JSON that can be read in one way only, and where it stops being it."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.errors import Refused
from proxy.core.reasons import Reason
from proxy.core.strict_json import (
    MAX_DEPTH,
    _faults,
    read,
    refuse_half_characters,
)


def nested(depth: int, inner: str = "") -> bytes:
    """Return arrays and objects, ``depth`` of them inside each other."""
    half = depth // 2
    opened = '[{"a":' * half + "[" * (depth % 2)
    return (opened + (inner or "0") + "]" * (depth % 2) + "}]" * half).encode()


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b"null", None),
        (b" \t\r\n true \n", True),
        (b'""', ""),
        (b"-0", "-0"),
        (b"-0.0e-07", "-0.0e-07"),
        (b"1E400", "1E400"),
        (b"9" * 5000, "9" * 5000),
        (b"[]", []),
        (b"{}", {}),
        (b'[1, "a" ,{ } ]', ["1", "a", {}]),
        (b'{"":0}', {"": "0"}),
        (b'{"a":{"a":1},"b":{"a":1}}', {"a": {"a": "1"}, "b": {"a": "1"}}),
        (b'{"a":1,"A":2}', {"a": "1", "A": "2"}),
        (rb'"\"\\\/\b\f\n\r\t\u00e9"', '"\\/\b\f\n\r\té'),
        (rb'"\ud83d\ude00"', "😀"),
        (rb'["\ud800"]', ["\ud800"]),
        ('"\u2028\x7f\ufeff😀"'.encode(), "\u2028\x7f\ufeff😀"),
        (b'"' + b"[" * 200 + b'"', "[" * 200),
        (b"[" + b"[]," * 200 + b"{}]", [[]] * 200 + [{}]),
    ],
)
def test_json_is_read(body: bytes, value: Any) -> None:
    """Every text that RFC 8259 allows is read, and numbers stay text."""
    text, start, read_value = read(body)
    assert read_value == value
    assert text.encode() == body
    assert text[:start].strip(" \t\r\n") == ""


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (b"", "not JSON, at byte 0"),
        (b"  ", "not JSON, at byte 2"),
        (b"nul", "not JSON, at byte 0"),
        (b"True", "not JSON, at byte 0"),
        (b"'a'", "not JSON, at byte 0"),
        (b"[1,]", "not JSON, at byte"),
        (b"[1 2]", "not JSON, at byte 3"),
        (b"[,1]", "not JSON, at byte 1"),
        (b"[1", "not JSON, at byte 2"),
        (b'{"a":1,}', "not JSON, at byte"),
        (b'{"a" 1}', "not JSON, at byte"),
        (b"{a:1}", "not JSON, at byte 1"),
        (b'{"a":}', "not JSON, at byte 5"),
        (b"{1:1}", "not JSON, at byte 1"),
        (b'{"a":1 /* b */}', "not JSON, at byte"),
        (b"[01]", "not JSON, at byte 2"),
        (b"[+1]", "not JSON, at byte 1"),
        (b"[.5]", "not JSON, at byte 1"),
        (b"[1.]", "not JSON, at byte 2"),
        (b"[0x1]", "not JSON, at byte 2"),
        (b"[-]", "not JSON, at byte 1"),
        (b"[1e]", "not JSON, at byte 2"),
        (b'"a', "not JSON, at byte 0"),
        (b'"\n"', "not JSON, at byte 1"),
        (b'"\x00"', "not JSON, at byte 1"),
        (rb'"\x41"', "not JSON, at byte"),
        (rb'"\u12g4"', "not JSON, at byte"),
        (b"\x0c[]", "not JSON, at byte 0"),
        ("\u00a0[]".encode(), "not JSON, at byte 0"),
        ("[1,\u0662]".encode(), "not JSON, at byte 3"),
        ('["é",x]'.encode(), "not JSON, at byte 6"),
        (b"1 2", "goes on after its JSON value, at byte 2"),
        (b"{}{}", "goes on after its JSON value, at byte 2"),
        (b"[]\n#", "goes on after its JSON value, at byte 3"),
        (b"\xef\xbb\xbf{}", "byte order mark, at byte 0"),
        ("{}".encode("utf-16"), "not UTF-8, at byte 0"),
        ("{}".encode("utf-16-le"), "not JSON, at byte 1"),
        (b'"\xff"', "not UTF-8, at byte 1"),
        (b'"\xc0\xaf"', "not UTF-8, at byte 1"),
        (b'"\xed\xa0\x80"', "not UTF-8, at byte 1"),
        (b'"\xf4\x90\x80\x80"', "not UTF-8, at byte 1"),
        (b'{"a":1,"a":2}', "named twice in one object, at byte 7"),
        (rb'{"a":1,"\u0061":2}', "named twice in one object, at byte 7"),
        ('{"é":{},"x":"a","é":1}'.encode(), "named twice in one object, at byte 17"),
        (b'[0,{"b":[{"a" : "a","c":NaN,"a":2}]}]', "NaN and Infinity"),
        (b'[0,{"b":[{"a" : "a\\"","a":2}]}]', "named twice in one object, at byte 22"),
        (b'{"":1,"":2}', "named twice in one object, at byte 6"),
        (b"NaN", "NaN and Infinity are not JSON, at byte 0"),
        (b'["NaN",-Infinity]', "NaN and Infinity are not JSON, at byte 7"),
        (b'{"Infinity":Infinity}', "NaN and Infinity are not JSON, at byte 12"),
        (nested(MAX_DEPTH + 1), "nested deeper than 64, at byte 192"),
        (nested(MAX_DEPTH + 1, '"]{["'), "nested deeper than 64, at byte 192"),
        (b"[" * 100_000, "nested deeper than 64, at byte 64"),
    ],
)
def test_everything_else_is_refused_with_its_place(body: bytes, sentence: str) -> None:
    """What is not JSON, or is in two ways, is refused with what and where."""
    with pytest.raises(Refused) as caught:
        read(body)
    assert caught.value.reason is Reason.BODY_NOT_JSON
    assert sentence in caught.value.detail


@pytest.mark.parametrize("inner", ["", '"]]}}"', "[]"])
def test_sixty_four_levels_are_read(inner: str) -> None:
    """The depth limit itself is allowed, whatever the innermost value is."""
    read(nested(MAX_DEPTH - (inner == "[]"), inner))


def test_a_refusal_never_shows_the_body() -> None:
    """Neither the detail nor the message holds a piece of what was sent."""
    for body in (b'{"canary":1,"canary":2}', b'{"canary" canary}', b'["canary\x01"]'):
        with pytest.raises(Refused) as caught:
            read(body)
        assert "canary" not in f"{caught.value} {caught.value.detail}"


_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(value=_values, ascii_only=st.booleans())
def test_no_fault_is_found_in_json(*, value: Any, ascii_only: bool) -> None:
    """What the standard library writes is read back and has no fault."""
    text = json.dumps(value, ensure_ascii=ascii_only)
    assert list(_faults(text)) == []
    assert read(text.encode())[2] == json.loads(text, parse_int=str)


@given(st.binary() | st.text(alphabet='{}[]",:\\u0a1eN -\n').map(str.encode))
def test_what_is_read_is_json_to_the_standard_library(body: bytes) -> None:
    """Any bytes are either refused or read as the standard library reads them."""
    try:
        value = read(body)[2]
    except Refused:
        return
    assert json.loads(body.decode(), parse_int=str, parse_float=str) == value


@pytest.mark.parametrize(
    "value",
    [
        rb'"\ud800"',
        rb'"\udc00\ud800"',
        rb'["a", {"b": "\udfff"}]',
        rb'{"\ud83d": 1}',
    ],
    ids=["high", "wrong-way-round", "nested", "name"],
)
def test_half_of_a_pair_has_no_utf8(value: bytes) -> None:
    """A value that could not be written is refused, where it starts."""
    text, start, decoded = read(b"  " + value)
    with pytest.raises(Refused) as caught:
        refuse_half_characters(text, start, len(text), decoded)

    assert caught.value.reason is Reason.BODY_NOT_JSON
    assert caught.value.detail == (
        "A protected value holds half of a surrogate pair, at byte 2."
    )


@pytest.mark.parametrize(
    "value",
    [rb'"plain"', rb'"\ud83d\ude00"', rb'"\u00e9"', rb'"\\ud800"', rb"[1, {}]"],
    ids=["plain", "pair", "escaped", "backslash", "no-string"],
)
def test_whole_characters_are_let_pass(value: bytes) -> None:
    """However they are escaped, and whatever else looks like an escape."""
    text, start, decoded = read(value)
    refuse_half_characters(text, start, len(text), decoded)


def test_only_the_value_itself_is_looked_at() -> None:
    """Half a character elsewhere in the body is the backend's own business."""
    text, _, decoded = read(rb'{"a": "\ud800", "b": "x"}')
    start = text.index('"x"')
    refuse_half_characters(text, start, start + 3, decoded["b"])
