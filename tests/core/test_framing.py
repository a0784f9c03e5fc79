"""Where the body of an answer ends (RFC 9112 section 6.3)."""

import pytest

from proxy.core.framing import UNKNOWN, Framing, framing_of
from proxy.core.message import RawHeaders


def raw(*lines: tuple[str, str]) -> RawHeaders:
    """Return field lines as the parser gives them."""
    return [
        (name.lower().encode(), name.encode(), value.encode("latin-1"))
        for name, value in lines
    ]


def parts(framing: Framing | None) -> tuple[int | None, bool, bool, bool] | None:
    """Return length, chunked, keep-alive and until-close; None when it is unclear."""
    if framing is None:
        return None
    return framing.length, framing.chunked, framing.keep_alive, framing.until_close


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([("Content-Length", "0")], (0, False, True, False)),
        ([("Content-Length", "007")], (7, False, True, False)),
        (
            [("Date", "x"), ("CONTENT-LENGTH", "5"), ("Via", "y")],
            (5, False, True, False),
        ),
        ([("Transfer-Encoding", "chunked")], (None, True, True, False)),
        ([("Transfer-Encoding", "Chunked")], (None, True, True, False)),
        ([], (None, False, False, True)),
        ([("Date", "x")], (None, False, False, True)),
    ],
    ids=["empty", "zeros", "length", "chunked", "no-case", "nothing", "other"],
)
def test_header_section_says_where_a_body_ends(
    lines: list[tuple[str, str]], expected: tuple[int | None, bool, bool, bool]
) -> None:
    """At a length, with the last chunk, or else with the connection."""
    found = framing_of(raw(*lines), bodiless=False, keep_alive=True)

    assert parts(found) == expected


@pytest.mark.parametrize(
    "lines",
    [
        [("Content-Length", "5"), ("Content-Length", "5")],
        [("Content-Length", "5"), ("Content-Length", "6")],
        [("Content-Length", "")],
        [("Content-Length", "-1")],
        [("Content-Length", "+1")],
        [("Content-Length", "1_0")],
        [("Content-Length", "5, 5")],
        [("Content-Length", "0x5")],
        [("Content-Length", "\xb2")],
        [("Transfer-Encoding", "chunked"), ("Transfer-Encoding", "chunked")],
        [("Transfer-Encoding", "gzip, chunked")],
        [("Transfer-Encoding", "identity")],
        [("Transfer-Encoding", "")],
        [("Transfer-Encoding", "chunked"), ("Content-Length", "5")],
        [("Content-Length", "5"), ("Transfer-Encoding", "chunked")],
    ],
    ids=lambda lines: "-and-".join(f"{name[0]}{value}" for name, value in lines),
)
@pytest.mark.parametrize("bodiless", [False, True])
def test_section_that_says_two_things_says_nothing(
    lines: list[tuple[str, str]], *, bodiless: bool
) -> None:
    """Not even where there is no body: the next answer could begin anywhere."""
    assert framing_of(raw(*lines), bodiless=bodiless, keep_alive=True) is None


@pytest.mark.parametrize("lines", [[], [("Content-Length", "5")]])
def test_answer_without_a_body_leaves_the_connection(
    lines: list[tuple[str, str]],
) -> None:
    """What HEAD is told of a length is not waited for (RFC 9110 section 9.3.2)."""
    found = framing_of(raw(*lines), bodiless=True, keep_alive=True)

    assert found is not None
    assert (found.bodiless, found.until_close, found.keep_alive) == (True, False, True)
    assert found.length == (5 if lines else None)


def test_connection_that_closes_is_not_used_again() -> None:
    """However well the body is framed."""
    lines = raw(("Content-Length", "5"))

    assert parts(framing_of(lines, bodiless=False, keep_alive=False)) == (
        *(5, False, False),
        False,
    )


def test_nothing_is_promised_before_the_head() -> None:
    """An answer that has not come ends with its connection."""
    assert parts(UNKNOWN) == (None, False, False, True)
