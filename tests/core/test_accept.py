"""Who gets a page and who a document."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.accept import prefers_html

BROWSERS = {
    "firefox": b"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    "chromium": (
        b"text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,"
        b"image/apng,*/*;q=0.8,application/signed-exchange;v=b3;q=0.7"
    ),
    "case and space": b" Text/HTML ;q=0.5 , */* ; q=0.1",
    "html alone": b"text/html",
    "a parameter": b"text/html;level=1, application/json;q=0.9",
    "json refused": b"text/html;q=0.1, application/*;q=0",
    "a weight that is none": b"text/html;q=2, */*;q=0.9",
}
PROGRAMS = {
    "nothing": b"",
    "anything": b"*/*",
    "json": b"application/json",
    "problems": b"application/problem+json, text/html;q=0.9",
    "both alike": b"text/html, application/json",
    "any text": b"text/*",
    "html refused": b"text/html;q=0, */*",
    "any application": b"text/html;q=0.5, application/*",
    "jquery": b"application/json, text/javascript, */*; q=0.01",
    "another html": b"text/html-sandboxed",
    "garbage": b"\xff;;;=,,q=text/html,",
}


@pytest.mark.parametrize("accept", BROWSERS.values(), ids=BROWSERS)
def test_browsers_get_a_page(accept: bytes) -> None:
    """Whoever names HTML, and JSON less or not at all."""
    assert prefers_html(accept)


@pytest.mark.parametrize("accept", PROGRAMS.values(), ids=PROGRAMS)
def test_programs_get_a_document(accept: bytes) -> None:
    """Whoever does not say otherwise."""
    assert not prefers_html(accept)


@given(st.binary())
def test_any_bytes_are_read(accept: bytes) -> None:
    """What makes no sense is no reason to fail, and HTML is never guessed."""
    assert prefers_html(accept) <= (b"text/html" in accept.lower())
