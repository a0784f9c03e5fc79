"""The four forms of a request target (RFC 9112 section 3.2)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.errors import Refused
from proxy.core.reasons import Reason
from proxy.core.target import split_target

HOST = b"lms.example"


@pytest.mark.parametrize(
    ("target", "host", "expected"),
    [
        ("/", HOST, ("/", "")),
        ("/a/b?c=d", HOST, ("/a/b", "c=d")),
        ("/a?", HOST, ("/a", "")),
        ("/a?b?c", HOST, ("/a", "b?c")),
        ("//other.example/a", HOST, ("//other.example/a", "")),
        ("/http://other.example/", HOST, ("/http://other.example/", "")),
        ("/a%23b", HOST, ("/a%23b", "")),
        ("http://lms.example", HOST, ("/", "")),
        ("http://lms.example/", HOST, ("/", "")),
        ("http://lms.example/a?b=c", HOST, ("/a", "b=c")),
        ("http://lms.example?b=/c", HOST, ("/", "b=/c")),
        ("HTTPS://LMS.example/a", HOST, ("/a", "")),
        ("http://lms.example/a", b"LMS.Example", ("/a", "")),
        ("http://lms.example:8080/a", b"lms.example:8080", ("/a", "")),
        ("http://[::1]:80/a", b"[::1]:80", ("/a", "")),
    ],
)
def test_target_has_a_path_and_a_query(
    target: str, host: bytes, expected: tuple[str, str]
) -> None:
    """Origin form as it is; absolute form without the host, which is the same one."""
    assert split_target(target, host) == expected


@pytest.mark.parametrize(
    ("target", "host", "sentence"),
    [
        ("", HOST, "not a path"),
        ("*", HOST, "not a path"),
        ("lms.example:443", HOST, "not a path"),
        ("a/b", HOST, "not a path"),
        ("?a=b", HOST, "not a path"),
        ("ftp://lms.example/a", HOST, "not a path"),
        ("://lms.example/a", HOST, "not a path"),
        ("http:/lms.example/a", HOST, "not a path"),
        ("/a#b", HOST, "no fragment"),
        ("/#", HOST, "no fragment"),
        ("/a?b#c", HOST, "no fragment"),
        ("http://lms.example#a", HOST, "no fragment"),
        ("http://lms.example/a#b", HOST, "no fragment"),
        ("http://other.example/a", HOST, "another host"),
        ("http://lms.example:80/a", HOST, "another host"),
        ("http://ada@lms.example/a", HOST, "another host"),
        ("http://lms.example.other/a", HOST, "another host"),
        ("http://lms.example\\@other/a", HOST, "another host"),
        ("http://lms.example/a", b"", "another host"),
        ("http://lms.\u0454xample/a", HOST, "another host"),
        ("http:///a", b"", "no host"),
        ("http://", b"", "no host"),
        ("http://?a", HOST, "no host"),
    ],
)
def test_other_targets_are_refused(target: str, host: bytes, sentence: str) -> None:
    """What names no path of this host, or more than a path, is malformed."""
    with pytest.raises(Refused) as caught:
        split_target(target, host)

    assert caught.value.reason is Reason.MALFORMED
    assert sentence in caught.value.detail


@given(st.text(), st.binary())
def test_every_target_is_split_or_refused(target: str, host: bytes) -> None:
    """A path begins with a slash and holds nothing of the rest; no other error."""
    path, query, reason = "/", "", Reason.MALFORMED
    try:
        path, query = split_target(target, host)
    except Refused as refused:
        reason = refused.reason

    assert reason is Reason.MALFORMED
    assert path.startswith("/")
    assert "?" not in path
    assert "#" not in path + query
    assert target.endswith(query)


@given(st.text(st.characters(exclude_characters="#", max_codepoint=126)))
def test_absolute_form_means_what_origin_form_means(rest: str) -> None:
    """Naming the host in the target changes nothing else."""
    target = "/" + rest

    assert split_target(f"http://lms.example{target}", HOST) == split_target(
        target, HOST
    )
