"""The canonical form of a path, and what is found in it."""

import re
from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.paths import (
    INTOLERABLE,
    Ambiguity,
    canonicalise,
    comparable,
    is_plain,
)

PATHS = st.lists(
    st.sampled_from(
        [*"/.%25eEfFcC0;\\Aa|[+ é\0", "/..", "%2e", "%2F", "%5c", "%25", "%3A", "%41"]
    ),
    max_size=12,
).map(lambda parts: "/" + "".join(parts))


@pytest.mark.parametrize(
    ("path", "canonical"),
    [
        ("/", "/"),
        ("/a/", "/a/"),
        ("/a.b/.well-known/...", "/a.b/.well-known/..."),
        ("/%41%7e%2D%5f", "/A~-_"),
        ("/%c3%a9", "/%C3%A9"),
        ("/%e9", "/%E9"),
        ("/a%20b", "/a%20b"),
        ("/jobs%3arun", "/jobs%3Arun"),
        ("/a|b", "/a%7Cb"),
        ('/"<>[]^`{}', "/%22%3C%3E%5B%5D%5E%60%7B%7D"),
        ("/%3f%23", "/%3F%23"),
        ("/100%25", "/100%25"),
    ],
)
def test_rewrites_what_is_equivalent(path: str, canonical: str) -> None:
    """Equivalent spellings become one, and everything else keeps its own."""
    expected: tuple[str, frozenset[Ambiguity]] = (canonical, frozenset())

    assert expected == canonicalise(path)


SLASH, EMPTY = Ambiguity.ENCODED_SLASH, Ambiguity.EMPTY_SEGMENT
BACK, SEMI = Ambiguity.BACKSLASH, Ambiguity.SEMICOLON
TWICE, DOT, CONTROL = (
    Ambiguity.DOUBLE_ENCODING,
    Ambiguity.DOT_SEGMENT,
    Ambiguity.CONTROL,
)


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("/admin%2fx", {SLASH}),
        ("/admin%2F", {SLASH}),
        ("//admin", {EMPTY}),
        ("/a//b", {EMPTY}),
        ("/a//", {EMPTY}),
        ("/a\\b", {BACK}),
        ("/a%5Cb", {BACK}),
        ("/a%5cb", {BACK}),
        ("/admin;x=1", {SEMI}),
        ("/admin%3bx", {SEMI}),
        ("/a%2541", {TWICE}),
        ("/a%25%34%31", {TWICE}),
        ("/a%252Fb", {TWICE}),
        ("/a/../admin", {DOT}),
        ("/a/./b", {DOT}),
        ("/..", {DOT}),
        ("/.", {DOT}),
        ("/%2e%2e/admin", {DOT}),
        ("/%2E./admin", {DOT}),
        ("/.%2e", {DOT}),
        ("/....//admin", {EMPTY}),
        ("/a/..%2fadmin", {DOT, SLASH}),
        ("/a/..%5cadmin", {DOT, BACK}),
        ("/a/..\\admin", {DOT, BACK}),
        ("/a\\..\\admin", {DOT, BACK}),
        ("/a%2f..", {DOT, SLASH}),
        ("/a%5c%2e%2e/b", {DOT, BACK}),
        ("/a/..;/admin", {DOT, SEMI}),
        ("/a/..;x=1", {DOT, SEMI}),
        ("/a/..%3b/admin", {DOT, SEMI}),
        ("/%252e%252e/admin", {DOT, TWICE}),
        ("/%252e%252e%252fadmin", {DOT, TWICE}),
        ("/%25252e%25252e/", {DOT, TWICE}),
        ("/.%25%32%65/", {DOT, TWICE}),
        ("/a%00", {CONTROL}),
        ("/a%2500", {CONTROL, TWICE}),
        ("/a%0d%0ab", {CONTROL}),
        ("/a%1F", {CONTROL}),
        ("/a%7f", {CONTROL}),
        ("/a\x00", {CONTROL}),
        ("/a\tb", {CONTROL}),
        ("/a b", {CONTROL}),
        ("/a\x7f", {CONTROL}),
        ("/caf\xe9", {CONTROL}),
        ("/a%", {CONTROL}),
        ("/a%2", {CONTROL}),
        ("/a%zz", {CONTROL}),
        ("/a%u002e", {CONTROL}),
        ("/%%32%65%%32%65/admin", {CONTROL}),
        ("/%c0%ae%c0%ae/admin", {CONTROL}),
        ("/..%c0%afadmin", {CONTROL}),
        ("/%e0%80%af", {CONTROL}),
        ("/%F0%80%80%AF", {CONTROL}),
        ("/a#frag", {CONTROL}),
        ("/a?b", {CONTROL}),
    ],
)
def test_finds_every_second_reading(path: str, found: set[Ambiguity]) -> None:
    """Each way of smuggling is named, however it is encoded."""
    _, actual = canonicalise(path)

    assert found == actual


@pytest.mark.parametrize(
    "path",
    [
        "/.well-known/a",
        "/..a",
        "/a..",
        "/a/...",
        "/..a/b",
        "/.%2Ea",
        "/..%41",
        "/100%25",
    ],
)
def test_dots_within_a_name_are_no_dot_segment(path: str) -> None:
    """Only a whole segment of one or two dots is one."""
    assert frozenset() == canonicalise(path)[1]


@given(PATHS)
def test_canonicalising_is_idempotent(path: str) -> None:
    """The canonical form of a form that can be forwarded is that form."""
    canonical, found = canonicalise(path)
    if CONTROL in found:
        return

    assert (canonical, found) == canonicalise(canonical)


@given(PATHS)
def test_canonicalising_keeps_the_meaning(path: str) -> None:
    """A backend that decodes once sees what the client wrote."""
    canonical, found = canonicalise(path)
    if CONTROL in found:
        return

    assert unquote_to_bytes(path) == unquote_to_bytes(canonical)
    assert unquote_to_bytes(path) == unquote_to_bytes(comparable(canonical))


@given(PATHS)
def test_what_is_accepted_stays_one_path_after_decoding(path: str) -> None:
    """No decoding of an unambiguous path has other segments, dots or controls."""
    canonical, found = canonicalise(path)
    if found:
        return
    decoded = unquote_to_bytes(canonical).decode("latin-1")

    assert canonical.count("/") == decoded.count("/")
    assert not re.search(r"[\\;\x00-\x1f\x7f]|//", decoded)
    assert not {".", ".."} & set(decoded.split("/"))


@given(PATHS)
def test_plain_paths_are_canonical_and_unambiguous(path: str) -> None:
    """The fast test never says more than the thorough one."""
    if is_plain(path):
        assert (path, frozenset()) == canonicalise(path)
        assert path == comparable(path)


def test_two_ambiguities_are_never_tolerable() -> None:
    """Dot segments and control characters are refused whatever a rule says."""
    assert {DOT, CONTROL} == INTOLERABLE


def test_literals_are_compared_by_meaning() -> None:
    """Encoded sub-delimiters are the characters themselves; nothing else changes."""
    canonical = "/%21%24%26%27%28%29%2A%2B%2C%3D%3A%40/%2F%5C%3B%25%20%3F"

    assert comparable(canonical) == "/!$&'()*+,=:@/%2F%5C%3B%25%20%3F"
